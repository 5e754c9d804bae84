//! Finding what is to be said: from a question to the records that answer it.

use std::{net::IpAddr, sync::Arc};

use hickory_proto::rr::{DNSClass, RecordType};

use super::{question::Question, rotation::Rotation};
use crate::{
    catalog::{InstanceAnswer, Lookup, PortAnswers, Service, Snapshot, SrvRecord, Zone},
    model::Name,
};

/// What is to be said to one question.
#[derive(Debug)]
pub(super) enum Answer {
    /// Records of one of our zones, or the news that there are none.
    Authoritative(Arc<Zone>, Records),
    /// A text in class CH.
    Chaos(String),
    /// A source that could have the answer has never been heard.
    ServerFailure,
    /// Nothing that we answer.
    Refused,
}

/// What a zone has at a name, for a type.
#[derive(Debug)]
pub(super) enum Records {
    /// A or AAAA records of a service (which of them, and from where on, is said by `Turn`).
    Addresses(Arc<Service>, Family, Turn),
    /// SRV records of a service or of one of its named ports.
    Services(Arc<Service>, ServiceKey, usize),
    /// A or AAAA records of one instance.
    Instance(Arc<InstanceAnswer>, Family, u32),
    /// An alias.
    Alias { target: Name, ttl: u32 },
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

/// Where in its list an answer begins; the list itself is read when the answer is written.
pub(super) type Turn = usize;

/// Which SRV records of a service.
#[derive(Debug)]
pub(super) enum ServiceKey {
    /// Those at the service's own name.
    Main,
    /// Those at `_port._proto`, as wire labels.
    Port(Box<[u8]>),
}

impl ServiceKey {
    /// The records; `None` if the service has no such port.
    pub(super) fn answers<'s>(&self, service: &'s Service) -> Option<&'s PortAnswers> {
        match self {
            Self::Main => Some(&service.srv),
            Self::Port(labels) => service.ports.get(labels),
        }
    }
}

/// Finds the answer to a question. `asked` is the address that the question came to, where that is known.
///
/// What the answer needs is read from one [`Service`], looked up once: it never mixes two states.
pub(super) fn find(
    snapshot: &Snapshot,
    question: &Question<'_>,
    version: Option<&str>,
    asked: Option<IpAddr>,
    rotation: &mut Rotation,
) -> Answer {
    let name = question.name.as_wire();
    let qtype = RecordType::from(question.qtype);
    match DNSClass::from(question.class) {
        DNSClass::IN => {}
        DNSClass::CH => return chaos(name, qtype, version),
        _ => return Answer::Refused,
    }
    let Some(zone) = snapshot.zone(name) else { return Answer::Refused };
    // Zones are not handed out: what is in them is in motion, and private.
    if matches!(qtype, RecordType::AXFR | RecordType::IXFR) {
        return Answer::Refused;
    }
    let records = if name == zone.apex.as_wire() {
        at_apex(qtype)
    } else {
        match zone.lookup(name) {
            Lookup::Service(service, at) => {
                let Some(records) = in_service(&service, name.get(..at).unwrap_or_default(), qtype, rotation)
                else {
                    return Answer::ServerFailure;
                };
                records
            }
            Lookup::EmptyNonTerminal => Records::NoData,
            // Where the built-in name server is asked for, it is not in any source.
            Lookup::Absent | Lookup::Unknown if is_built_in_ns(zone, name) => built_in_ns(qtype, asked),
            Lookup::Absent => Records::NoName,
            Lookup::Unknown => return Answer::ServerFailure,
        }
    };
    Answer::Authoritative(Arc::clone(zone), records)
}

fn chaos(name: &[u8], qtype: RecordType, version: Option<&str>) -> Answer {
    let asks_version = name == b"\x07version\x04bind\x00" || name == b"\x07version\x06server\x00";
    match version {
        Some(text) if asks_version && matches!(qtype, RecordType::TXT | RecordType::ANY) => {
            Answer::Chaos(text.to_owned())
        }
        _ => Answer::Refused,
    }
}

fn at_apex(qtype: RecordType) -> Records {
    match qtype {
        RecordType::SOA | RecordType::ANY => Records::Soa,
        RecordType::NS => Records::Ns,
        _ => Records::NoData,
    }
}

fn is_built_in_ns(zone: &Zone, name: &[u8]) -> bool {
    zone.built_in_ns && zone.ns.first().is_some_and(|ns| ns.as_wire() == name)
}

