//! DNS messages as bytes, borrowed: the toolkit that the answer path and the forwarder share.
//!
//! ```text
//!            header    question     answer, authority, additional          OPT
//!  message ┌─────────┬────────────┬──────────────────────────────────┬──────────────┐
//!          │ 12      │ name, 4    │ name, 10, data │ …               │ 11, options  │
//!          └─────────┴────────────┴──────────────────────────────────┴──────────────┘
//!  read by   header    name         record (steps over, no decoding)   opt
//!  written   header    writer       writer                             opt
//! ```
//!
//! [`WireName`] is a name in wire format. [`RequestHeader`] is the part of a request's header that
//! its response depends on, and [`header::bytes`] makes a response's header. [`record`] steps over
//! records without decoding their data, so unknown types and signatures pass unchanged. [`opt`] is
//! EDNS. [`Writer`] writes a message within a limit.
//!
//! Imports nothing of the crate. Nothing here allocates, except that a `Writer`'s buffer grows if
//! it is too small. hickory-proto reads and writes the uncommon messages elsewhere, and is the
//! oracle in the tests.
//!
//! Rejected: NLnet Labs' `domain`, whose `base` module has the same parts. See
//! `docs/decisions/0044-own-wire-toolkit.md`.

mod bytes;
pub mod header;
mod name;
pub mod opt;
pub mod record;
mod writer;

pub use bytes::{PLAIN_UDP_LIMIT, TCP_LIMIT, UDP_LIMIT, count_of, u16_at, u32_at};
pub use header::{HEADER_LEN, RequestHeader};
pub use name::{Suffixes, WireName};
pub use record::question;
pub use writer::{Section, SectionCounts, Writer};
