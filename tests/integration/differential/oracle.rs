//! The oracle: the right answer to a request, from the plain model and hickory-proto alone.
//!
//! It reads the request with hickory-proto, walks the model's lists, and names the records. It does
//! not know how the server compiles, finds or writes them. Where the server rotates a list, the
//! oracle counts the queries itself.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hickory_proto::{
    op::{Header, Message, MessageType, OpCode, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{
            NS, SOA, TXT,
            opt::{EdnsCode, EdnsOption},
        },
    },
    serialize::binary::{BinDecodable, BinDecoder},
};
use testkit::namespaces::Namespace;

use super::{
    records::{HEADER, a, aaaa, name, split, wire},
    service::{Found, List, View},
};

/// The right reply.
pub enum Expected {
    /// No reply.
    Silence,
    /// An error without records: the request is malformed or has another opcode. It repeats the question
    /// and has an OPT record if the request's could be read.
    Bare(ResponseCode),
    /// The question and the answer to it.
    Reply(Box<Reply>),
}

/// An answer to a well-formed query.
pub struct Reply {
    /// Name, type and class as the request has them.
    pub question: Vec<u8>,
    pub code: ResponseCode,
    pub authoritative: bool,
    /// The DO bit, if there was an OPT record.
    pub edns: Option<bool>,
    /// The client's half of its cookie. The server's half, 16 bytes, follows it.
    pub cookie: Option<Vec<u8>>,
    /// Largest reply, in bytes.
    pub limit: usize,
    /// The reply has as many of them as fit, in this order.
    pub answers: Vec<Record>,
    /// Whether TC is set if `answers` or `authority` do not fit.
    pub truncate: bool,
    pub authority: Vec<Record>,
    /// The addresses of each target in `answers`: the reply has all or none of one target's.
    pub additional: Vec<Vec<Record>>,
}

/// Knows the namespaces, and how often each list was queried.
pub struct Oracle<'n> {
    namespaces: &'n [Namespace],
    version: &'n str,
    serial: u32,
    turns: HashMap<(usize, usize, List), usize>,
}

impl<'n> Oracle<'n> {
    pub fn new(namespaces: &'n [Namespace], version: &'n str, serial: u32) -> Self {
        Self { namespaces, version, serial, turns: HashMap::new() }
    }

    /// The right reply to a packet. `local_addr` is the address that it was sent to, if known.
    pub fn expect(&mut self, packet: &[u8], udp: bool, asked: Option<IpAddr>) -> Expected {
        let Ok(header) = Header::read(&mut BinDecoder::new(packet)) else { return Expected::Silence };
        if header.metadata.message_type == MessageType::Response {
            return Expected::Silence;
        }
        if header.metadata.op_code != OpCode::Query {
            return Expected::Bare(ResponseCode::NotImp);
        }
        let Some((message, question)) = read(packet, header.counts.queries) else {
            return Expected::Bare(ResponseCode::FormErr);
        };
        let edns = message.edns.as_ref();
        let limit = match edns {
            _ if !udp => 65_535,
            Some(edns) => usize::from(edns.max_payload().clamp(512, 1232)),
            None => 512,
        };
        let mut reply = Reply {
            question,
            code: ResponseCode::NoError,
            authoritative: false,
            edns: edns.map(|edns| edns.flags().dnssec_ok),
            cookie: None,
            limit,
            answers: Vec::new(),
            truncate: true,
            authority: Vec::new(),
            additional: Vec::new(),
        };
        if edns.is_some_and(|edns| edns.version() != 0) {
            reply.code = ResponseCode::BADVERS;
        } else {
            if let Some(EdnsOption::Unknown(_, cookie)) = edns.and_then(|edns| edns.option(EdnsCode::Cookie))
            {
                // RFC 7873 sections 4 and 5.2.2
                if !matches!(cookie.len(), 8 | 16..=40) {
                    return Expected::Bare(ResponseCode::FormErr);
                }
                reply.cookie = Some(cookie[..8].to_vec());
            }
            self.answer(&message, asked, &mut reply);
        }
        Expected::Reply(Box::new(reply))
    }