fn built_in_ns(qtype: RecordType, asked: Option<IpAddr>) -> Records {
    match (qtype, asked) {
        (RecordType::A | RecordType::ANY, Some(address @ IpAddr::V4(_)))
        | (RecordType::AAAA | RecordType::ANY, Some(address @ IpAddr::V6(_))) => Records::BuiltInNs(address),
        _ => Records::NoData,
    }
}

/// Finds the records of a service, or of what stands below it: `below` is the labels in front of its name.
///
/// `None`: what is missing may exist at a source that has never been heard.
fn in_service(
    service: &Arc<Service>,
    below: &[u8],
    qtype: RecordType,
    rotation: &mut Rotation,
) -> Option<Records> {
    if below.is_empty() {
        return at_service(service, qtype, rotation);
    }
    if let Some(instance) = service.instances.get(below) {
        return Some(at_instance(instance, qtype, service.ttl));
    }
    if let Some(answers) = service.ports.get(below) {
        let asks = matches!(qtype, RecordType::SRV | RecordType::ANY);
        return Some(if asks && !answers.records.is_empty() {
            let turn = rotation.turn(answers.rotation);
            Records::Services(Arc::clone(service), ServiceKey::Port(below.into()), turn)
        } else {
            Records::NoData
        });
    }
    // `_tcp` in `_http._tcp.svc`: "there is nothing here, but there is below" (RFC 8020 section 2)
    if service.ports.keys().any(|labels| labels.ends_with(below)) {
        return Some(Records::NoData);
    }
    service.complete.then_some(Records::NoName)
}

fn at_service(service: &Arc<Service>, qtype: RecordType, rotation: &mut Rotation) -> Option<Records> {
    let records = match qtype {
        RecordType::A => addresses(service, Family::V4, rotation),
        RecordType::AAAA => addresses(service, Family::V6, rotation),
        RecordType::SRV => srv(service, rotation),
        RecordType::CNAME => alias(service, rotation),
        // "select one or a subset of the available RRsets at the QNAME" (RFC 8482 section 4.1)
        RecordType::ANY => addresses(service, Family::V4, rotation)
            .or_else(|| addresses(service, Family::V6, rotation))
            .or_else(|| srv(service, rotation)),
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
fn addresses(service: &Arc<Service>, family: Family, rotation: &mut Rotation) -> Option<Records> {
    let (count, id) = match family {
        Family::V4 => (service.v4.len(), service.v4_rotation),
        Family::V6 => (service.v6.len(), service.v6_rotation),
    };
    let turn = rotation.turn_if(count + service.hosts.len() > 0, id)?;
    if service.hosts.is_empty() {
        return Some(Records::Addresses(Arc::clone(service), family, turn));
    }
    let place = turn.checked_rem(count + service.hosts.len())?;
    match place.checked_sub(count).and_then(|at| service.hosts.get(at)) {
        Some(host) => Some(Records::Alias { target: host.clone(), ttl: service.ttl }),
        None => Some(Records::Addresses(Arc::clone(service), family, place)),
    }
}

fn alias(service: &Service, rotation: &mut Rotation) -> Option<Records> {
    let turn = rotation.turn_if(!service.hosts.is_empty(), service.v4_rotation)?;
    let target = service.hosts.get(turn.checked_rem(service.hosts.len())?)?.clone();
    Some(Records::Alias { target, ttl: service.ttl })
}

fn srv(service: &Arc<Service>, rotation: &mut Rotation) -> Option<Records> {
    let records: &[SrvRecord] = &service.srv.records;
    let turn = rotation.turn_if(!records.is_empty(), service.srv.rotation)?;
    Some(Records::Services(Arc::clone(service), ServiceKey::Main, turn))
}

fn at_instance(instance: &Arc<InstanceAnswer>, qtype: RecordType, ttl: u32) -> Records {
    if let Some(host) = &instance.host {
        return Records::Alias { target: host.clone(), ttl };
    }
    let family = match qtype {
        RecordType::A if !instance.v4.is_empty() => Family::V4,
        RecordType::AAAA if !instance.v6.is_empty() => Family::V6,
        RecordType::ANY if !instance.v4.is_empty() => Family::V4,
        RecordType::ANY if !instance.v6.is_empty() => Family::V6,
        _ => return Records::NoData,
    };
    Records::Instance(Arc::clone(instance), family, ttl)
}
