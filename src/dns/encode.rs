//! Writing answers within the client's limit.
//!
//! What does not fit is left out in this order: additional records, then answers (the rotation makes the subset another one
//! each time). TC is set only where the zone says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, RecordType},
};

use super::{
    answer::{Answer, Family, Records},
    question::{Edns, HEADER, Header, Question},
    rotation::turned,
};
use crate::{
    catalog::{InstanceAnswer, PortAnswers, Service, SrvRecord, SrvTarget, Zone},
    model::Name,
};

/// Largest UDP answer that is sent or announced: fits an unfragmented packet (DNS flag day 2020).
pub(super) const UDP_LIMIT: u16 = 1232;

/// Length of the OPT record in answers, which has no options.
const OPT: usize = 11;

/// Length of a record before its data, its owner being a compression pointer.
const RECORD: usize = 12;

/// A pointer to the question's name.
const QUESTION_NAME: u16 = 0xc000 | HEADER as u16;

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

/// Writes the answer to a question into `out`, at most `limit` bytes.
pub(super) fn write(
    header: Header,
    question: &Question<'_>,
    edns: Option<Edns>,
    answer: &Answer,
    limit: usize,
    out: &mut Vec<u8>,
) -> Written {
    let opt = if edns.is_some() { OPT } else { 0 };
    let mut writer = Writer::new(out, question, limit.saturating_sub(opt));
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
    };
    let Writer { truncated, answers, authority, additional, .. } = writer;
    let additional = additional + u16::from(edns.is_some());
    if let Some(edns) = edns {
        write_opt(out, edns, code);
    }
    write_header(out, header, Flags { authoritative, truncated }, code, [1, answers, authority, additional]);
    Written { code, truncated }
}

/// Writes BADVERS (RFC 6891 section 6.1.3): the question and an OPT record with our version, 0.
pub(super) fn write_bad_version(
    header: Header,
    question: &Question<'_>,
    edns: Edns,
    out: &mut Vec<u8>,
) -> Written {
    Writer::new(out, question, usize::from(UDP_LIMIT));
    let code = ResponseCode::BADVERS;
    write_opt(out, edns, code);
    write_header(out, header, Flags { authoritative: false, truncated: false }, code, [1, 0, 0, 1]);
    Written { code, truncated: false }
}

#[derive(Clone, Copy)]
struct Flags {
    authoritative: bool,
    truncated: bool,
}

/// Writes the header over the first bytes of `out`. RA stays clear: nothing is forwarded.
fn write_header(out: &mut Vec<u8>, header: Header, flags: Flags, code: ResponseCode, counts: [u16; 4]) {
    if out.len() < HEADER {
        out.resize(HEADER, 0);
    }
    let bit = |set: bool, mask: u8| if set { mask } else { 0 };
    let first = 0x80
        | header.opcode << 3
        | bit(flags.authoritative, 0x04)
        | bit(flags.truncated, 0x02)
        | bit(header.recursion_desired, 0x01);
    let second = bit(header.checking_disabled, 0x10) | code.low();
    let bytes = [header.id[0], header.id[1], first, second].into_iter();
    let bytes = bytes.chain(counts.into_iter().flat_map(u16::to_be_bytes));
    for (place, byte) in out.iter_mut().zip(bytes) {
        *place = byte;
    }
}

fn write_opt(out: &mut Vec<u8>, edns: Edns, code: ResponseCode) {
    let [size0, size1] = UDP_LIMIT.to_be_bytes();
    let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 }; // "MUST be copied" (RFC 3225 section 3)
    out.extend_from_slice(&[0, 0, 41, size0, size1, code.high(), 0, dnssec_ok, 0, 0, 0]);
}

/// Writes sections behind a question; counts what it wrote.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Where the answer must end, without the OPT record.
    limit: usize,
    /// Length of the question's name.
    name_length: usize,
    truncated: bool,
    answers: u16,
    authority: u16,
    additional: u16,
}

impl<'o> Writer<'o> {
    fn new(out: &'o mut Vec<u8>, question: &Question<'_>, limit: usize) -> Self {
        out.clear();
        out.resize(HEADER, 0);
        out.extend_from_slice(question.wire);
        Self {
            out,
            limit,
            name_length: question.name.as_wire().len(),
            truncated: false,
            answers: 0,
            authority: 0,
            additional: 0,
        }
    }

