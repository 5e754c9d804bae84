//! Encoding: a decision becomes bytes within the client's limit.
//!
//! ```text
//!             ┌─ zone      A, AAAA, CNAME, SOA, NS ─┐
//!  Answer ────┼─ srv       SRV, additional A, AAAA ─┼─▶ wire::Writer ─▶ OPT, header
//!  Refusal    ├─ pointers  PTR                      │
//!             └─ special   special names ───────────┘
//! ```
//!
//! What does not fit is left out in this order: additional records, then answers; rotation makes
//! that a different subset each time. TC is set if the zone says so, and always if no answer fits.
//!
//! Imports `records`, `request`, `rotation` and `special` of `dns`, and `catalog`, `forward` and
//! `wire`.
//!
//! Rejected: hickory-proto's `Message`. It takes owned records, which would be allocated for every
//! answer.

mod pointers;
mod special;
mod srv;
mod zone;

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, RecordType},
};

use super::{
    records::{Chased, Cname, Content, Refusal, ZoneRecords},
    request::{Query, Rejected, Request},
};
use crate::{
    catalog::Zone,
    forward::AnswerSummary,
    wire::{
        HEADER_LEN, RequestHeader, Section, TCP_LIMIT, UDP_LIMIT, Writer,
        header::{self, bit},
        opt::{self, OPT_LEN},
        record::POINTER_HEAD,
    },
};

/// The parts of a written response that RRL and metrics need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplySummary {
    pub(super) code: ResponseCode,
    pub(super) truncated: bool,
}

impl From<AnswerSummary> for ReplySummary {
    fn from(summary: AnswerSummary) -> Self {
        Self { code: ResponseCode::from(0, summary.code), truncated: summary.truncated }
    }
}

/// The parts of a response around its records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<'a> {
    /// The client's query.
    pub(super) query: &'a Query<'a>,
    /// muster's own options for the OPT record.
    pub(super) options: &'a [u8],
    /// RA: the client may have queries forwarded. "Set or cleared in a response" by what the server
    /// can do (RFC 1035 section 4.1.1).
    pub(super) recursion_available: bool,
    /// Maximum length of the response, in bytes.
    pub(super) limit: usize,
}

/// Writes an answer from our own data into `out`, replacing its content.
#[inline]
pub(super) fn answer(envelope: &Envelope<'_>, answer: &Content<'_>, out: &mut Vec<u8>) -> ReplySummary {
    let mut writer = envelope.begin(out);
    let (code, authoritative) = content(&mut writer, answer);
    envelope.end(writer, code, authoritative)
}

/// Writes our CNAME and its target's records.
#[cold]
pub(super) fn chase(
    envelope: &Envelope<'_>,
    cname: &Cname<'_>,
    target: &Chased<'_>,
    out: &mut Vec<u8>,
) -> ReplySummary {
    let mut writer = envelope.begin(out);
    zone::cname(&mut writer, cname);
    let code = chased(&mut writer, target, cname);
    envelope.end(writer, code, true)
}

/// Writes our CNAME without its target's records: with TC, or with an error code.
pub(super) fn cname_only(
    envelope: &Envelope<'_>,
    cname: &Cname<'_>,
    written: ReplySummary,
    out: &mut Vec<u8>,
) {
    let mut writer = envelope.begin(out);
    zone::cname(&mut writer, cname);
    writer.truncated |= written.truncated;
    envelope.end(writer, written.code, true);
}

/// Writes a response without records except OPT: a code, and TC if the client should retry over
/// TCP.
pub(super) fn short(
    envelope: &Envelope<'_>,
    (code, truncated): (ResponseCode, bool),
    out: &mut Vec<u8>,
) -> ReplySummary {
    let mut writer = Envelope { limit: usize::from(UDP_LIMIT), ..*envelope }.begin(out);
    writer.truncated = truncated;
    envelope.end(writer, code, false)
}

/// Writes an error.
pub(super) fn refuse(
    request: &Request<'_>,
    envelope: Option<&Envelope<'_>>,
    refusal: Refusal,
    (recursion_available, options): (bool, &[u8]),
    out: &mut Vec<u8>,
) -> ReplySummary {
    let (code, truncated) = refusal.code();
    match (envelope, refusal) {
        (None, _) | (_, Refusal::Malformed | Refusal::OtherOpcode) => {
            bare(&request.rejected(), code, (recursion_available, options), out)
        }
        // The OPT record has our version, 0 (RFC 6891 section 6.1.3). Options mean nothing in this
        // response.
        (Some(envelope), Refusal::Version) => {
            short(&Envelope { options: &[], ..*envelope }, (code, truncated), out)
        }
        (Some(envelope), _) => short(envelope, (code, truncated), out),
    }
}

/// Writes an error to a request that is no valid query: the question if it could be read, and an OPT
/// record if there was one. Without it the error would say that muster does not know EDNS (RFC 6891
/// section 7).
fn bare(
    rejected: &Rejected<'_>,
    code: ResponseCode,
    (recursion_available, options): (bool, &[u8]),
    out: &mut Vec<u8>,
) -> ReplySummary {
    let Rejected { header, question, edns } = *rejected;
    let written = ReplySummary { code, truncated: false };
    out.clear();
    let flags = flags(header, written, false, recursion_available);
    let counts = [question.is_some().into(), 0, 0, edns.is_some().into()];
    out.extend_from_slice(&header::bytes(header.id, flags, counts));
    out.extend_from_slice(question.unwrap_or_default());
    if let Some(dnssec_ok) = edns {
        out.extend_from_slice(&opt::head(code.high(), dnssec_ok, options.len()));
        out.extend_from_slice(options);
    }
    written
}

