//! The answer path: bytes in, bytes out.
//!
//! [`question`] reads a request, [`answer`] finds what is to be said, [`encode`]
//! writes it within the client's limit, [`Responder`] is the three in a row, and the transports carry its bytes. Between
//! receiving and sending over UDP nothing waits, locks, allocates or logs.
//!
//! Rejected: hickory-server's own loop and `Catalog` (13 µs a query, a scan of the zone on NXDOMAIN, one query after the other
//! on TCP). hickory-proto reads every request that is not plain, and is the oracle of the tests.
//!
//! Imports [`crate::model`], [`crate::config`], [`crate::catalog`], [`crate::forward`] and [`crate::telemetry`]; never a source.

mod access;
mod answer;
mod browse;
mod chase;
mod choose;
mod encode;
mod handoff;
mod options;
mod peek;
mod pointers;
mod question;
mod reply;
mod responder;
mod rotation;
mod special;
mod srv;
mod subnet;
pub mod tcp;
pub mod udp;

pub use access::Guard;
pub use responder::{Context, Responder, Response};
pub use rotation::Rotation;
pub use special::Specials;
