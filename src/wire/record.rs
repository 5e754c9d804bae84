//! Records (RFC 1035 section 4.1.3): stepping over them without decoding their data.

use super::{bytes::u16_at, header::HEADER_LEN};

/// Length of a record's fixed part if its owner is a compression pointer, in bytes.
pub const POINTER_HEAD: usize = 12;

/// Type CNAME.
pub const CNAME: u16 = 5;
/// Type SOA.
pub const SOA: u16 = 6;
/// Type OPT (RFC 6891).
pub const OPT: u16 = 41;
/// Query type ANY.
pub const ANY: u16 = 255;

/// A record's position in a message. All positions are in bytes from the message's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The section: 0 is answer, 1 authority, 2 additional.
    pub section: usize,
    /// The start of its owner name.
    pub start: usize,
    /// The record type.
    pub rtype: u16,
    /// The position of its TTL. The data starts six bytes later.
    pub ttl_at: usize,
    /// The end of its data.
    pub end: usize,
}

impl Record {
    /// The data, without decoding. `message` must be the one that the record was found in.
    pub fn data(self, message: &[u8]) -> &[u8] {
        debug_assert!(self.end <= message.len(), "a record is within its message");
        message.get(self.ttl_at + 6..self.end).unwrap_or_default()
    }
}

/// Iterates over the records of a message.
///
/// *Shape*: in order, over all three sections. Ends with an `Err` where the message is truncated or
/// malformed.
#[derive(Clone, Debug)]
pub struct Records<'m> {
    message: &'m [u8],
    /// Remaining records of each section.
    left: [u16; 3],
    at: usize,
}

/// The message is truncated or malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'m> Records<'m> {
    /// Starts after the message's only question. `None` if there is not exactly one.
    pub fn new(message: &'m [u8]) -> Option<Self> {
        let left = [u16_at(message, 6)?, u16_at(message, 8)?, u16_at(message, 10)?];
        Some(Self { message, left, at: HEADER_LEN + question(message)?.len() })
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let section = self.left.iter().position(|left| *left > 0)?;
        match step(self.message, self.at, section) {
            Some(record) => {
                self.at = record.end;
                if let Some(left) = self.left.get_mut(section) {
                    *left -= 1;
                }
                Some(Ok(record))
            }
            None => {
                self.left = [0; 3];
                Some(Err(Malformed))
            }
        }
    }
}

/// Steps over the record at `start`.
fn step(message: &[u8], start: usize, section: usize) -> Option<Record> {
    let fixed = skip_name(message, start)?;
    let rtype = u16_at(message, fixed)?;
    let end = fixed + 10 + usize::from(u16_at(message, fixed + 8)?);
    (end <= message.len()).then_some(Record { section, start, rtype, ttl_at: fixed + 4, end })
}

/// The message's only question: name, type and class. `None` if there is not exactly one.
pub fn question(message: &[u8]) -> Option<&[u8]> {
    if u16_at(message, 4)? != 1 {
        return None;
    }
    let end = skip_name(message, HEADER_LEN)? + 4;
    message.get(HEADER_LEN..end)
}

/// The end of the name at `at`. Does not follow a compression pointer. `None` if the name is
/// malformed.
pub fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += usize::from(length) + 1,
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Makes a compression pointer to `at`. `None` beyond the reach of a pointer (RFC 1035 section
/// 4.1.4).
#[inline]
pub fn pointer(at: usize) -> Option<u16> {
    u16::try_from(at).ok().filter(|at| *at < 0x4000).map(|at| 0xc000 | at)
}

/// Makes a record's fixed part. Its owner is a compression pointer, and `length` bytes of data
/// follow.
#[inline]
pub fn head(owner: u16, rtype: u16, class: u16, ttl: u32, length: u16) -> [u8; POINTER_HEAD] {
    let [o, t, c, l] = [owner, rtype, class, length].map(u16::to_be_bytes);
    let ttl = ttl.to_be_bytes();
    [o[0], o[1], t[0], t[1], c[0], c[1], ttl[0], ttl[1], ttl[2], ttl[3], l[0], l[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"\0\0\x80\0\0\x01\0\x01\0\0\0\x01\
        \x03web\0\0\x01\0\x01\
        \xc0\x0c\0\x01\0\x01\0\0\0\x1e\0\x04\x0a\0\0\x01\
        \0\0\x29\x04\xd0\0\0\0\0\0\0";

    #[test]
    fn records_are_found_with_section_and_data() {
        let records: Vec<_> = Records::new(MESSAGE).unwrap().collect::<Result<_, _>>().unwrap();
        let seen: Vec<_> = records.iter().map(|r| (r.section, r.rtype, r.data(MESSAGE))).collect();
        assert_eq!(seen, [(0, 1, &b"\x0a\0\0\x01"[..]), (2, OPT, &b""[..])]);
        assert_eq!(records[1].end, MESSAGE.len());
    }

    #[test]
    fn a_message_cut_at_any_byte_ends_in_an_error() {
        for length in 0..MESSAGE.len() {
            let cut = &MESSAGE[..length];
            let is_whole = Records::new(cut).is_some_and(|records| records.into_iter().all(|r| r.is_ok()));
            assert!(!is_whole, "{length}");
        }
    }
}
