//! muster: an authoritative DNS server for private namespaces, for service discovery.
//!
//! The library is what the `muster` binary and its tests are made from; it promises no stable API.
//! Data flows one way, from sources to answers:
//!
//! ```text
//!             TOML ─▶ config ─────────────┐
//!                                         ▼
//!  Consul ──┐                          catalog ◀─▶ policy
//!  Kube ────┼─▶ source ══ Update ══▶  merge, compile,  ── snapshot ──▶ dns ──▶ UDP, TCP
//!  static ──┘   + probes               publish                         │  ▲
//!                                                                      ▼  │
//!                                                                     forward ──▶ upstreams
//! ```
//!
//! The modules, in the order of the data:
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`] | the commands, one file each |
//! | [`app`] | wiring: makes the parts of a server, connects them, and changes them on a reload |
//! | [`config`] | TOML in, validated types out |
//! | [`model`] | the data types that the modules share: names, instances, health, updates |
//! | [`wire`] | DNS messages as borrowed bytes |
//! | [`source`] | Consul, Kubernetes, static instances with probes: native events become updates |
//! | [`state`] | the last known good state on disk: written behind, restored at the start |
//! | [`policy`] | which instances are eligible: a pure function of candidates and memory |
//! | [`catalog`] | the only writer: merges reports, applies policy, publishes snapshots, explains |
//! | [`dns`] | the answer path: bytes in, one snapshot read, one decision, bytes out |
//! | [`forward`] | external names: upstreams, queries in flight, and the cache |
//! | [`api`] | the admin port: metrics, probes, explanations, lists, reloads |
//! | [`telemetry`] | metrics, logs, and the status of sources |
//!
//! `tests/integration/architecture.rs` holds which module may import which, and that no two files
//! import each other.

#[cfg(not(target_os = "linux"))]
compile_error!("muster runs on Linux only: it uses recvmmsg, UDP_SEGMENT and sched_setaffinity");

pub mod api;
pub mod app;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod dns;
pub mod forward;
pub mod model;
pub mod policy;
pub mod source;
pub mod state;
pub mod telemetry;
pub mod wire;
