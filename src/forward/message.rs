//! Messages as bytes: what forwarding must know of them, and no more.
//!
//! Records are found, not read: their data passes through as it is, so that types nobody here has heard of, and signatures over
//! records, stay intact. Only TTLs are written over, and the OPT record, which is between two neighbours (RFC 6891 section
//! 6.2.6), is taken off.

use hickory_proto::rr::RecordType;

/// Length of the header (RFC 1035 section 4.1.1).
pub(super) const HEADER: usize = 12;

/// Largest datagram that is asked for: fits an unfragmented packet (DNS flag day 2020).
pub(super) const UDP_SIZE: u16 = 1232;

/// Bits of the header's two bytes of flags.
pub(super) mod flag {
    pub(in super::super) const RESPONSE: u8 = 0x80;
    pub(in super::super) const AUTHORITATIVE: u8 = 0x04;
    pub(in super::super) const TRUNCATED: u8 = 0x02;
    pub(in super::super) const RECURSION_DESIRED: u8 = 0x01;
    pub(in super::super) const RECURSION_AVAILABLE: u8 = 0x80;
    pub(in super::super) const AUTHENTIC_DATA: u8 = 0x20;
    pub(in super::super) const CHECKING_DISABLED: u8 = 0x10;
}

/// Codes of the header's last four bits that are told apart here.
pub(super) mod code {
    pub(in super::super) const NO_ERROR: u16 = 0;
    pub(in super::super) const FORMAT_ERROR: u16 = 1;
    pub(in super::super) const SERVER_FAILURE: u16 = 2;
    pub(in super::super) const NO_NAME: u16 = 3;
    pub(in super::super) const NOT_IMPLEMENTED: u16 = 4;
    pub(in super::super) const NAME_EXISTS: u16 = 6;
}

/// Options of one hop only, which never pass: NSID (RFC 5001), EXPIRE (RFC 7314), COOKIE (RFC 7873), keepalive (RFC 7828),
/// padding (RFC 7830), CHAIN (RFC 7901).
const OF_ONE_HOP: [u16; 6] = [3, 9, 10, 11, 12, 13];

/// Tells whether an EDNS option may pass from a client to an upstream and back.
pub fn may_pass(option: u16) -> bool {
    !OF_ONE_HOP.contains(&option)
}

/// Where the name at `at` ends; compression is stepped over, not followed.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += usize::from(length) + 1,
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

pub(super) fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Where the message's only question is, its name first; `None` where there is not exactly one.
pub(super) fn question(message: &[u8]) -> Option<&[u8]> {
    if u16_at(message, 4)? != 1 {
        return None;
    }
    let end = skip_name(message, HEADER)? + 4;
    message.get(HEADER..end)
}

/// Whether an answer says that the server does not know EDNS (RFC 6891 section 7): an error, without an OPT record.
pub(super) fn knows_no_edns(answer: &[u8]) -> bool {
    let code = answer.get(3).map_or(0, |flags| u16::from(flags & 0x0f));
    matches!(code, code::FORMAT_ERROR | code::NOT_IMPLEMENTED) && answer.get(6..HEADER) == Some(&[0; 6])
}

/// A record's place.
#[derive(Clone, Copy, Debug)]
struct Record {
    rtype: u16,
    /// Where its TTL is; its data begins six bytes later.
    ttl_at: usize,
    end: usize,
}

fn record(message: &[u8], at: usize) -> Option<Record> {
    let fixed = skip_name(message, at)?;
    let rtype = u16_at(message, fixed)?;
    let end = fixed + 10 + usize::from(u16_at(message, fixed + 8)?);
    (end <= message.len()).then_some(Record { rtype, ttl_at: fixed + 4, end })
}

/// What a message is made of.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Where each record's TTL is, without the OPT record.
    pub(super) ttls: Vec<u16>,
    /// Records in the answer, authority and additional section, without the OPT record.
    pub(super) counts: [u16; 3],
    /// Where the last record ends that is kept.
    pub(super) end: usize,
    /// The response code, with what the OPT record adds to it.
    pub(super) code: u16,
    /// Whether there is an OPT record.
    pub(super) has_opt: bool,
    /// The OPT record's options that may pass, as they are on the wire.
    pub(super) options: Vec<u8>,
    /// The least TTL of the answer section; `None`: there is none.
    pub(super) answer_ttl: Option<u32>,
    /// Whether the answer section has the type that was asked for.
    pub(super) has_type: bool,
    /// How long a negative answer counts (RFC 2308 section 5); `None`: the authority section has no SOA record.
    pub(super) negative_ttl: Option<u32>,
}

