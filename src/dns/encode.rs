//! Writing answers within the client's limit.
//!
//! What does not fit is left out in this order: additional records, then answers (the rotation makes the subset another one
//! each time). TC is set where the zone says so, and wherever nothing at all was left.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, RecordType},
};

use super::{
    answer::{Answer, Family, Records},
    question::{Edns, HEADER, Header, Query, Question},
    rotation::{Start, arranged},
};
use crate::{
    catalog::{InstanceAnswer, Pool, Service, Zone},
    model::Name,
};

/// Largest UDP answer that is sent or announced: fits an unfragmented packet (DNS flag day 2020).
pub(super) const UDP_LIMIT: u16 = 1232;

/// Length of the OPT record in answers without its options.
const OPT: usize = 11;

/// Length of a record before its data, its owner being a compression pointer.
pub(super) const RECORD: usize = 12;

/// A pointer to the question's name.
pub(super) const QUESTION_NAME: u16 = 0xc000 | HEADER as u16;

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) code: ResponseCode,
    pub(super) truncated: bool,
}

/// Writes an error without a question, for requests whose question was not read.
pub(super) fn write_bare(header: Header, code: ResponseCode, out: &mut Vec<u8>) -> Written {
    out.clear();
    let flags = Flags { authoritative: false, truncated: false };
    write_header(out, header, flags, code, [0; 4]);
    Written { code, truncated: false }
}

/// Writes the answer to a question into `out`, at most `limit` bytes; `options` are those of its OPT record.
pub(super) fn write(
    query: &Query<'_>,
    options: &[u8],
    answer: &Answer<'_>,
    limit: usize,
    out: &mut Vec<u8>,
) -> Written {
    let opt = query.edns.as_ref().map_or(0, |_| OPT + options.len());
    let mut writer = Writer::new(out, &query.question, limit.saturating_sub(opt));
    let mut authoritative = false;
    let code = match answer {
        Answer::Refused => ResponseCode::Refused,
        Answer::ServerFailure => ResponseCode::ServFail,
        Answer::Chaos(text) => {
            writer.chaos(text);
            ResponseCode::NoError
        }
        Answer::Authoritative(zone, records) => {
            authoritative = true;
            writer.records(zone, records)
        }
        Answer::Special(special) => {
            authoritative = true;
            writer.special(special)
        }
    };
    let Writer { truncated, answers, authority, additional, .. } = writer;
    let additional = additional + u16::from(query.edns.is_some());
    if let Some(edns) = &query.edns {
        write_opt(out, edns, options, code);
    }
    write_header(
        out,
        query.header,
        Flags { authoritative, truncated },
        code,
        [1, answers, authority, additional],
    );
    Written { code, truncated }
}

/// Writes BADVERS (RFC 6891 section 6.1.3): the question and an OPT record with our version, 0.
pub(super) fn write_bad_version(query: &Query<'_>, out: &mut Vec<u8>) -> Written {
    write_short(query, &[], (ResponseCode::BADVERS, false), out)
}

/// Writes an answer that has nothing but `code`, TC if the client is to come back over TCP, and the OPT record.
pub(super) fn write_short(
    query: &Query<'_>,
    options: &[u8],
    (code, truncated): (ResponseCode, bool),
    out: &mut Vec<u8>,
) -> Written {
    Writer::new(out, &query.question, usize::from(UDP_LIMIT));
    if let Some(edns) = &query.edns {
        write_opt(out, edns, options, code);
    }
    let counts = [1, 0, 0, u16::from(query.edns.is_some())];
    write_header(out, query.header, Flags { authoritative: false, truncated }, code, counts);
    Written { code, truncated }
}

#[derive(Clone, Copy)]
struct Flags {
    authoritative: bool,
    truncated: bool,
}

/// Writes the header over the first bytes of `out`. RA stays clear: whoever forwards sets it.
fn write_header(out: &mut Vec<u8>, header: Header, flags: Flags, code: ResponseCode, counts: [u16; 4]) {
    let bit = |set: bool, mask: u8| if set { mask } else { 0 };
    let first = 0x80
        | header.opcode << 3
        | bit(flags.authoritative, 0x04)
        | bit(flags.truncated, 0x02)
        | bit(header.recursion_desired, 0x01);
    let second = bit(header.checking_disabled, 0x10) | code.low();
    let [questions, answers, authority, additional] = counts.map(u16::to_be_bytes);
    let bytes: [u8; HEADER] = [
        header.id[0],
        header.id[1],
        first,
        second,
        questions[0],
        questions[1],
        answers[0],
        answers[1],
        authority[0],
        authority[1],
        additional[0],
        additional[1],
    ];
    match out.first_chunk_mut() {
        Some(place) => *place = bytes,
        None => out.extend_from_slice(&bytes),
    }
}

fn write_opt(out: &mut Vec<u8>, edns: &Edns, options: &[u8], code: ResponseCode) {
    let [size0, size1] = UDP_LIMIT.to_be_bytes();
    let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 }; // "MUST be copied" (RFC 3225 section 3)
    let [length0, length1] = count_of(options.len()).to_be_bytes();
    out.extend_from_slice(&[0, 0, 41, size0, size1, code.high(), 0, dnssec_ok, 0, length0, length1]);
    out.extend_from_slice(options);
}

