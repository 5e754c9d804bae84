//! Message sizes and integers.

/// Maximum UDP response to a client without EDNS, in bytes (RFC 1035 section 2.3.4).
pub const PLAIN_UDP_LIMIT: u16 = 512;

/// Maximum UDP message that muster sends or announces, in bytes: it fits an unfragmented packet
/// (DNS flag day 2020).
pub const UDP_LIMIT: u16 = 1232;

/// Maximum TCP message, in bytes (RFC 1035 section 4.2.2).
pub const TCP_LIMIT: usize = 65_535;

/// Reads a big-endian 16-bit integer at `at`. `None` beyond the end.
#[inline]
pub fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Reads a big-endian 32-bit integer at `at`. `None` beyond the end.
#[inline]
pub fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A count or length as a 16-bit integer. muster writes no message of 64 KiB or more.
#[inline]
pub fn count_of(count: usize) -> u16 {
    debug_assert!(u16::try_from(count).is_ok(), "{count} is more than a message can hold");
    u16::try_from(count).unwrap_or(u16::MAX)
}
