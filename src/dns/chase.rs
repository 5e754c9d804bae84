//! Aliases: the target's records behind our own, as a resolver answers where they lead out of our zones (RFC 1034 section 5.3.3),
//! and any server where they lead to another name of ours (section 4.3.2, step 3a).
//!
//! Rare, and off the workers' threads where somebody else is asked; so hickory-proto may take both messages apart and write the
//! whole anew.

use arrayvec::ArrayVec;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, RecordType},
};

use super::{
    answer::{Answer, Facts, Records, find},
    encode::{Written, write},
    question::{HEADER, Query, Question},
    rotation::Rotation,
};
use crate::catalog::Lookup;

/// Length of a record whose owner is a pointer, before its data.
const RECORD: usize = 12;

/// A name in wire format.
type Target = ArrayVec<u8, 255>;

/// The target of the alias that our own answer consists of, in wire format, letters lower case; `question` is the length of the
/// question in it.
pub(super) fn target(own: &[u8], question: usize) -> Option<Target> {
    let data = own.get(HEADER + question + RECORD - 2..)?;
    let (length, data) = data.split_first_chunk()?;
    let mut target = Target::new();
    target.try_extend_from_slice(data.get(..usize::from(u16::from_be_bytes(*length)))?).ok()?;
    // Lengths are at most 63, so they are no letters.
    target.make_ascii_lowercase();
    Some(target)
}

/// The question for a name (wire format) and type, in class IN.
pub(super) fn wire_question(name: &[u8], qtype: u16) -> Vec<u8> {
    [name, &qtype.to_be_bytes(), &u16::from(DNSClass::IN).to_be_bytes()].concat()
}

/// Puts the records of an alias' target behind `own`, the written `answer` to `query`, where addresses were asked for and the
/// target is a name of ours; one step, as the target of an instance is no alias where somebody has thought about it. `None`: there
/// is nothing to put there.
#[cold]
pub(super) fn inside(
    query: &Query<'_>,
    answer: &Answer<'_>,
    facts: &Facts<'_>,
    rotation: &mut Rotation,
    limit: usize,
    own: &mut Vec<u8>,
) -> Option<Written> {
    let Answer::Authoritative(_, Records::Alias { target, .. }) = answer else { return None };
    let qtype = RecordType::from(query.question.qtype);
    let lookup = facts.view.lookup(target.as_wire());
    if !matches!(qtype, RecordType::A | RecordType::AAAA) || matches!(lookup, Lookup::External) {
        return None;
    }
    let (name, wire) = (target.as_wire(), wire_question(target.as_wire(), query.question.qtype));
    let question = Question { wire: &wire, name, ..query.question };
    let of_target = Query { header: query.header, question, edns: None };
    let said = find(&of_target.question, lookup, facts, rotation);
    let mut chased = Vec::new();
    let is_cut = write(&of_target, &[], &said, limit.saturating_sub(own.len()), &mut chased).truncated;
    *own = if is_cut { cut(own) } else { join(own, &chased, limit) };
    let flags = own.get(2..4)?;
    Some(Written { code: ResponseCode::from(0, flags.get(1)? & 0x0f), truncated: flags.first()? & 0x02 != 0 })
}

/// Puts what was said of the target behind our own answer: its records, its response code (RFC 6604 section 3), and where it is
/// negative the proof of that. Where that cannot be done, our own answer alone, as a failure; where it is longer than `limit`, as
/// one that was cut.
pub(super) fn join(own: &[u8], chased: &[u8], limit: usize) -> Vec<u8> {
    match whole(own, chased) {
        Some(whole) if whole.len() <= limit => whole,
        Some(_) => cut(own),
        None => changed(own, |flags| flags[1] = flags[1] & 0xf0 | ResponseCode::ServFail.low()),
    }
}

fn whole(own: &[u8], chased: &[u8]) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(own).ok()?;
    let chased = Message::from_vec(chased).ok()?;
    let settles = matches!(chased.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
    if !settles || chased.metadata.truncation {
        return None;
    }
    message.metadata.response_code = chased.metadata.response_code;
    message.answers.extend(chased.answers);
    if chased.authorities.iter().any(|record| record.record_type() == RecordType::SOA) {
        message.authorities.extend(chased.authorities);
    }
    message.to_vec().ok()
}

fn cut(own: &[u8]) -> Vec<u8> {
    changed(own, |flags| flags[0] |= 0x02)
}

/// Our own answer with other flags.
fn changed(own: &[u8], change: impl FnOnce(&mut [u8; 2])) -> Vec<u8> {
    let mut own = own.to_vec();
    if let Some(flags) = own.get_mut(2..4).and_then(|flags| flags.first_chunk_mut()) {
        change(flags);
    }
    own
}