/// Writes sections behind a question; counts what it wrote.
pub(super) struct Writer<'o> {
    pub(super) out: &'o mut Vec<u8>,
    /// Where the answer must end, without the OPT record.
    limit: usize,
    /// Length of the question's name.
    pub(super) name_length: usize,
    pub(super) truncated: bool,
    pub(super) answers: u16,
    pub(super) authority: u16,
    pub(super) additional: u16,
}

impl<'o> Writer<'o> {
    fn new(out: &'o mut Vec<u8>, question: &Question<'_>, limit: usize) -> Self {
        out.clear();
        out.extend_from_slice(&[0; HEADER]);
        out.extend_from_slice(question.wire);
        let name_length = question.name.len();
        Self { out, limit, name_length, truncated: false, answers: 0, authority: 0, additional: 0 }
    }

    fn records(&mut self, zone: &Zone, records: &Records<'_>) -> ResponseCode {
        match *records {
            Records::Addresses(service, pool, family, start) => {
                self.addresses(zone, service, pool, family, start);
            }
            Records::Services(service, records, start) => self.services(zone, service, records, start),
            Records::Instance(instance, family, ttl) => self.instance(zone, &instance, family, ttl),
            Records::Alias { target, ttl } => {
                self.answer(QUESTION_NAME, RecordType::CNAME, ttl, |w| w.out.extend(target.as_wire()));
            }
            Records::Text(data, ttl) => {
                self.answer(QUESTION_NAME, RecordType::TXT, ttl, |w| w.out.extend_from_slice(data));
            }
            Records::Pointers(names, ttl) => self.pointers(zone, names, ttl),
            Records::Browsed(browsed) => self.browsed(zone, &browsed),
            Records::Soa => {
                self.answers += self.soa(zone, zone.ttl);
            }
            Records::Ns => {
                let apex = self.apex_pointer(zone);
                for ns in &zone.ns {
                    self.answer(apex, RecordType::NS, zone.ttl, |w| w.name_in_zone(zone, ns));
                }
            }
            Records::BuiltInNs(address) => self.address(address, zone.ttl),
            Records::NoData => self.negative(zone),
            Records::NoName => {
                self.negative(zone);
                return ResponseCode::NXDomain;
            }
        }
        ResponseCode::NoError
    }

    /// The SOA in the authority section, with the negative TTL (RFC 2308 section 3).
    pub(super) fn negative(&mut self, zone: &Zone) {
        self.authority += self.soa(zone, zone.negative_ttl);
    }

    fn addresses(&mut self, zone: &Zone, service: &Service, pool: &Pool, family: Family, start: Start) {
        let most = usize::from(service.max_answers);
        match family {
            Family::V4 => self.v4_answers(zone, &pool.v4.records, start, most, service.ttl),
            Family::V6 => self.v6_answers(zone, &pool.v6.records, start, most, service.ttl),
        }
    }

    fn instance(&mut self, zone: &Zone, instance: &InstanceAnswer<'_>, family: Family, ttl: u32) {
        match family {
            Family::V4 => self.v4_answers(zone, instance.v4, Start::Turn(0), usize::MAX, ttl),
            Family::V6 => self.v6_answers(zone, instance.v6, Start::Turn(0), usize::MAX, ttl),
        }
    }

    fn v4_answers(&mut self, zone: &Zone, list: &[Ipv4Addr], start: Start, most: usize, ttl: u32) {
        let count = self.fitting(zone, list.len().min(most), RECORD + 4);
        let head = record_head(QUESTION_NAME, RecordType::A, DNSClass::IN, ttl, 4);
        for (room, address) in self.rooms(count).iter_mut().zip(arranged(list, start, count)) {
            *room = v4_record(head, *address);
        }
        self.answers += count_of(count);
    }

    fn v6_answers(&mut self, zone: &Zone, list: &[Ipv6Addr], start: Start, most: usize, ttl: u32) {
        let count = self.fitting(zone, list.len().min(most), RECORD + 16);
        let head = record_head(QUESTION_NAME, RecordType::AAAA, DNSClass::IN, ttl, 16);
        for (room, address) in self.rooms(count).iter_mut().zip(arranged(list, start, count)) {
            *room = v6_record(head, *address);
        }
        self.answers += count_of(count);
    }

    /// Makes room for `count` records of one size at once: looking for it before each costs more than writing it.
    fn rooms<const SIZE: usize>(&mut self, count: usize) -> &mut [[u8; SIZE]] {
        let at = self.out.len();
        self.out.resize(at + count * SIZE, 0);
        self.out.get_mut(at..).unwrap_or_default().as_chunks_mut().0
    }

    /// How many of `wanted` address records fit.
    fn fitting(&mut self, zone: &Zone, wanted: usize, size: usize) -> usize {
        let fitting = wanted.min(self.room() / size);
        self.truncated = fitting < wanted && (zone.truncate.addresses || fitting == 0);
        fitting
    }

