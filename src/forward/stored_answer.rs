//! An upstream's answer as the cache stores it, and writing it for a client.

use super::{
    client_query::ClientQuery,
    message::{MessageParts, is_truncated, parts},
};
use crate::wire::{
    self, HEADER_LEN,
    header::{
        self, AUTHENTIC_DATA, AUTHORITATIVE, CHECKING_DISABLED, RECURSION_AVAILABLE, RECURSION_DESIRED,
        RESPONSE, TRUNCATED, bit, rcode,
    },
    opt::{self, EXTENDED_ERROR, OPT_LEN},
    u16_at, u32_at,
};

/// TTL of stale answers ("RECOMMENDED value is 30 seconds", RFC 8767 section 4).
const STALE_TTL: u32 = 30;

/// The extended errors of stale answers: "Stale Answer" and "Stale NXDOMAIN Answer" (RFC 8914
/// sections 4.4 and 4.20).
const STALE_OPTION: [u8; 6] = extended_error(3);
const STALE_NX_DOMAIN_OPTION: [u8; 6] = extended_error(19);

/// An upstream's answer without its OPT record.
#[derive(Debug)]
pub(super) struct StoredAnswer {
    /// The message: header, question, records.
    message: Box<[u8]>,
    /// Where each record's TTL is.
    ttls: Box<[u16]>,
    /// Records in the answer, authority and additional section.
    counts: [u16; 3],
    /// The response code with its extended part.
    rcode: u16,
    /// EDNS options for the client, in wire format.
    options: Box<[u8]>,
    /// How long the answer itself allows it to be stored; `None`: not at all.
    lifetime: Option<Lifetime>,
}

/// How long an answer may be stored, in seconds, and which limits apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// There are records of the queried type.
    Positive(u32),
    /// The name, or its type, does not exist (RFC 2308).
    Negative(u32),
    /// SERVFAIL, or any other error that does not settle the question (RFC 9520 section 2).
    Failure,
}

/// How old an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It has just arrived.
    New,
    /// It was stored `seconds` ago. No TTL exceeds `max_ttl` less those.
    Stored { seconds: u32, max_ttl: u32 },
    /// Its TTL is over.
    Stale,
}

/// The header fields of an answer that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerSummary {
    /// The response code, without its extended part.
    pub code: u8,
    /// Whether records were left out and TC is set.
    pub truncated: bool,
}

impl StoredAnswer {
    /// Takes an upstream's message. `None` if it is malformed.
    pub(super) fn new(mut message: Vec<u8>) -> Option<Self> {
        let MessageParts { ttls, counts, end, rcode, options, answer_ttl, has_type, negative_ttl, .. } =
            parts(&message)?;
        message.truncate(end);
        let lifetime = match rcode {
            rcode::NO_ERROR if has_type => answer_ttl.map(Lifetime::Positive),
            // A chain of aliases, if there is one, limits the lifetime as well.
            rcode::NO_ERROR | rcode::NX_DOMAIN => {
                negative_ttl.map(|ttl| Lifetime::Negative(answer_ttl.map_or(ttl, |answer| answer.min(ttl))))
            }
            rcode::YX_DOMAIN => None,
            _ => Some(Lifetime::Failure),
        };
        let lifetime = lifetime.filter(|_| !is_truncated(&message));
        Some(Self {
            message: message.into(),
            ttls: ttls.into(),
            counts,
            rcode,
            options: options.into(),
            lifetime,
        })
    }

    /// SERVFAIL, where no upstream answered.
    pub(super) fn failure(question: &[u8]) -> Self {
        let [_, code] = rcode::SERV_FAIL.to_be_bytes();
        let mut message = header::bytes([0; 2], [RESPONSE, code], [1, 0, 0, 0]).to_vec();
        message.extend_from_slice(question);
        Self {
            message: message.into(),
            ttls: [].into(),
            counts: [0; 3],
            rcode: rcode::SERV_FAIL,
            options: [].into(),
            lifetime: Some(Lifetime::Failure),
        }
    }

    /// Whether the answer settles the question, rather than only say that the upstream cannot:
    /// NOERROR, NXDOMAIN, YXDOMAIN.
    pub(super) fn is_conclusive(&self) -> bool {
        matches!(self.rcode, rcode::NO_ERROR | rcode::NX_DOMAIN | rcode::YX_DOMAIN)
    }