impl Envelope<'_> {
    #[inline]
    fn begin<'o>(&self, out: &'o mut Vec<u8>) -> Writer<'o> {
        let opt = if self.query.edns.is_some() { OPT_LEN + self.options.len() } else { 0 };
        let question = &self.query.question;
        Writer::new(out, question.wire, question.name.as_bytes().len(), self.limit.saturating_sub(opt))
    }

    #[inline]
    fn end(&self, writer: Writer<'_>, code: ResponseCode, authoritative: bool) -> ReplySummary {
        // After TCP a client has nowhere to go.
        let truncated = writer.truncated && self.limit < TCP_LIMIT;
        let written = ReplySummary { code, truncated };
        let flags = flags(self.query.header, written, authoritative, self.recursion_available);
        // "The DO bit … MUST be copied" (RFC 3225 section 3)
        let opt = self.query.edns.as_ref().map(|edns| (code.high(), edns.opt.dnssec_ok, self.options));
        writer.finish(self.query.header.id, flags, opt);
        written
    }
}

/// The third and fourth byte of a response's header.
#[inline]
pub(super) fn flags(
    header: RequestHeader,
    written: ReplySummary,
    authoritative: bool,
    recursion_available: bool,
) -> [u8; 2] {
    let first = header::RESPONSE
        | header.opcode << 3
        | bit(authoritative, header::AUTHORITATIVE)
        | bit(written.truncated, header::TRUNCATED)
        | bit(header.recursion_desired, header::RECURSION_DESIRED);
    let second = bit(recursion_available, header::RECURSION_AVAILABLE)
        | bit(header.checking_disabled, header::CHECKING_DISABLED)
        | written.code.low();
    [first, second]
}

/// Writes content. Returns the response code, and whether AA is set.
#[inline]
fn content(writer: &mut Writer<'_>, content: &Content<'_>) -> (ResponseCode, bool) {
    match content {
        Content::Zone(zone, records) => (self::records(writer, zone, records), true),
        Content::Special(special) => (special::special(writer, special), true),
        Content::Chaos(text) => {
            chaos(writer, text);
            (ResponseCode::NoError, false)
        }
    }
}

#[inline]
fn records(writer: &mut Writer<'_>, zone: &Zone, records: &ZoneRecords<'_>) -> ResponseCode {
    match *records {
        ZoneRecords::Addresses(service, pool, family, start) => {
            zone::addresses(writer, zone, service, (pool, family, start));
        }
        ZoneRecords::Services(service, records, start) => {
            srv::services(writer, zone, service, records, start)
        }
        ZoneRecords::Instance(instance, family, ttl) => zone::instance(writer, zone, &instance, family, ttl),
        ZoneRecords::Cname(cname) => zone::cname(writer, &cname),
        ZoneRecords::Text(data, ttl) => {
            writer.answer(writer.owner(0), RecordType::TXT.into(), ttl, |w| w.bytes(data));
        }
        ZoneRecords::Pointers(names, ttl) => pointers::pointers(writer, zone, names, ttl),
        ZoneRecords::Browsed(browsed) => pointers::browsed(writer, zone, &browsed),
        ZoneRecords::Soa => zone::soa(writer, zone, Section::Answer),
        ZoneRecords::Ns => zone::ns(writer, zone),
        ZoneRecords::BuiltInNs(address) => zone::address(writer, address, zone.ttl),
        ZoneRecords::NoData => zone::soa(writer, zone, Section::Authority),
        ZoneRecords::NoName => {
            zone::soa(writer, zone, Section::Authority);
            return ResponseCode::NXDomain;
        }
    }
    ResponseCode::NoError
}

/// Writes the target's records after our CNAME. Their response code is the answer's (RFC 6604
/// section 3). If they do not fit, the CNAME stands alone, with TC.
#[cold]
fn chased(writer: &mut Writer<'_>, chased: &Chased<'_>, cname: &Cname<'_>) -> ResponseCode {
    if writer.truncated {
        return ResponseCode::NoError;
    }
    let Chased::Content(target) = chased else { return ResponseCode::ServFail };
    let length = cname.target.as_wire().len();
    let (end, counts) = (writer.position(), writer.counts);
    debug_assert!(end >= HEADER_LEN + POINTER_HEAD + length, "the CNAME's data ends the message so far");
    writer.set_owner(end.saturating_sub(length), length);
    let (code, _) = content(writer, target);
    if writer.truncated {
        writer.roll_back(end, counts);
        return ResponseCode::NoError;
    }
    code
}

fn chaos(writer: &mut Writer<'_>, text: &str) {
    let text = text.as_bytes().get(..text.len().min(255)).unwrap_or_default();
    let head = [writer.owner(0), RecordType::TXT.into(), DNSClass::CH.into()];
    writer.record(Section::Answer, head, 0, |w| {
        w.bytes(&[text.len() as u8]);
        w.bytes(text);
    });
}
