//! Messages for tests.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, SOA},
    },
};

pub(super) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub(super) fn a(owner: &str, ttl: u32) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A::new(192, 0, 2, 1)))
}

pub(super) fn soa(apex: &str, ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(name(apex), name(apex), 1, 2, 3, 4, minimum);
    Record::from_rdata(name(apex), ttl, RData::SOA(soa))
}

/// A query as stub resolvers send it.
pub(super) fn query(owner: &str, qtype: u16, edns: Option<bool>) -> Vec<u8> {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(owner), RecordType::from(qtype)));
    if let Some(dnssec_ok) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        edns.set_dnssec_ok(dnssec_ok);
        message.edns = Some(edns);
    }
    message.to_vec().unwrap()
}

/// An answer with these flags (the header's bytes 2 and 3), without an OPT record.
pub(super) fn answer(
    owner: &str,
    qtype: u16,
    flags: u16,
    answers: &[Record],
    authority: &[Record],
) -> Vec<u8> {
    let mut message = Message::new(77, MessageType::Response, OpCode::Query);
    message.add_query(Query::query(name(owner), RecordType::from(qtype)));
    for record in answers {
        message.add_answer(record.clone());
    }
    for record in authority {
        message.add_authority(record.clone());
    }
    let mut bytes = message.to_vec().unwrap();
    bytes[2..4].copy_from_slice(&flags.to_be_bytes());
    bytes
}

/// The message with an OPT record at its end.
pub(super) fn with_opt(message: &[u8], extended_code: u8, options: &[u8]) -> Vec<u8> {
    let length = u16::try_from(options.len()).unwrap().to_be_bytes();
    let opt = [0, 0, 41, 0x04, 0xd0, extended_code, 0, 0x80, 0, length[0], length[1]];
    let mut bytes = [message, &opt, options].concat();
    bytes[11] += 1;
    bytes
}
