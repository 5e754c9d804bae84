//! Finding what is to be said: from a look-up to the records that answer a question.

use std::net::IpAddr;

use hickory_proto::rr::{DNSClass, RecordType};

use super::{
    question::Question,
    rotation::Rotation,
    special::{Special, Specials},
};
use crate::{
    catalog::{InstanceAnswer, Lookup, PortAnswers, RotationId, Service, Zone},
    model::Name,
};

/// What is to be said to one question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer<'a> {
    /// Records of one of our zones, or the news that there are none.
    Authoritative(&'a Zone, Records<'a>),
    /// What there is at a name that is nobody's on the Internet.
    Special(Special),
    /// A text in class CH.
    Chaos(&'a str),
    /// A source that could have the answer has never been heard.
    ServerFailure,
    /// Nothing that we answer.
    Refused,
}

/// What a zone has at a name, for a type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Records<'a> {
    /// A or AAAA records of a service, from a place in the list on.
    Addresses(&'a Service, Family, usize),
    /// SRV records of a service or of one of its named ports, from a place in the list on.
    Services(&'a Service, &'a PortAnswers, usize),
    /// A or AAAA records of one instance.
    Instance(InstanceAnswer<'a>, Family, u32),
    /// An alias.
    Alias { target: &'a Name, ttl: u32 },
    /// The zone's SOA.
    Soa,
    /// The zone's name servers.
    Ns,
    /// The address of the built-in name server.
    BuiltInNs(IpAddr),
    /// The name exists, but has nothing of that type.
    NoData,
    /// The name does not exist, nor anything below it.
    NoName,
}

/// Which kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// What a request is answered with besides the snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// What `version.bind` is answered with; `None`: REFUSED.
    pub(super) version: Option<&'a str>,
    /// The address that was asked, where it is known.
    pub(super) asked: Option<IpAddr>,
    /// Names that are answered if no zone has them.
    pub(super) specials: &'a Specials,
}

/// Finds the answer to a question whose name was looked up.
///
/// All that the answer needs is within what the look-up found, so it never mixes two states.
pub(super) fn find<'a>(
    question: &Question<'_>,
    lookup: Lookup<'a>,
    facts: Facts<'a>,
    rotation: &mut Rotation,
) -> Answer<'a> {
    let qtype = RecordType::from(question.qtype);
    match DNSClass::from(question.class) {
        DNSClass::IN => {}
        DNSClass::CH => return chaos(question.name, qtype, facts.version),
        _ => return Answer::Refused,
    }
    // Zones are not handed out: what is in them is in motion, and private.
    if matches!(qtype, RecordType::AXFR | RecordType::IXFR) {
        return Answer::Refused;
    }
    match lookup {
        Lookup::Service(service, at) => {
            let below = question.name.get(..at).unwrap_or_default();
            match in_service(service, below, qtype, rotation) {
                Some(records) => Answer::Authoritative(&service.zone, records),
                None => Answer::ServerFailure,
            }
        }
        Lookup::Apex(zone) => Answer::Authoritative(zone, at_apex(qtype)),
        Lookup::EmptyNonTerminal(zone) => Answer::Authoritative(zone, Records::NoData),
        // The built-in name server is in no source, so it does not have to be heard.
        Lookup::Absent(zone) | Lookup::Unknown(zone) if is_built_in_ns(zone, question.name) => {
            Answer::Authoritative(zone, built_in_ns(qtype, facts.asked))
        }
        Lookup::Absent(zone) => Answer::Authoritative(zone, Records::NoName),
        Lookup::Unknown(_) => Answer::ServerFailure,
        Lookup::Elsewhere => {
            facts.specials.find(question.name, qtype).map_or(Answer::Refused, Answer::Special)
        }
    }
}

fn chaos<'a>(name: &[u8], qtype: RecordType, version: Option<&'a str>) -> Answer<'a> {
    let asks_version = name == b"\x07version\x04bind\x00" || name == b"\x07version\x06server\x00";
    match version {
        Some(text) if asks_version && matches!(qtype, RecordType::TXT | RecordType::ANY) => {
            Answer::Chaos(text)
        }
        _ => Answer::Refused,
    }
}

fn at_apex(qtype: RecordType) -> Records<'static> {
    match qtype {
        RecordType::SOA | RecordType::ANY => Records::Soa,
        RecordType::NS => Records::Ns,
        _ => Records::NoData,
    }
}

fn is_built_in_ns(zone: &Zone, name: &[u8]) -> bool {
    zone.built_in_ns && zone.ns.first().is_some_and(|ns| ns.as_wire() == name)
}

