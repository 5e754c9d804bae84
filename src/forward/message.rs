//! The parts of a message that forwarding reads.
//!
//! Records are stepped over, not decoded: their data passes through unchanged, so unknown types and
//! signatures stay intact. Only the TTLs are rewritten, and the OPT record is removed, since it is
//! between two neighbors (RFC 6891 section 6.2.6).

use crate::wire::{
    self, HEADER_LEN,
    header::{TRUNCATED, rcode},
    opt::{self, Opt},
    record::{self, Record, Records},
    u16_at, u32_at,
};

/// Whether the message has TC set.
pub(super) fn is_truncated(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & TRUNCATED != 0)
}

/// The response code of the header, without the part that an OPT record adds.
fn header_rcode(message: &[u8]) -> Option<u16> {
    message.get(3).map(|flags| u16::from(flags & 0x0f))
}

/// Whether an answer shows that the server does not know EDNS (RFC 6891 section 7): an error
/// without an OPT record.
pub(super) fn knows_no_edns(answer: &[u8]) -> bool {
    matches!(header_rcode(answer), Some(rcode::FORM_ERR | rcode::NOT_IMP))
        && answer.get(6..HEADER_LEN) == Some(&[0; 6])
}

/// The result of [`parts`].
#[derive(Debug, Default)]
pub(super) struct MessageParts {
    /// Where each record's TTL is, without the OPT record.
    pub(super) ttls: Vec<u16>,
    /// Records in the answer, authority and additional section, without the OPT record.
    pub(super) counts: [u16; 3],
    /// Where the last record ends that is kept.
    pub(super) end: usize,
    /// The response code, with the part that the OPT record adds.
    pub(super) rcode: u16,
    /// Whether there is an OPT record.
    pub(super) has_opt: bool,
    /// The options that are for the client too, in wire format.
    pub(super) options: Vec<u8>,
    /// The lowest TTL of the answer section, in seconds; `None`: the section is empty.
    pub(super) answer_ttl: Option<u32>,
    /// Whether the answer section has a record of the queried type.
    pub(super) has_type: bool,
    /// How long a negative answer holds, in seconds (RFC 2308 section 5); `None`: the authority
    /// section has no SOA record.
    pub(super) negative_ttl: Option<u32>,
}

/// Takes a message apart. `None` if it is malformed.
pub(super) fn parts(message: &[u8]) -> Option<MessageParts> {
    let question = wire::question(message)?;
    let qtype = u16_at(question, question.len().checked_sub(4)?)?;
    let rcode = header_rcode(message)?;
    let mut parts = MessageParts { end: HEADER_LEN + question.len(), rcode, ..MessageParts::default() };
    for record in Records::new(message)? {
        let record = record.ok()?;
        if record.section == 2 && record.rtype == record::OPT {
            parts.take_opt(Opt::at(message, record)?)?;
        } else if !parts.has_opt {
            parts.take(message, qtype, record)?;
        }
        // Records after the OPT record are dropped: they could point to names by their position,
        // which changes when it is removed. Only a transaction signature belongs there.
    }
    Some(parts)
}

impl MessageParts {
    /// `None` if the record is malformed, or its TTL is beyond 64 KiB, which no transport carries.
    fn take(&mut self, message: &[u8], qtype: u16, record: Record) -> Option<()> {
        self.ttls.push(u16::try_from(record.ttl_at).ok()?);
        *self.counts.get_mut(record.section)? += 1;
        self.end = record.end;
        let ttl = ttl(u32_at(message, record.ttl_at)?);
        if record.section == 0 {
            self.answer_ttl = Some(self.answer_ttl.map_or(ttl, |least| least.min(ttl)));
            self.has_type |= record.rtype == qtype || qtype == record::ANY;
        }
        if record.section == 1 && record.rtype == record::SOA {
            let minimum = u32_at(message, record.end.checked_sub(4)?)?;
            self.negative_ttl = Some(ttl.min(minimum));
        }
        Some(())
    }

    /// `None` for a second OPT record: "FORMERR" (RFC 6891 section 6.1.1).
    fn take_opt(&mut self, opt: Opt<'_>) -> Option<()> {
        if self.has_opt {
            return None;
        }
        self.has_opt = true;
        self.rcode |= u16::from(opt.extended_rcode) << 4;
        self.options = passing(opt);
        Some(())
    }
}

/// A TTL with the top bit set counts as zero (RFC 2181 section 8).
fn ttl(wire: u32) -> u32 {
    if wire > 0x7fff_ffff { 0 } else { wire }
}

/// The options that are for the client too, in wire format.
fn passing(opt: Opt<'_>) -> Vec<u8> {
    let passing = opt.options().filter(|option| opt::passes_to_client(option.code));
    passing.flat_map(|option| option.wire).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::testing::{a, answer, soa, with_opt};

    #[test]
    fn records_are_found_and_the_opt_record_is_removed() {
        let plain = answer("web.example.", 1, 0x8180, &[a("web.example.", 300), a("web.example.", 60)], &[]);
        let parts =
            parts(&with_opt(&plain, 0x80, &[0, 15, 0, 2, 0, 3, 0, 10, 0, 1, 9, 255, 1, 0, 0])).unwrap();
        assert_eq!((parts.counts, parts.ttls.len(), parts.end), ([2, 0, 0], 2, plain.len()));
        assert_eq!((parts.answer_ttl, parts.has_type, parts.negative_ttl), (Some(60), true, None));
        assert_eq!((parts.has_opt, parts.rcode), (true, 0x800));
        assert_eq!(
            parts.options,
            [0, 15, 0, 2, 0, 3],
            "the extended error passes, a cookie and what is unknown do not"
        );
    }

    #[test]
    fn the_negative_ttl_is_the_lower_of_the_two_in_the_soa() {
        for (ttl, minimum) in [(30, 600), (600, 30)] {
            let message = answer("no.example.", 1, 0x8183, &[], &[soa("example.", ttl, minimum)]);
            assert_eq!(parts(&message).unwrap().negative_ttl, Some(30));
        }
    }

    #[test]
    fn a_message_cut_at_any_byte_is_refused() {
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