    /// Writes the SOA record at the apex (RFC 1035 section 3.3.13). Nobody transfers this zone: the times are formal.
    fn soa(&mut self, zone: &Zone, ttl: u32) -> u16 {
        const REFRESH: u32 = 3600;
        const RETRY: u32 = 600;
        const EXPIRE: u32 = 86400;
        let apex = self.apex_pointer(zone);
        let written = self.record(apex, RecordType::SOA, DNSClass::IN, ttl, |w| {
            w.name_in_zone(zone, zone.ns.first().unwrap_or(&zone.apex));
            w.name_in_zone(zone, &zone.hostmaster);
            for field in [zone.serial, REFRESH, RETRY, EXPIRE, zone.negative_ttl] {
                w.out.extend_from_slice(&field.to_be_bytes());
            }
        });
        u16::from(written)
    }

    fn chaos(&mut self, text: &str) {
        let text = text.as_bytes().get(..text.len().min(255)).unwrap_or_default();
        let written = self.record(QUESTION_NAME, RecordType::TXT, DNSClass::CH, 0, |w| {
            w.out.extend(u8::try_from(text.len()));
            w.out.extend_from_slice(text);
        });
        self.answers += u16::from(written);
    }

    pub(super) fn address(&mut self, address: IpAddr, ttl: u32) {
        match address {
            IpAddr::V4(v4) => {
                self.answer(QUESTION_NAME, RecordType::A, ttl, |w| w.out.extend_from_slice(&v4.octets()));
            }
            IpAddr::V6(v6) => {
                self.answer(QUESTION_NAME, RecordType::AAAA, ttl, |w| w.out.extend_from_slice(&v6.octets()));
            }
        }
    }

    /// Writes a record into the answer section, if it fits.
    pub(super) fn answer(&mut self, owner: u16, rtype: RecordType, ttl: u32, data: impl FnOnce(&mut Self)) {
        let written = self.record(owner, rtype, DNSClass::IN, ttl, data);
        self.answers += u16::from(written);
    }

    /// Writes a record whose length is known only when it is written; one that does not fit is taken back, and TC set.
    pub(super) fn record(
        &mut self,
        owner: u16,
        rtype: RecordType,
        class: DNSClass,
        ttl: u32,
        data: impl FnOnce(&mut Self),
    ) -> bool {
        let start = self.out.len();
        self.out.extend_from_slice(&record_head(owner, rtype, class, ttl, 0));
        data(self);
        if self.out.len() > self.limit {
            self.out.truncate(start);
            self.truncated = true;
            return false;
        }
        let length = count_of(self.out.len() - start - RECORD).to_be_bytes();
        if let Some(place) = self.out.get_mut(start + RECORD - 2..start + RECORD) {
            place.copy_from_slice(&length);
        }
        true
    }

    /// Writes a name, its end as a pointer to the apex in the question where it is below it.
    pub(super) fn name_in_zone(&mut self, zone: &Zone, name: &Name) {
        match name.below(&zone.apex) {
            Some(below) => {
                self.out.extend_from_slice(below);
                let apex = self.apex_pointer(zone);
                self.out.extend_from_slice(&apex.to_be_bytes());
            }
            None => self.out.extend_from_slice(name.as_wire()),
        }
    }

    /// A pointer to the apex, which ends the question's name.
    fn apex_pointer(&self, zone: &Zone) -> u16 {
        QUESTION_NAME + count_of(self.name_length.saturating_sub(zone.apex.as_wire().len()))
    }

    /// A pointer into the question's name, `at` bytes behind its beginning.
    pub(super) fn in_question(at: usize) -> u16 {
        QUESTION_NAME + count_of(at)
    }

    /// How many bytes may still be written.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.out.len())
    }
}

/// A record up to its data, which is `length` bytes long.
pub(super) fn record_head(
    owner: u16,
    rtype: RecordType,
    class: DNSClass,
    ttl: u32,
    length: u16,
) -> [u8; RECORD] {
    let [o, t, c] = [owner, u16::from(rtype), u16::from(class)].map(u16::to_be_bytes);
    let ttl = ttl.to_be_bytes();
    let length = length.to_be_bytes();
    [o[0], o[1], t[0], t[1], c[0], c[1], ttl[0], ttl[1], ttl[2], ttl[3], length[0], length[1]]
}

pub(super) fn v4_record(head: [u8; RECORD], address: Ipv4Addr) -> [u8; RECORD + 4] {
    let mut record = [0; RECORD + 4];
    let (start, end) = record.split_at_mut(RECORD);
    start.copy_from_slice(&head);
    end.copy_from_slice(&address.octets());
    record
}

pub(super) fn v6_record(head: [u8; RECORD], address: Ipv6Addr) -> [u8; RECORD + 16] {
    let mut record = [0; RECORD + 16];
    let (start, end) = record.split_at_mut(RECORD);
    start.copy_from_slice(&head);
    end.copy_from_slice(&address.octets());
    record
}

/// A count or length for the wire; what is written here stays below 64 KiB.
pub(super) fn count_of(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
