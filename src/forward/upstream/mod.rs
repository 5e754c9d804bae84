//! Upstreams: one client for each resolver, with its transport and its health.

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
