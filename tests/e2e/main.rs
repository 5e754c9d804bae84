//! End-to-end tests against real servers (Consul, current and old, etcd, kube-apiserver, BIND) and
//! with real clients and resolvers in front of muster.
//!
//! `make e2e` installs them (see `tests/rig`) and runs these tests; plain `cargo test` ignores
//! them. They use loopback addresses or network namespaces that a test makes, and end every process
//! by the handle that started it. Tests with namespaces, such as those with a resolv.conf of their
//! own, need root.
//!
//! They are a program apart from `tests/integration`: they need those servers, run one at a time,
//! and do not use muster's library.

#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, prints what it measured, and has no outside"
)]

mod bind;
mod consul;
mod faults;
mod flips;
mod forward;
mod kube;
mod load;
mod lost;
mod muster;
mod questions;
mod rig;
mod stand_in;
mod story_colors;
mod story_expansion;
mod story_failover;
mod story_hybrid;
mod story_kuma;
mod terraform;
