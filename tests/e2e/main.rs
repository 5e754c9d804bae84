//! End-to-end tests against real servers: Consul (current and old), etcd, kube-apiserver; and programs that are told about muster.
//!
//! `make e2e` installs them (see `tests/rig`) and runs these; `cargo test` alone leaves them out. Everything happens on
//! loopback addresses, or in network namespaces that a test makes; every process is ended by the handle that started it.
//! Needs root for the tests with namespaces, such as those with a resolv.conf of their own.

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
mod flips;
mod forward;
mod kube;
mod load;
mod lost;
mod muster;
mod questions;
mod rig;
mod stand_in;
mod story_colours;
mod story_expansion;
mod story_failover;
mod story_hybrid;
mod story_kuma;
mod terraform;
