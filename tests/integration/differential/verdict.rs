//! The verdict: whether the reply is what the oracle expects.

use hickory_proto::{
    op::{Header, Message, MessageType, Query, ResponseCode},
    rr::{
        RData, Record,
        rdata::opt::{EdnsCode, EdnsOption},
    },
    serialize::binary::{BinDecodable, BinDecoder, BinEncodable as _},
};

use super::{
    oracle::{Expected, Reply},
    records::{HEADER, wire},
};

/// The kind of a reply, to count what a run has covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Silence,
    Answer,
    NoData,
    Error(u16),
    Truncated,
    Shortened,
    WithAdditionals,
}

type Verdict<T> = Result<T, String>;

macro_rules! same {
    ($what:expr, $got:expr, $expected:expr) => {
        match ($got, $expected) {
            (got, expected) if got == expected => {}
            (got, expected) => return Err(format!("{}: expected {expected:?}, got {got:?}", $what)),
        }
    };
}

/// Compares a reply with what is expected. `answer` is `None` if no reply came.
pub fn compare(packet: &[u8], expected: &Expected, answer: Option<&[u8]>) -> Verdict<Kind> {
    let reply = match (expected, answer) {
        (Expected::Silence, None) => return Ok(Kind::Silence),
        (Expected::Silence, Some(_)) => return Err("expected silence, got an answer".to_owned()),
        (_, None) => return Err("expected an answer, got silence".to_owned()),
        (Expected::Bare(code), Some(bytes)) => return bare(packet, *code, bytes),
        (Expected::Reply(reply), Some(bytes)) => (reply, bytes),
    };
    let (reply, bytes) = reply;
    let response = decoded(bytes)?;
    flags(packet, &response, bytes)?;
    same!(
        "question, byte for byte",
        bytes.get(HEADER..HEADER + reply.question.len()),
        Some(&reply.question[..])
    );
    same!("number of questions", response.queries.len(), 1);
    same!("code", u16::from(response.metadata.response_code), u16::from(reply.code));
    same!("AA", response.metadata.authoritative, reply.authoritative);
    if bytes.len() > reply.limit {
        return Err(format!("{} bytes where at most {} may be sent", bytes.len(), reply.limit));
    }
    opt(reply, &response)?;
    let left_out = sections(reply, &response, bytes.len())?;
    same!("TC", response.metadata.truncation, left_out && reply.truncate);
    Ok(match u16::from(reply.code) {
        0 if response.metadata.truncation => Kind::Truncated,
        0 if left_out => Kind::Shortened,
        0 if !response.additionals.is_empty() => Kind::WithAdditionals,
        0 if response.answers.is_empty() => Kind::NoData,
        0 => Kind::Answer,
        code => Kind::Error(code),
    })
}

/// Decodes, encodes and decodes once more: nothing may be lost.
fn decoded(bytes: &[u8]) -> Verdict<Message> {
    let message = Message::from_vec(bytes).map_err(|error| format!("hickory cannot read it: {error}"))?;
    let again = message.to_vec().map_err(|error| format!("hickory cannot write it: {error}"))?;
    let again = Message::from_vec(&again).map_err(|error| format!("hickory cannot read its own: {error}"))?;
    same!("the message written by hickory", &again, &message);
    Ok(message)
}

/// Compares the flags that every reply repeats or never has.
fn flags(packet: &[u8], response: &Message, bytes: &[u8]) -> Verdict<()> {
    let request = Header::read(&mut BinDecoder::new(packet)).map_err(|error| error.to_string())?.metadata;
    let got = &response.metadata;
    same!("ID", got.id, request.id);
    same!("QR", got.message_type, MessageType::Response);
    same!("opcode", got.op_code, request.op_code);
    same!("RD", got.recursion_desired, request.recursion_desired);
    same!("CD", got.checking_disabled, request.checking_disabled);
    same!("RA", got.recursion_available, false);
    same!("AD", got.authentic_data, false);
    same!("Z", bytes[3] & 0x40, 0);
    Ok(())
}