    /// Whether the name, or its type, does not exist.
    pub(super) fn is_negative(&self) -> bool {
        self.is_conclusive() && !matches!(self.lifetime, Some(Lifetime::Positive(_)))
    }

    /// Whether the queried name does not exist, whatever the type: "should be cached such that it can
    /// be retrieved and returned in response to another query for the same <QNAME, QCLASS>" (RFC 2308
    /// section 5). After a CNAME it is the alias's target that does not exist.
    pub(super) fn is_nx_domain(&self) -> bool {
        let [answers, ..] = self.counts;
        self.rcode == rcode::NX_DOMAIN && answers == 0
    }

    /// How long the answer itself allows it to be stored.
    pub(super) fn lifetime(&self) -> Option<Lifetime> {
        self.lifetime
    }

    /// Whether the upstream left records out.
    pub(super) fn is_truncated(&self) -> bool {
        is_truncated(&self.message)
    }

    /// Memory that it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.message.len() + size_of_val(&*self.ttls) + self.options.len()
    }

    /// Writes the answer to `query` into `out`, whose old content is dropped: the records
    /// unchanged, but the ID, the question's letter case, RD and CD as in the query, TTLs reduced
    /// by the age, and an OPT record if the query had one. *Cost*: a copy of the message and a step
    /// for each record; allocates only if `out` is too small.
    ///
    /// If the answer does not fit, the upstream's options are left out first, then records from the
    /// end. TC is set if one of them is not in the additional section (RFC 2181 section 9).
    pub(super) fn write(&self, query: &ClientQuery<'_>, age: Age, out: &mut Vec<u8>) -> AnswerSummary {
        let bare_opt = if query.edns.is_some() { OPT_LEN + query.own_options.len() } else { 0 };
        let options = self.options(age);
        let fit = self.message.len() + bare_opt + options.len() <= query.limit;
        let options = if fit { options } else { &[] };
        let opt = bare_opt + if query.edns.is_some() { options.len() } else { 0 };
        let (records, end, counts) = self.fitting(query.limit.saturating_sub(opt));
        let truncated =
            self.is_truncated() || counts.iter().zip(&self.counts).take(2).any(|(kept, all)| kept < all);
        debug_assert!(end <= self.message.len(), "records end within their message");
        out.clear();
        out.extend_from_slice(self.message.get(..end).unwrap_or_default());
        self.write_head(query, age, truncated, counts, out);
        for at in self.ttls.iter().take(records) {
            let at = usize::from(*at);
            debug_assert!(at + 4 <= end, "a TTL is within its record");
            let ttl = u32_at(&self.message, at).unwrap_or(0);
            if let Some(place) = out.get_mut(at..at + 4) {
                place.copy_from_slice(&ttl_at(ttl, age).to_be_bytes());
            }
        }
        if let Some(dnssec_ok) = query.edns {
            let [_, extended] = (self.rcode >> 4).to_be_bytes();
            out.extend(opt::head(extended, dnssec_ok, options.len() + query.own_options.len()));
            out.extend_from_slice(options);
            out.extend_from_slice(query.own_options);
        }
        AnswerSummary { code: self.header_rcode(query), truncated }
    }

    /// The response code without its extended part. To a client without EDNS an extended code is
    /// SERVFAIL: it could not see more than the lower bits, which have another meaning.
    fn header_rcode(&self, query: &ClientQuery<'_>) -> u8 {
        let is_whole = query.edns.is_some() || self.rcode < 16;
        let [_, low] = if is_whole { self.rcode } else { rcode::SERV_FAIL }.to_be_bytes();
        low & 0x0f
    }

    /// The options for a client: the upstream's, or that the answer is stale.
    fn options(&self, age: Age) -> &[u8] {
        match age {
            Age::Stale if self.rcode == rcode::NX_DOMAIN => &STALE_NX_DOMAIN_OPTION,
            Age::Stale => &STALE_OPTION,
            Age::New | Age::Stored { .. } => &self.options,
        }
    }

    /// The records that fit into `limit` bytes: how many, where the last of them ends, and how many
    /// by section.
    fn fitting(&self, limit: usize) -> (usize, usize, [u16; 3]) {
        if self.message.len() <= limit {
            return (self.ttls.len(), self.message.len(), self.counts);
        }
        let question = wire::question(&self.message);
        debug_assert!(question.is_some(), "a stored answer has one question");
        let head = HEADER_LEN + question.map_or(0, <[u8]>::len);
        let ends = self.ttls.iter().map(|at| {
            let at = usize::from(*at);
            let length = u16_at(&self.message, at + 4);
            debug_assert!(length.is_some(), "the length of its data follows a record's TTL");
            at + 6 + length.map_or(0, usize::from)
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
        debug_assert!(self.message.len() >= HEADER_LEN, "a stored answer has a header");
        // Bit 0x40 of the second byte is reserved, and passes.
        let [flags0, flags1] = [2, 3].map(|at| self.message.get(at).copied().unwrap_or(0));
        let first = RESPONSE
            | bit(age == Age::New, flags0 & AUTHORITATIVE)
            | bit(truncated, TRUNCATED)
            | bit(query.recursion_desired, RECURSION_DESIRED);
        // "MUST ignore … unless … set the DO bit or the AD bit" (RFC 6840 section 5.8)
        let wants_ad = query.authentic_data || query.edns == Some(true);
        let second = RECURSION_AVAILABLE
            | flags1 & 0x40
            | self.header_rcode(query)
            | bit(wants_ad, flags1 & AUTHENTIC_DATA)
            | bit(query.checking_disabled, CHECKING_DISABLED);
        let [answers, authority, additional] = counts;
        let counts = [1, answers, authority, additional + u16::from(query.edns.is_some())];
        header::overwrite(out, header::bytes(query.id, [first, second], counts));
        let question = out.get_mut(HEADER_LEN..HEADER_LEN + query.question.len());
        debug_assert!(question.is_some(), "an upstream's answer repeats the question");
        if let Some(place) = question {
            place.copy_from_slice(query.question);
        }
    }
}

/// An extended error without text (RFC 8914 section 2).
const fn extended_error(code: u8) -> [u8; 6] {
    let [option0, option1] = EXTENDED_ERROR.to_be_bytes();
    [option0, option1, 0, 2, 0, code]
}

fn ttl_at(ttl: u32, age: Age) -> u32 {
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
    use crate::{
        forward::testing::{a, answer, soa, with_opt},
        wire::WireName,
    };

    /// A query for web.example without EDNS.
    fn plain() -> ClientQuery<'static> {
        ClientQuery {
            id: [1, 2],
            question: b"\x03web\x07example\x00\x00\x01\x00\x01",
            name: WireName::trusted(b"\x03web\x07example\x00"),
            qtype: 1,
            recursion_desired: true,
            authentic_data: false,
            checking_disabled: false,
            edns: None,
            own_options: &[],
            limit: 512,
        }
    }

    proptest! {
        /// For any upstream message and any limit.
        #[test]
        fn answers_fit_their_limit_and_can_be_read(
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
            let Some(stored) = StoredAnswer::new(message) else { return Ok(()) };
            let question = b"\x03WEB\x07example\x00\x00\x01\x00\x01";
            let own_options = &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
            let query = ClientQuery { question, edns, own_options, limit, ..plain() };
            let mut out = Vec::new();
            let written = stored.write(&query, age, &mut out);
            prop_assert!(out.len() <= limit, "{} bytes", out.len());
            prop_assert_eq!(&out[12..12 + question.len()], question);
            if !is_changed {
                let stale = age == Age::Stale;
                let all = whole.len() + OPT_LEN + 12 + if stale { STALE_OPTION.len() } else { options.len() };
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
    fn a_stale_answer_has_the_extended_error_of_its_kind() {
        for (flags, expected) in [(0x8180, 3), (0x8183, 19)] {
            let message = answer("web.example.", 1, flags, &[], &[soa("example.", 60, 60)]);
            let stored = StoredAnswer::new(message).unwrap();
            let query = ClientQuery { edns: Some(false), ..plain() };
            let mut out = Vec::new();
            stored.write(&query, Age::Stale, &mut out);
            assert!(out.ends_with(&[0, 6, 0, 15, 0, 2, 0, expected]), "{out:02x?}");
        }
    }

    #[test]
    fn an_extended_code_is_servfail_without_edns() {
        let message = with_opt(&answer("web.example.", 1, 0x8180, &[], &[]), 1, &[]);
        let stored = StoredAnswer::new(message).unwrap();
        for (edns, code) in [(None, 2), (Some(false), 0)] {
            let query = ClientQuery { edns, ..plain() };
            let mut out = Vec::new();
            let written = stored.write(&query, Age::New, &mut out);
            assert_eq!((written.code, out[3] & 0x0f), (code, code), "{edns:?}");
        }
    }
}
