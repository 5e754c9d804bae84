//! DNS bytes, borrowed: the one toolkit that the answer path and the forwarder read and write
//! messages with.
//!
//! ```text
//!            header    question     answer, authority, additional          OPT
//!  message ┌─────────┬────────────┬──────────────────────────────────┬──────────────┐
//!          │ 12      │ name, 4    │ name, 10, data │ …               │ 11, options  │
//!          └─────────┴────────────┴──────────────────────────────────┴──────────────┘
//!  read     header     name         record (stepped over, not decoded)  opt
//!  written  header     writer       writer                              opt
//! ```
//!
//! [`WireName`] is a name in wire format. [`Header`] is what answers repeat of a request's header,
//! and [`header::bytes`] writes one. [`record`] steps over records without decoding their data, so
//! unknown types and signatures stay intact. [`opt`] has everything about EDNS. [`Writer`] writes a
//! message within a limit.
//!
//! Imports nothing of the crate. Nothing here allocates, except that a `Writer`'s buffer grows when
//! it is too small. hickory-proto reads and writes what is uncommon elsewhere, and is the oracle of
//! the tests.
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
pub use writer::{Section, Sections, Writer};