fn bare(packet: &[u8], code: ResponseCode, bytes: &[u8]) -> Verdict<Kind> {
    let response = decoded(bytes)?;
    flags(packet, &response, bytes)?;
    if let Ok(request) = Message::from_vec(packet) {
        // A question whose name is compressed cannot be repeated.
        let is_plain = |question: &Query| {
            question
                .to_bytes()
                .is_ok_and(|bytes| packet.get(HEADER..).is_some_and(|rest| rest.starts_with(&bytes)))
        };
        let repeated = match &request.queries[..] {
            [question] if is_plain(question) => &request.queries[..],
            _ => &[],
        };
        same!("question", &response.queries[..], repeated);
        same!("OPT", response.edns.is_some(), request.edns.is_some());
    }
    same!("records", response.answers.len() + response.authorities.len() + response.additionals.len(), 0);
    same!("code", response.metadata.response_code, code);
    same!("AA", response.metadata.authoritative, false);
    same!("TC", response.metadata.truncation, false);
    Ok(Kind::Error(code.into()))
}

fn opt(reply: &Reply, response: &Message) -> Verdict<()> {
    same!("OPT", response.edns.is_some(), reply.edns.is_some());
    if let (Some(edns), Some(dnssec_ok)) = (&response.edns, reply.edns) {
        same!("EDNS version", edns.version(), 0);
        same!("UDP size", edns.max_payload(), 1232);
        same!("DO", edns.flags().dnssec_ok, dnssec_ok);
        same!("EDNS flags", edns.flags().z, 0);
        same!("EDNS options", edns.options().as_ref().len(), usize::from(reply.cookie.is_some()));
        if let Some(client) = &reply.cookie {
            let Some(EdnsOption::Unknown(_, cookie)) = edns.option(EdnsCode::Cookie) else {
                return Err(format!("expected a cookie, got {edns:?}"));
            };
            same!("the client's half of the cookie", &cookie[..8], &client[..]);
            same!("length of the cookie", cookie.len(), 24);
        }
    }
    Ok(())
}

/// Compares the sections. Returns whether the answer or authority section lacks records.
fn sections(reply: &Reply, response: &Message, length: usize) -> Verdict<bool> {
    let cookie = if reply.cookie.is_some() { 28 } else { 0 };
    let opt = if reply.edns.is_some() { 11 + cookie } else { 0 };
    let room = reply.limit - HEADER - reply.question.len() - opt;
    let answers = part("answer", &reply.answers, &response.answers, room)?;
    let authority = part("authority", &reply.authority, &response.authorities, room)?;
    if answers || authority {
        same!("additionals of an answer that does not fit", response.additionals.len(), 0);
        return Ok(true);
    }
    let mut rest = response.additionals.as_slice();
    for target in &reply.additional {
        let (this, others) = rest.split_at(target.len().min(rest.len()));
        if same_records(target, this) {
            rest = others;
        } else if length + target.iter().map(size).sum::<usize>() <= reply.limit {
            return Err(format!(
                "additionals that fit are missing: {target:?}, got {:?}",
                response.additionals
            ));
        }
    }
    same!("additionals that nothing in the answer points to, or twice", rest.len(), 0);
    Ok(false)
}

/// Compares a section with the beginning of a list. Returns whether the list goes on.
fn part(section: &str, expected: &[Record], got: &[Record], room: usize) -> Verdict<bool> {
    if got.len() > expected.len() || !same_records(&expected[..got.len()], got) {
        return Err(format!("{section} section: expected {expected:#?}, got {got:#?}"));
    }
    let left_out = got.len() < expected.len();
    if left_out && expected[..=got.len()].iter().map(size).sum::<usize>() <= room {
        return Err(format!("{section} section: {} of {}, though one more fits", got.len(), expected.len()));
    }
    Ok(left_out)
}

/// hickory's own comparison ignores the TTL.
fn same_records(expected: &[Record], got: &[Record]) -> bool {
    expected.len() == got.len() && expected.iter().zip(got).all(|(a, b)| a == b && a.ttl == b.ttl)
}

/// Length of a record whose owner is a pointer and whose data is uncompressed, in bytes.
fn size(record: &Record) -> usize {
    12 + match &record.data {
        RData::A(_) => 4,
        RData::AAAA(_) => 16,
        RData::SRV(srv) => 6 + wire(&srv.target).len(),
        RData::CNAME(target) => wire(&target.0).len(),
        // These may be compressed against the question; this is their largest size.
        RData::NS(target) => wire(&target.0).len(),
        RData::SOA(soa) => wire(&soa.mname).len() + wire(&soa.rname).len() + 20,
        _ => 256,
    }
}
