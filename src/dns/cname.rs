//! CNAME chasing to an upstream: its records after a CNAME of ours (RFC 1034 section 5.3.3).
//!
//! Runs on the forwarder's tasks, never on a UDP worker. So hickory-proto may decode the upstream's
//! message and encode the response.

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query as QuestionSection, ResponseCode},
    rr::{Name as HickoryName, RData, Record, RecordType, rdata},
};

use crate::{
    model::Name,
    wire::{HEADER_LEN, WireName, header},
};

/// A CNAME of ours whose target an upstream is queried for.
#[derive(Clone, Debug)]
pub(super) struct PendingCname {
    pub(super) target: Name,
    pub(super) ttl: u32,
}

/// The result of joining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// Question, answer and authority sections, after a header in which only the counts are valid.
    Body(Vec<u8>, ResponseCode),
    /// The upstream's answer is unusable: the response is our CNAME with SERVFAIL.
    Failed,
}

/// Adds an upstream's answer for the target to our CNAME: its records, its response code (RFC 6604
/// section 3) and, if it is negative, its SOA.
pub(super) fn join(question: &[u8], cname: &PendingCname, upstream: &[u8]) -> Joined {
    match body(question, cname, upstream) {
        Some((body, code)) => Joined::Body(body, code),
        None => Joined::Failed,
    }
}

fn body(question: &[u8], cname: &PendingCname, upstream: &[u8]) -> Option<(Vec<u8>, ResponseCode)> {
    let chased = Message::from_vec(upstream).ok()?;
    let code = chased.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) || chased.metadata.truncation {
        return None;
    }
    let (name, rest) = WireName::split(question)?;
    let &[type0, type1, _, _] = rest else { return None };
    let owner = HickoryName::from_labels(name.labels()).ok()?;
    let target = HickoryName::from_labels(cname.target.labels()).ok()?;
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.add_query(QuestionSection::query(owner.clone(), u16::from_be_bytes([type0, type1]).into()));
    message.add_answer(Record::from_rdata(owner, cname.ttl, RData::CNAME(rdata::CNAME(target))));
    message.answers.extend(chased.answers);
    if chased.authorities.iter().any(|record| record.record_type() == RecordType::SOA) {
        message.authorities.extend(chased.authorities);
    }
    Some((message.to_vec().ok()?, code))
}

/// Completes a joined body with its header and OPT record.
pub(super) fn finish(body: &mut Vec<u8>, id: [u8; 2], flags: [u8; 2], opt: Option<&[u8]>) {
    let count = |at| crate::wire::u16_at(body, at).unwrap_or(0);
    let counts = [1, count(6), count(8), u16::from(opt.is_some())];
    debug_assert!(body.len() >= HEADER_LEN, "hickory-proto writes a header");
    header::overwrite(body, header::bytes(id, flags, counts));
    body.extend_from_slice(opt.unwrap_or_default());
}
