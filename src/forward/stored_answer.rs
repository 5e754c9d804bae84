//! An upstream's answer as it is kept, and how a client's answer is written from it.

use super::{
    client_query::ClientQuery,
    message::{HEADER, Parts, UDP_SIZE, code, flag, parts, u32_at},
};

/// Length of an OPT record without options.
const OPT: usize = 11;

/// TTL of answers that are past their time ("RECOMMENDED value is 30 seconds", RFC 8767 section 4).
const STALE_TTL: u32 = 30;

/// The options that say that an answer is past its time: "Stale Answer" and, where there is no such name, "Stale NXDOMAIN Answer"
/// (RFC 8914 sections 4.4 and 4.20).
const STALE_OPTION: [u8; 6] = [0, 15, 0, 2, 0, 3];
const STALE_NO_NAME_OPTION: [u8; 6] = [0, 15, 0, 2, 0, 19];

/// How long the news that upstreams fail is kept, in seconds (RFC 9520 section 3.2 wants at least one).
pub(super) const FAILURE_TTL: u32 = 2;

/// An upstream's answer without its OPT record.
#[derive(Debug)]
pub(super) struct StoredAnswer {
    /// The message: header, question, records.
    message: Box<[u8]>,
    /// Where each record's TTL is.
    ttls: Box<[u16]>,
    counts: [u16; 3],
    /// The response code with its extended part.
    code: u16,
    /// EDNS options for the client.
    options: Box<[u8]>,
    /// How long it may be kept by its own word, in seconds; `None`: not at all.
    lifetime: Option<Lifetime>,
}

/// How long an answer may be kept, in seconds, and which limits hold for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// There are records.
    Positive(u32),
    /// There is no such name, or no such type (RFC 2308).
    Negative(u32),
    /// The upstream could not find out.
    Failure,
}

/// How old an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It came just now.
    New,
    /// It was stored for so many `seconds`; no TTL exceeds `max_ttl` less those.
    Stored { seconds: u32, max_ttl: u32 },
    /// Past its time.
    Stale,
}

/// What became of an answer that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerSummary {
    /// The response code, without its extended part.
    pub code: u8,
    /// Whether records were left out and TC set.
    pub truncated: bool,
}

impl StoredAnswer {
    /// Takes an upstream's answer; `None` if it is not well formed.
    pub(super) fn new(mut message: Vec<u8>) -> Option<Self> {
        let Parts { ttls, counts, end, code, options, answer_ttl, has_type, negative_ttl, .. } =
            parts(&message)?;
        message.truncate(end);
        let lifetime = match code {
            code::NO_ERROR if has_type => answer_ttl.map(Lifetime::Positive),
            // The chain of aliases, if there is one, counts as well.
            code::NO_ERROR | code::NO_NAME => {
                negative_ttl.map(|ttl| Lifetime::Negative(answer_ttl.map_or(ttl, |answer| answer.min(ttl))))
            }
            code::SERVER_FAILURE => Some(Lifetime::Failure),
            _ => None,
        };
        let is_cut = message.get(2).is_some_and(|flags| flags & flag::TRUNCATED != 0);
        Some(Self {
            message: message.into(),
            ttls: ttls.into(),
            counts,
            code,
            options: options.into(),
            lifetime: lifetime.filter(|_| !is_cut),
        })
    }

    /// The answer where no upstream gave one.
    pub(super) fn failure(question: &[u8]) -> Self {
        let low = code::SERVER_FAILURE.to_be_bytes()[1];
        let mut message = vec![0, 0, flag::RESPONSE, low, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(question);
        Self {
            message: message.into(),
            ttls: [].into(),
            counts: [0; 3],
            code: code::SERVER_FAILURE,
            options: [].into(),
            lifetime: Some(Lifetime::Failure),
        }
    }

    /// Whether the answer settles the question, instead of only saying that the upstream cannot: NOERROR, NXDOMAIN, YXDOMAIN
    /// (RFC 6672 section 2.4).
    pub(super) fn is_conclusive(&self) -> bool {
        matches!(self.code, code::NO_ERROR | code::NO_NAME | code::NAME_EXISTS)
    }

    /// How long it may be kept by its own word.
    pub(super) fn lifetime(&self) -> Option<Lifetime> {
        self.lifetime
    }

    /// Whether the upstream left something out.
    pub(super) fn is_truncated(&self) -> bool {
        self.message.get(2).is_some_and(|flags| flags & flag::TRUNCATED != 0)
    }

    /// Memory that it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.message.len() + size_of_val(&*self.ttls) + self.options.len()
    }