    fn answer(&mut self, message: &Message, asked: Option<IpAddr>, reply: &mut Reply) {
        let query = &message.queries[0];
        let (name, qtype) = (query.name(), query.query_type());
        let labels: Vec<Vec<u8>> = name.iter().map(<[u8]>::to_ascii_lowercase).collect();
        if query.query_class() == DNSClass::CH {
            let asks = ["version.bind", "version.server"].iter().any(|text| labels == split(text));
            if asks && matches!(qtype, RecordType::TXT | RecordType::ANY) {
                let text = RData::TXT(TXT::new(vec![self.version.to_owned()]));
                let mut record = Record::from_rdata(name.clone(), 0, text);
                record.dns_class = DNSClass::CH;
                reply.answers.push(record);
            } else {
                reply.code = ResponseCode::Refused;
            }
            return;
        }
        let (namespaces, transfer) = (self.namespaces, matches!(qtype, RecordType::AXFR | RecordType::IXFR));
        let zone = namespaces.iter().enumerate().filter(|(_, zone)| labels.ends_with(&split(&zone.apex)));
        let zone = zone.max_by_key(|(_, zone)| zone.apex.len());
        if query.query_class() != DNSClass::IN || transfer {
            reply.code = ResponseCode::Refused;
            return;
        }
        let Some((place, zone)) = zone else { return elsewhere(name, &labels, qtype, reply) };
        let below = &labels[..labels.len() - split(&zone.apex).len()];
        match self.at(place, zone, below, name, qtype, asked) {
            Found::Records(records, truncate) => (reply.answers, reply.truncate) = (records, truncate),
            Found::Targets(records, additional) => {
                (reply.answers, reply.additional) = (records, additional);
                reply.truncate = zone.truncate_srv;
            }
            Found::NoData => {
                // RFC 4035 section 3.1.4.1: DS of an apex comes from the parent's side
                let above = namespaces.iter().filter(|above| {
                    below.is_empty() && qtype == RecordType::DS && above.apex.len() < zone.apex.len()
                });
                let above = above.filter(|above| labels.ends_with(&split(&above.apex)));
                let zone = above.max_by_key(|above| above.apex.len()).unwrap_or(zone);
                reply.authority.push(self.soa(zone, zone.negative_ttl));
            }
            Found::NoName => {
                reply.code = ResponseCode::NXDomain;
                reply.authority.push(self.soa(zone, zone.negative_ttl));
            }
            Found::Unknown => reply.code = ResponseCode::ServFail,
        }
        reply.authoritative = reply.code != ResponseCode::ServFail;
    }

    /// What the zone has at the labels `below` its apex.
    fn at(
        &mut self,
        place: usize,
        zone: &Namespace,
        below: &[Vec<u8>],
        owner: &Name,
        qtype: RecordType,
        asked: Option<IpAddr>,
    ) -> Found {
        if below.is_empty() {
            return self.at_apex(zone, qtype);
        }
        let services = zone.services.iter().enumerate();
        let service = services.filter(|(_, service)| below.ends_with(&split(&service.name)));
        if let Some((number, service)) = service.max_by_key(|(_, service)| split(&service.name).len()) {
            let above = split(&service.name).len();
            let below = &below[..below.len() - above];
            let mut view = View { zone, service, owner, turns: &mut self.turns, key: (place, number) };
            return if below.is_empty() { view.at_service(qtype) } else { view.below(below, qtype) };
        }
        if zone.services.iter().any(|service| split(&service.name).ends_with(below)) {
            return Found::NoData; // between a service and the apex
        }
        if zone.ns.is_empty() && below == [b"ns"] {
            return match asked {
                Some(IpAddr::V4(address)) if matches!(qtype, RecordType::A | RecordType::ANY) => {
                    Found::Records(vec![a(owner, zone.ttl, address)], true)
                }
                Some(IpAddr::V6(address)) if matches!(qtype, RecordType::AAAA | RecordType::ANY) => {
                    Found::Records(vec![aaaa(owner, zone.ttl, address)], true)
                }
                _ => Found::NoData,
            };
        }
        if zone.unsynced_import { Found::Unknown } else { Found::NoName }
    }

    fn at_apex(&self, zone: &Namespace, qtype: RecordType) -> Found {
        let apex = name(&zone.apex);
        match qtype {
            RecordType::SOA | RecordType::ANY => Found::Records(vec![self.soa(zone, zone.ttl)], true),
            RecordType::NS => {
                let ns = servers(zone).into_iter();
                let ns = ns.map(|ns| Record::from_rdata(apex.clone(), zone.ttl, RData::NS(NS(ns))));
                Found::Records(ns.collect(), true)
            }
            _ => Found::NoData,
        }
    }

    fn soa(&self, zone: &Namespace, ttl: u32) -> Record {
        let hostmaster = zone.hostmaster.clone().unwrap_or_else(|| format!("hostmaster.{}", zone.apex));
        let soa = SOA::new(
            servers(zone).swap_remove(0),
            name(&hostmaster),
            self.serial,
            3600,
            600,
            86400,
            zone.negative_ttl,
        );
        Record::from_rdata(name(&zone.apex), ttl, RData::SOA(soa))
    }
}

