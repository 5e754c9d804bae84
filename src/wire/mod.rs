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

pub mod header;
mod name;
pub mod opt;
pub mod record;
mod writer;

pub use header::{HEADER_LEN, Header};
pub use name::{Suffixes, WireName};
pub use writer::{Section, Sections, Writer, count_of};

/// Largest UDP answer to a client without EDNS, in bytes (RFC 1035 section 2.3.4).
pub const PLAIN_UDP_LIMIT: u16 = 512;

/// Largest UDP message that is sent or announced, in bytes: it fits an unfragmented packet (DNS flag
/// day 2020).
pub const UDP_LIMIT: u16 = 1232;

/// Largest TCP message, in bytes (RFC 1035 section 4.2.2).
pub const TCP_LIMIT: usize = 65_535;

/// Reads two bytes at `at`, most significant first.
pub fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Reads four bytes at `at`, most significant first.
pub fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The message's only question: name, type and class. `None` if there is not exactly one.
pub fn question(message: &[u8]) -> Option<&[u8]> {
    if u16_at(message, 4)? != 1 {
        return None;
    }
    let end = record::skip_name(message, HEADER_LEN)? + 4;
    message.get(HEADER_LEN..end)
}