fn built_in_ns(qtype: RecordType, asked: Option<IpAddr>) -> Records<'static> {
    match (qtype, asked) {
        (RecordType::A | RecordType::ANY, Some(address @ IpAddr::V4(_)))
        | (RecordType::AAAA | RecordType::ANY, Some(address @ IpAddr::V6(_))) => Records::BuiltInNs(address),
        _ => Records::NoData,
    }
}

/// Finds the records of a service, or of what stands below it: `below` is the labels in front of its name.
///
/// `None`: what is missing may exist at a source that has never been heard.
fn in_service<'a>(
    service: &'a Service,
    below: &[u8],
    qtype: RecordType,
    rotation: &mut Rotation,
) -> Option<Records<'a>> {
    if below.is_empty() {
        return at_service(service, qtype, rotation);
    }
    if let Some(instance) = service.instances.find(below) {
        return Some(at_instance(instance, qtype, service.ttl));
    }
    if let Some(answers) = service.port(below) {
        let asks = matches!(qtype, RecordType::SRV | RecordType::ANY);
        let records = asks.then(|| srv(service, answers, rotation)).flatten();
        return Some(records.unwrap_or(Records::NoData));
    }
    // `_tcp` in `_http._tcp.svc`: nothing is there, but something is below, so the name exists (RFC 8020 section 2).
    if service.ports.iter().any(|port| port.labels.ends_with(below)) {
        return Some(Records::NoData);
    }
    service.complete.then_some(Records::NoName)
}

fn at_service<'a>(service: &'a Service, qtype: RecordType, rotation: &mut Rotation) -> Option<Records<'a>> {
    let records = match qtype {
        RecordType::A => addresses(service, Family::V4, rotation),
        RecordType::AAAA => addresses(service, Family::V6, rotation),
        RecordType::SRV => srv(service, &service.srv, rotation),
        RecordType::CNAME => alias(service, rotation),
        // "select one or a subset of the available RRsets at the QNAME" (RFC 8482 section 4.1)
        RecordType::ANY => addresses(service, Family::V4, rotation)
            .or_else(|| addresses(service, Family::V6, rotation))
            .or_else(|| srv(service, &service.srv, rotation)),
        _ => None,
    };
    match records {
        Some(records) => Some(records),
        None if service.complete || service.has_eligible() => Some(Records::NoData),
        None => None,
    }
}

/// The addresses of one family; instances that have a host name instead take their turn as a CNAME (which, by RFC 1034
/// section 3.6.2, stands alone).
fn addresses<'a>(service: &'a Service, family: Family, rotation: &mut Rotation) -> Option<Records<'a>> {
    let (count, id) = match family {
        Family::V4 => (service.v4.len(), service.v4_rotation),
        Family::V6 => (service.v6.len(), service.v6_rotation),
    };
    if service.hosts.is_empty() {
        let turn = turn_if_any(count, id, rotation)?;
        return Some(Records::Addresses(service, family, turn));
    }
    let places = count + service.hosts.len();
    let place = turn_if_any(places, id, rotation)?.checked_rem(places)?;
    Some(match place.checked_sub(count).and_then(|at| service.hosts.get(at)) {
        Some(target) => Records::Alias { target, ttl: service.ttl },
        None => Records::Addresses(service, family, place),
    })
}

fn alias<'a>(service: &'a Service, rotation: &mut Rotation) -> Option<Records<'a>> {
    let turn = turn_if_any(service.hosts.len(), service.v4_rotation, rotation)?;
    let target = service.hosts.get(turn.checked_rem(service.hosts.len())?)?;
    Some(Records::Alias { target, ttl: service.ttl })
}

fn srv<'a>(service: &'a Service, answers: &'a PortAnswers, rotation: &mut Rotation) -> Option<Records<'a>> {
    let turn = turn_if_any(answers.records.len(), answers.rotation, rotation)?;
    Some(Records::Services(service, answers, turn))
}

/// Takes a turn of a list, if there is anything in it.
fn turn_if_any(count: usize, id: RotationId, rotation: &mut Rotation) -> Option<usize> {
    (count > 0).then(|| rotation.turn(id))
}

fn at_instance(instance: InstanceAnswer<'_>, qtype: RecordType, ttl: u32) -> Records<'_> {
    if let Some(target) = instance.host {
        return Records::Alias { target, ttl };
    }
    let family = match qtype {
        RecordType::A | RecordType::ANY if !instance.v4.is_empty() => Family::V4,
        RecordType::AAAA | RecordType::ANY if !instance.v6.is_empty() => Family::V6,
        _ => return Records::NoData,
    };
    Records::Instance(instance, family, ttl)
}