    fn records(&mut self, zone: &Zone, records: &Records) -> ResponseCode {
        match records {
            Records::Addresses(service, family, turn) => self.addresses(zone, service, *family, *turn),
            Records::Services(service, key, turn) => {
                if let Some(answers) = key.answers(service) {
                    self.services(zone, service, answers, *turn);
                }
            }
            Records::Instance(instance, family, ttl) => self.instance(instance, *family, *ttl),
            Records::Alias { target, ttl } => {
                self.record(QUESTION_NAME, RecordType::CNAME, *ttl, |w| w.out.extend(target.as_wire()));
                self.answers += 1;
            }
            Records::Soa => {
                self.soa(zone, zone.ttl);
                self.answers += 1;
            }
            Records::Ns => {
                for ns in &zone.ns {
                    let apex = self.apex_pointer(zone);
                    self.record(apex, RecordType::NS, zone.ttl, |w| w.name_in_zone(zone, ns));
                    self.answers += 1;
                }
            }
            Records::BuiltInNs(address) => {
                self.address(QUESTION_NAME, *address, zone.ttl);
                self.answers += 1;
            }
            Records::NoData => {
                self.negative(zone);
            }
            Records::NoName => {
                self.negative(zone);
                return ResponseCode::NXDomain;
            }
        }
        ResponseCode::NoError
    }

    /// The SOA in the authority section, with the negative TTL (RFC 2308 section 3).
    fn negative(&mut self, zone: &Zone) {
        self.soa(zone, zone.negative_ttl);
        self.authority += 1;
    }

    fn addresses(&mut self, zone: &Zone, service: &Service, family: Family, turn: usize) {
        let (count, size) = match family {
            Family::V4 => (service.v4.len(), RECORD + 4),
            Family::V6 => (service.v6.len(), RECORD + 16),
        };
        let wanted = count.min(service.max_answers);
        let fitting = wanted.min(self.room() / size);
        self.truncated = fitting < wanted && zone.truncate.addresses;
        match family {
            Family::V4 => {
                for address in turned(&service.v4, turn, fitting) {
                    self.v4(QUESTION_NAME, *address, service.ttl);
                }
            }
            Family::V6 => {
                for address in turned(&service.v6, turn, fitting) {
                    self.v6(QUESTION_NAME, *address, service.ttl);
                }
            }
        }
        self.answers += count_of(fitting);
    }

    fn instance(&mut self, instance: &InstanceAnswer, family: Family, ttl: u32) {
        match family {
            Family::V4 => {
                for address in instance.v4.iter().take(self.room() / (RECORD + 4)) {
                    self.v4(QUESTION_NAME, *address, ttl);
                    self.answers += 1;
                }
            }
            Family::V6 => {
                for address in instance.v6.iter().take(self.room() / (RECORD + 16)) {
                    self.v6(QUESTION_NAME, *address, ttl);
                    self.answers += 1;
                }
            }
        }
    }

    fn services(&mut self, zone: &Zone, service: &Service, answers: &PortAnswers, turn: usize) {
        let wanted = answers.records.len().min(service.max_answers);
        let records = turned(&answers.records, turn, wanted);
        // Where each written target stands, so that its addresses can point to it.
        let mut targets: Vec<(usize, &InstanceAnswer)> = Vec::with_capacity(wanted);
        let mut fitting = 0;
        for record in records {
            let (name, instance) = match &record.target {
                SrvTarget::Instance(instance) => (&instance.name, Some(instance.as_ref())),
                SrvTarget::Host(host) => (host, None),
            };
            if self.room() < RECORD + 6 + name.as_wire().len() {
                break;
            }
            let at = self.srv(record, name, service.ttl);
            targets.extend(instance.map(|instance| (at, instance)));
            fitting += 1;
        }
        self.answers += count_of(fitting);
        if fitting < wanted {
            self.truncated = zone.truncate.srv;
            return;
        }
        for (at, instance) in targets {
            self.additional_addresses(at, instance, service.ttl);
        }
    }

