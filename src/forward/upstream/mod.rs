//! Upstreams: one client for each resolver.
//!
//! ```text
//!                              ┌─ datagram ── UDP, a new socket for each query
//!  UpstreamQuery ──▶ client ───┼─ stream ──── TCP or TLS, one connection for many queries
//!                    │    ▲    └─ https ───── HTTP/2
//!                 health  └──── matching: is the message an answer to the query?
//! ```
//!
//! `client` chooses the transport, repeats truncated answers over TCP and queries without EDNS for
//! servers that do not know it, and updates `health` with each result. `tls` reads authorities and
//! makes TLS settings; `error` has the errors of a query and of the setup.
//!
//! Imports from the folder above only messages, queries and stored answers. Rejected: a trait for
//! transports. There are three, the configuration knows them all, and each has a signature of its
//! own.

mod client;
mod datagram;
mod error;
mod health;
mod https;
mod matching;
mod stream;
mod tls;

pub use self::error::SetupError;
pub(super) use self::{client::UpstreamClient, datagram::MAX_RULE_SOCKETS, error::UpstreamError};
