//! muster: an authoritative DNS server for service discovery.
//!
//! The modules in the order of the data, which flows one way, from sources to answers:
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | TOML in, validated types out |
//! | [`source`] | Consul, Kubernetes, static instances with probes: native events become updates |
//! | [`catalog`] | the only writer: merges what sources say, applies policy, publishes snapshots |
//! | [`policy`] | which instances may be answered: pure functions, run when a snapshot is compiled |
//! | [`forward`] | other names: upstreams, which of them is asked, and the cache of their answers |
//! | [`dns`] | the answer path: bytes in, one snapshot read, bytes out |
//! | [`api`] | metrics, health, readiness over HTTP |
//! | [`app`] | wiring: the only module that knows all the others |
//! | [`cli`] | the commands |
//! | [`model`] | the words that all of them share |
//! | [`telemetry`] | metrics and logging |
//!
//! Who may import whom is held by a test, `tests/integration/architecture.rs`.

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
pub mod telemetry;
pub mod wire;