/// Takes a message apart; `None` if it is not well formed.
pub(super) fn parts(message: &[u8]) -> Option<Parts> {
    let question = question(message)?;
    let qtype = u16_at(question, question.len() - 4)?;
    let counts = [u16_at(message, 6)?, u16_at(message, 8)?, u16_at(message, 10)?];
    let mut at = HEADER + question.len();
    let mut parts = Parts { end: at, code: u16::from(message.get(3)? & 0x0f), ..Parts::default() };
    for (section, count) in counts.into_iter().enumerate() {
        for _ in 0..count {
            let record = record(message, at)?;
            at = record.end;
            if section == 2 && record.rtype == u16::from(RecordType::OPT) {
                parts.take_opt(message, &record)?;
                continue;
            }
            // What stands behind the OPT record could point to names by their distance, which taking it off changes. Nothing
            // but a transaction signature belongs there.
            if parts.has_opt {
                continue;
            }
            parts.take(message, section, qtype, &record)?;
        }
    }
    // TTLs are further ahead than 64 KiB only in what no transport carries.
    Some(parts)
}

impl Parts {
    fn take(&mut self, message: &[u8], section: usize, qtype: u16, record: &Record) -> Option<()> {
        self.ttls.push(u16::try_from(record.ttl_at).ok()?);
        *self.counts.get_mut(section)? += 1;
        self.end = record.end;
        let ttl = ttl(u32_at(message, record.ttl_at)?);
        if section == 0 {
            self.answer_ttl = Some(self.answer_ttl.map_or(ttl, |least| least.min(ttl)));
            self.has_type |= record.rtype == qtype || qtype == u16::from(RecordType::ANY);
        }
        if section == 1 && record.rtype == u16::from(RecordType::SOA) {
            let minimum = u32_at(message, record.end.checked_sub(4)?)?;
            self.negative_ttl = Some(ttl.min(minimum));
        }
        Some(())
    }

    fn take_opt(&mut self, message: &[u8], record: &Record) -> Option<()> {
        if self.has_opt {
            return None; // "FORMERR" (RFC 6891 section 6.1.1)
        }
        self.has_opt = true;
        self.code |= u16::from(*message.get(record.ttl_at)?) << 4;
        self.options = passing(message.get(record.ttl_at + 6..record.end)?)?;
        Some(())
    }
}

/// A TTL with the top bit set counts as zero (RFC 2181 section 8).
fn ttl(wire: u32) -> u32 {
    if wire > 0x7fff_ffff { 0 } else { wire }
}

/// The options that may pass, as they are on the wire.
fn passing(mut options: &[u8]) -> Option<Vec<u8>> {
    let mut passing = Vec::new();
    while let Some((&[code0, code1, length0, length1], rest)) = options.split_first_chunk() {
        let end = 4 + usize::from(u16::from_be_bytes([length0, length1]));
        if may_pass(u16::from_be_bytes([code0, code1])) {
            passing.extend_from_slice(options.get(..end)?);
        }
        options = rest.get(end - 4..)?;
    }
    options.is_empty().then_some(passing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::testing::{a, answer, soa, with_opt};

    #[test]
    fn records_are_found_and_the_opt_record_is_taken_off() {
        let plain = answer("web.example.", 1, 0x8180, &[a("web.example.", 300), a("web.example.", 60)], &[]);
        let parts = parts(&with_opt(&plain, 0x80, &[0, 15, 0, 2, 0, 3, 0, 10, 0, 1, 9])).unwrap();
        assert_eq!((parts.counts, parts.ttls.len(), parts.end), ([2, 0, 0], 2, plain.len()));
        assert_eq!((parts.answer_ttl, parts.has_type, parts.negative_ttl), (Some(60), true, None));
        assert_eq!((parts.has_opt, parts.code), (true, 0x800));
        assert_eq!(parts.options, [0, 15, 0, 2, 0, 3], "the extended error passes, the cookie does not");
    }

    #[test]
    fn the_negative_ttl_is_the_lesser_of_the_soa_records_two() {
        for (ttl, minimum) in [(30, 600), (600, 30)] {
            let message = answer("no.example.", 1, 0x8183, &[], &[soa("example.", ttl, minimum)]);
            assert_eq!(parts(&message).unwrap().negative_ttl, Some(30));
        }
    }

    #[test]
    fn what_is_cut_short_is_refused_at_every_length() {
        let whole =
            with_opt(&answer("web.example.", 1, 0x8180, &[a("web.example.", 300)], &[]), 0, &[0, 15, 0, 0]);
        for length in 0..whole.len() {
            assert!(parts(&whole[..length]).is_none(), "{length}");
        }
        assert!(parts(&whole).is_some());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = parts(&bytes);
            if let Some(count) = bytes.get_mut(4..6) {
                count.copy_from_slice(&[0, 1]);
                let _ = parts(&bytes);
            }
        }
    }
}