    /// Writes the answer to `query` into `out`, whose old content is dropped: the records as they came, but the id, the
    /// question's letter case, RD and CD as they were asked, TTLs less the time they were kept, and an OPT record if there was
    /// one. *Cost*: a copy of the message and a step for each record; allocates only where `out` is too small.
    ///
    /// What does not fit is left out: the upstream's options first, then records from behind; TC says so unless those are only of the
    /// additional section (RFC 2181 section 9).
    pub(super) fn write(&self, query: &ClientQuery<'_>, age: Age, out: &mut Vec<u8>) -> AnswerSummary {
        let bare_opt = if query.edns.is_some() { OPT + query.own_options.len() } else { 0 };
        let options: &[u8] = match age {
            Age::Stale if self.code == code::NO_NAME => &STALE_NO_NAME_OPTION,
            Age::Stale => &STALE_OPTION,
            Age::New | Age::Stored { .. } => &self.options,
        };
        let fit = self.message.len() + bare_opt + options.len() <= query.limit;
        let options = if fit { options } else { &[] };
        let opt = bare_opt + if query.edns.is_some() { options.len() } else { 0 };
        let (records, end, counts) = self.fitting(query.limit.saturating_sub(opt));
        let truncated =
            self.is_truncated() || counts.iter().zip(&self.counts).take(2).any(|(kept, all)| kept < all);
        out.clear();
        out.extend_from_slice(self.message.get(..end).unwrap_or_default());
        self.write_head(query, age, truncated, counts, out);
        for at in self.ttls.iter().take(records) {
            let at = usize::from(*at);
            let ttl = u32_at(&self.message, at).unwrap_or(0);
            if let Some(place) = out.get_mut(at..at + 4) {
                place.copy_from_slice(&at_age(ttl, age).to_be_bytes());
            }
        }
        if let Some(dnssec_ok) = query.edns {
            let [size0, size1] = UDP_SIZE.to_be_bytes();
            let extended = u8::try_from(self.code >> 4).unwrap_or(0);
            let dnssec_ok = if dnssec_ok { 0x80 } else { 0 };
            let [length0, length1] =
                u16::try_from(options.len() + query.own_options.len()).unwrap_or(0).to_be_bytes();
            out.extend_from_slice(&[0, 0, 41, size0, size1, extended, 0, dnssec_ok, 0, length0, length1]);
            out.extend_from_slice(options);
            out.extend_from_slice(query.own_options);
        }
        AnswerSummary { code: self.code.to_be_bytes()[1] & 0x0f, truncated }
    }

    /// How many records fit into `limit` bytes, where the last of them ends, and how many that is by section.
    fn fitting(&self, limit: usize) -> (usize, usize, [u16; 3]) {
        if self.message.len() <= limit {
            return (self.ttls.len(), self.message.len(), self.counts);
        }
        let head = HEADER + super::message::question(&self.message).map_or(0, <[u8]>::len);
        let ends = self.ttls.iter().map(|at| {
            let at = usize::from(*at);
            let length = self.message.get(at + 4..at + 6).and_then(|bytes| bytes.first_chunk());
            at + 6 + length.map_or(0, |length| usize::from(u16::from_be_bytes(*length)))
        });
        let (records, end) =
            ends.take_while(|end| *end <= limit).fold((0, head), |(count, _), end| (count + 1, end));
        let mut rest = records;
        let counts = self.counts.map(|all| {
            let kept = rest.min(usize::from(all));
            rest -= kept;
            u16::try_from(kept).unwrap_or(all)
        });
        (records, end, counts)
    }

    /// Writes header and question over those of the upstream's message.
    fn write_head(
        &self,
        query: &ClientQuery<'_>,
        age: Age,
        truncated: bool,
        counts: [u16; 3],
        out: &mut [u8],
    ) {
        let bit = |set: bool, mask: u8| if set { mask } else { 0 };
        // Bit 0x40 of the second byte is reserved, and passes.
        let [flags0, flags1] = [2, 3].map(|at| self.message.get(at).copied().unwrap_or(0));
        let first = flag::RESPONSE
            | bit(age == Age::New, flags0 & flag::AUTHORITATIVE)
            | bit(truncated, flag::TRUNCATED)
            | bit(query.recursion_desired, flag::RECURSION_DESIRED);
        // "MUST ignore … unless … set the DO bit or the AD bit" (RFC 6840 section 5.8)
        let wants_ad = query.authentic_data || query.edns == Some(true);
        let second = flag::RECURSION_AVAILABLE
            | flags1 & 0x4f
            | bit(wants_ad, flags1 & flag::AUTHENTIC_DATA)
            | bit(query.checking_disabled, flag::CHECKING_DISABLED);
        let [answers, authority, additional] = counts;
        let additional = additional + u16::from(query.edns.is_some());
        let [an, ns, ar] = [answers, authority, additional].map(u16::to_be_bytes);
        let head = [query.id[0], query.id[1], first, second, 0, 1, an[0], an[1], ns[0], ns[1], ar[0], ar[1]];
        if let Some(place) = out.first_chunk_mut() {
            *place = head;
        }
        if let Some(place) = out.get_mut(HEADER..HEADER + query.question.len()) {
            place.copy_from_slice(query.question);
        }
    }
}