/// Answers a name in none of the namespaces: REFUSED, unless it is a special name (RFC 6761).
fn elsewhere(name: &Name, labels: &[Vec<u8>], qtype: RecordType, reply: &mut Reply) {
    let last = labels.last().map(Vec::as_slice);
    if last != Some(b"localhost") && last != Some(b"test") {
        reply.code = ResponseCode::Refused;
        return;
    }
    reply.authoritative = true;
    let zone = name.trim_to(1);
    let nobody = Name::from_ascii("nobody.invalid.").unwrap();
    let soa = |ttl| {
        let soa = SOA::new(zone.clone(), nobody, 1, 3600, 1200, 604_800, 60);
        Record::from_rdata(zone.clone(), ttl, RData::SOA(soa))
    };
    match (last, qtype) {
        (Some(b"test"), _) => {
            reply.code = ResponseCode::NXDomain;
            reply.authority.push(soa(60));
        }
        (_, RecordType::A | RecordType::ANY) => reply.answers.push(a(name, 10_800, Ipv4Addr::LOCALHOST)),
        (_, RecordType::AAAA) => reply.answers.push(aaaa(name, 10_800, Ipv6Addr::LOCALHOST)),
        (_, RecordType::SOA) if labels.len() == 1 => reply.answers.push(soa(10_800)),
        (_, RecordType::NS) if labels.len() == 1 => {
            reply.answers.push(Record::from_rdata(name.clone(), 10_800, RData::NS(NS(zone))));
        }
        _ => reply.authority.push(soa(60)),
    }
}

/// Reads a request with one question, and returns the question's bytes too. `None`: FORMERR.
fn read(packet: &[u8], questions: u16) -> Option<(Message, Vec<u8>)> {
    // Two rules are muster's, not hickory's. The first: exactly one question (RFC 9619), its name
    // in full, since no earlier name exists that a pointer could lead to (RFC 1035 section 4.1.4:
    // "a prior occurrence of the same name").
    if questions != 1 {
        return None;
    }
    let mut decoder = BinDecoder::new(packet).clone(u16::try_from(HEADER).unwrap());
    let name = Name::read(&mut decoder).ok()?;
    let end = decoder.index();
    if end - HEADER != wire(&name).len() {
        return None;
    }
    let question = packet.get(HEADER..end + 4)?.to_vec();
    // The second: records in a query mean nothing, so they are stepped over. The data of an EDNS
    // option is for servers that know the option, and muster knows cookies only.
    let message = Message::from_vec(&with_opt_alone(packet, end + 4)?).ok()?;
    Some((message, question))
}

/// The packet without any record but OPT, whose option codes other than COOKIE become an unknown
/// one. `None`: the bytes behind the question are not records, or not at most one well-formed OPT
/// record in the additional section.
fn with_opt_alone(packet: &[u8], behind: usize) -> Option<Vec<u8>> {
    const LOCAL_USE: [u8; 2] = [0xfd, 0xe9];
    let word = |at: usize| Some(usize::from(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().unwrap())));
    let mut opt = None;
    let mut at = behind;
    for section in 0..3 {
        for _ in 0..word(6 + 2 * section)? {
            let start = at;
            loop {
                let length = *packet.get(at)?;
                match length {
                    0 => break at += 1,
                    1..=63 => at += 1 + usize::from(length),
                    192.. => break at += 2,
                    64..192 => return None,
                }
            }
            let (rtype, end) = (word(at)?, at + 10 + word(at + 8)?);
            let record = packet.get(start..end)?;
            if rtype == 41 && (section != 2 || record[0] != 0 || opt.replace(record.to_vec()).is_some()) {
                return None;
            }
            at = end;
        }
    }
    let mut alone = packet.get(..behind)?.to_vec();
    alone[6..HEADER].copy_from_slice(&[0, 0, 0, 0, 0, u8::from(opt.is_some())]);
    if let Some(mut opt) = opt {
        let mut at = 11;
        while at < opt.len() {
            let code = opt.get_mut(at..at + 2)?;
            if *code != [0, 10] {
                code.copy_from_slice(&LOCAL_USE);
            }
            at += 4 + usize::from(u16::from_be_bytes(opt.get(at + 2..at + 4)?.try_into().unwrap()));
        }
        (at == opt.len()).then_some(())?;
        alone.extend(opt);
    }
    Some(alone)
}

fn servers(zone: &Namespace) -> Vec<Name> {
    match zone.ns.as_slice() {
        [] => vec![name(&format!("ns.{}", zone.apex))],
        ns => ns.iter().map(|ns| name(ns)).collect(),
    }
}