    /// Adds the addresses of an SRV target if all of them fit; `at` is where its name stands.
    fn additional_addresses(&mut self, at: usize, instance: &InstanceAnswer, ttl: u32) {
        // Beyond what a pointer can reach (RFC 1035 section 4.1.4) the client can ask for itself.
        let Some(owner) = u16::try_from(at).ok().filter(|at| *at < 0x4000) else { return };
        let size = instance.v4.len() * (RECORD + 4) + instance.v6.len() * (RECORD + 16);
        if self.room() < size {
            return;
        }
        for address in &instance.v4 {
            self.v4(0xc000 | owner, *address, ttl);
        }
        for address in &instance.v6 {
            self.v6(0xc000 | owner, *address, ttl);
        }
        self.additional += count_of(instance.v4.len() + instance.v6.len());
    }

    /// Writes an SRV record; returns where its target stands. Targets are not compressed (RFC 2782).
    fn srv(&mut self, record: &SrvRecord, target: &Name, ttl: u32) -> usize {
        self.record(QUESTION_NAME, RecordType::SRV, ttl, |w| {
            for field in [record.priority, record.weight, record.port] {
                w.out.extend(field.to_be_bytes());
            }
            w.out.extend(target.as_wire());
        });
        self.out.len() - target.as_wire().len()
    }

    /// Writes the SOA record at the apex (RFC 1035 section 3.3.13). Nobody transfers this zone: the times are formal.
    fn soa(&mut self, zone: &Zone, ttl: u32) {
        const REFRESH: u32 = 3600;
        const RETRY: u32 = 600;
        const EXPIRE: u32 = 86400;
        let apex = self.apex_pointer(zone);
        self.record(apex, RecordType::SOA, ttl, |w| {
            w.name_in_zone(zone, zone.ns.first().unwrap_or(&zone.apex));
            w.name_in_zone(zone, &zone.hostmaster);
            for field in [zone.serial, REFRESH, RETRY, EXPIRE, zone.negative_ttl] {
                w.out.extend(field.to_be_bytes());
            }
        });
    }

    fn chaos(&mut self, text: &str) {
        let text = text.as_bytes().get(..text.len().min(255)).unwrap_or_default();
        self.class_record(QUESTION_NAME, RecordType::TXT, DNSClass::CH, 0, |w| {
            w.out.extend(u8::try_from(text.len()));
            w.out.extend_from_slice(text);
        });
        self.answers += 1;
    }

    fn address(&mut self, owner: u16, address: IpAddr, ttl: u32) {
        match address {
            IpAddr::V4(address) => self.v4(owner, address, ttl),
            IpAddr::V6(address) => self.v6(owner, address, ttl),
        }
    }

    fn v4(&mut self, owner: u16, address: Ipv4Addr, ttl: u32) {
        self.record(owner, RecordType::A, ttl, |w| w.out.extend(address.octets()));
    }

    fn v6(&mut self, owner: u16, address: Ipv6Addr, ttl: u32) {
        self.record(owner, RecordType::AAAA, ttl, |w| w.out.extend(address.octets()));
    }

    fn record(&mut self, owner: u16, rtype: RecordType, ttl: u32, data: impl FnOnce(&mut Self)) {
        self.class_record(owner, rtype, DNSClass::IN, ttl, data);
    }

    fn class_record(
        &mut self,
        owner: u16,
        rtype: RecordType,
        class: DNSClass,
        ttl: u32,
        data: impl FnOnce(&mut Self),
    ) {
        self.out.extend(owner.to_be_bytes());
        self.out.extend(u16::from(rtype).to_be_bytes());
        self.out.extend(u16::from(class).to_be_bytes());
        self.out.extend(ttl.to_be_bytes());
        let start = self.out.len();
        self.out.extend([0, 0]);
        data(self);
        let length = count_of(self.out.len() - start - 2).to_be_bytes();
        if let Some(place) = self.out.get_mut(start..start + 2) {
            place.copy_from_slice(&length);
        }
    }

    /// Writes a name, its end as a pointer to the apex in the question where it is below it.
    fn name_in_zone(&mut self, zone: &Zone, name: &Name) {
        match name.below(&zone.apex) {
            Some(below) => {
                self.out.extend(below);
                let apex = self.apex_pointer(zone);
                self.out.extend(apex.to_be_bytes());
            }
            None => self.out.extend(name.as_wire()),
        }
    }

    /// A pointer to the apex, which ends the question's name.
    fn apex_pointer(&self, zone: &Zone) -> u16 {
        QUESTION_NAME + count_of(self.name_length.saturating_sub(zone.apex.as_wire().len()))
    }

    /// How many bytes may still be written.
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.out.len())
    }
}

/// A count or length for the wire; what is written here stays below 64 KiB.
fn count_of(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