fn at_age(ttl: u32, age: Age) -> u32 {
    match age {
        Age::New => ttl,
        Age::Stored { seconds, max_ttl } => ttl.min(max_ttl).saturating_sub(seconds),
        Age::Stale => ttl.min(STALE_TTL),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Message;
    use proptest::prelude::*;

    use super::*;
    use crate::forward::testing::{a, answer, soa, with_opt};

    proptest! {
        /// Whatever an upstream says, and whatever the limit is.
        #[test]
        fn answers_are_within_their_limit_and_can_be_read(
            change in prop::collection::vec((0_usize..400, any::<u8>()), 0..4),
            records in 0_usize..20,
            options in prop::collection::vec(any::<u8>(), 0..600),
            limit in 100_usize..700,
            edns in any::<Option<bool>>(),
            age in prop::sample::select(vec![Age::New, Age::Stored { seconds: 10, max_ttl: 60 }, Age::Stale]),
        ) {
            let answers = vec![a("web.example.", 300); records];
            let whole = answer("web.example.", 1, 0x8180, &answers, &[soa("example.", 60, 60)]);
            let is_changed = !change.is_empty();
            let [length0, length1] = u16::try_from(options.len()).unwrap().to_be_bytes();
            let options = [&[0, 15, length0, length1], options.as_slice()].concat();
            let mut message = with_opt(&whole, 0, &options);
            for (at, to) in change {
                // The question is compared before.
                if let Some(byte) = message.get_mut(at).filter(|_| !(4..=28).contains(&at)) {
                    *byte = to;
                }
            }
            let Some(answer) = StoredAnswer::new(message) else { return Ok(()) };
            let question = b"\x03WEB\x07example\x00\x00\x01\x00\x01";
            let query = ClientQuery {
                id: [1, 2],
                question,
                name: b"\x03web\x07example\x00",
                qtype: 1,
                recursion_desired: true,
                authentic_data: false,
                checking_disabled: false,
                edns,
                has_options: false,
                own_options: &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
                limit,
            };
            let mut out = Vec::new();
            let written = answer.write(&query, age, &mut out);
            prop_assert!(out.len() <= limit, "{} bytes", out.len());
            prop_assert_eq!(&out[12..12 + question.len()], question);
            if !is_changed {
                let stale = age == Age::Stale;
                let all = whole.len() + OPT + 12 + if stale { STALE_OPTION.len() } else { options.len() };
                let has_options = out.windows(4).any(|four| four == &options[..4]) && edns.is_some();
                if edns.is_some() && !stale && options.len() > 4 {
                    prop_assert_eq!(has_options, all <= limit, "whole or not at all, and before any record");
                }
                let read = Message::from_vec(&out).unwrap();
                prop_assert_eq!(read.edns.is_some(), edns.is_some());
                prop_assert_eq!(read.metadata.truncation, written.truncated);
                prop_assert_eq!(written.truncated, read.answers.len() + read.authorities.len() < records + 1);
            }
        }
    }

    #[test]
    fn a_stale_answer_says_of_which_kind_it_is() {
        for (flags, expected) in [(0x8180, 3), (0x8183, 19)] {
            let message = answer("web.example.", 1, flags, &[], &[soa("example.", 60, 60)]);
            let answer = StoredAnswer::new(message).unwrap();
            let query = ClientQuery {
                id: [1, 2],
                question: b"\x03web\x07example\x00\x00\x01\x00\x01",
                name: b"\x03web\x07example\x00",
                qtype: 1,
                recursion_desired: true,
                authentic_data: false,
                checking_disabled: false,
                edns: Some(false),
                has_options: false,
                own_options: &[],
                limit: 512,
            };
            let mut out = Vec::new();
            answer.write(&query, Age::Stale, &mut out);
            assert!(out.ends_with(&[0, 6, 0, 15, 0, 2, 0, expected]), "{out:02x?}");
        }
    }
}
