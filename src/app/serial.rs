//! SOA serials: the time in seconds, always growing.

use std::time::{SystemTime, UNIX_EPOCH};

/// The serial of now: the low 32 bits of the seconds since 1970 (RFC 1912 section 2.2 allows any that grows).
pub(super) fn serial() -> u32 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let [.., a, b, c, d] = seconds.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The serial that follows `last`: `now`, or `last + 1` if `now` is not later (RFC 1982 section
/// 3.2).
pub(super) fn next_serial(last: u32, now: u32) -> u32 {
    let ahead = now.wrapping_sub(last);
    if ahead != 0 && ahead < 1 << 31 { now } else { last.wrapping_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_grow_within_a_second_and_when_they_wrap() {
        assert_eq!(next_serial(100, 200), 200);
        assert_eq!(next_serial(100, 100), 101);
        assert_eq!(next_serial(101, 100), 102);
        assert_eq!(next_serial(u32::MAX, 5), 5);
        assert_eq!(next_serial(u32::MAX, u32::MAX), 0);
    }
}
