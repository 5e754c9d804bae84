//! Finding what is to be said: from a look-up to the records that answer a question.

use std::net::IpAddr;

use arc_swap::ArcSwap;
use hickory_proto::rr::{DNSClass, RecordType};

use super::{
    browse::{self, Browsed},
    choose::{Kind, choose},
    pointers,
    question::Question,
    rotation::{Rotation, Start},
    special::{Special, Specials},
};
use crate::{
    catalog::{Answers, InstanceAnswer, Lookup, Pool, RotatingList, Service, SrvRecord, View, Zone},
    model::{Name, Network},
    telemetry::Metrics,
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
    /// A or AAAA records of a service, of one of its pools.
    Addresses(&'a Service, &'a Pool, Family, Start),
    /// SRV records of a service or of one of its named ports.
    Services(&'a Service, &'a [SrvRecord], Start),
    /// A or AAAA records of one instance.
    Instance(InstanceAnswer<'a>, Family, u32),
    /// The TXT data of one instance.
    Text(&'a [u8], u32),
    /// PTR records to these names.
    Pointers(&'a [Name], u32),
    /// PTR records to the instances that a browser finds.
    Browsed(Browsed<'a>),
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

/// What a request is answered with besides what was looked up.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    /// What the name was looked up in.
    pub(super) view: &'a View<'a>,
    /// Where it is counted that a client could not be told from others; `None`: nowhere.
    pub(super) metrics: Option<&'a Metrics>,
    /// Who asks.
    pub(super) client: IpAddr,
    /// For whom, if a trusted forwarder says so.
    pub(super) on_behalf_of: Option<Network>,
    /// What `version.bind` is answered with; `None`: REFUSED.
    pub(super) version: Option<&'a str>,
    /// The address that was asked, where it is known.
    pub(super) asked: Option<IpAddr>,
    /// Names that are answered if no zone has them.
    pub(super) specials: &'a ArcSwap<Specials>,
}

/// Finds the answer to a question whose name was looked up.
///
/// All that the answer needs is within what the look-up found, so it never mixes two states.
pub(super) fn find<'a>(
    question: &Question<'_>,
    lookup: Lookup<'a>,
    facts: &Facts<'a>,
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
            match in_service(service, below, qtype, facts, rotation) {
                Some(records) => Answer::Authoritative(&service.zone, records),
                None => Answer::ServerFailure,
            }
        }
        Lookup::Apex(zone) if qtype == RecordType::PTR => {
            Answer::Authoritative(zone, pointers::at_apex(zone, question.name, facts.view))
        }
        Lookup::Apex(zone) => Answer::Authoritative(zone, at_apex(qtype)),
        Lookup::Address(zone, names) => {
            Answer::Authoritative(zone, pointers::at_address(zone, names.as_slice(), qtype))
        }
        Lookup::Browse(zone, what) => {
            Answer::Authoritative(zone, browse::find(zone, what, qtype, facts.view, rotation))
        }
        Lookup::EmptyNonTerminal(zone) => Answer::Authoritative(zone, Records::NoData),
        // The built-in name server is in no source, so it does not have to be heard.
        Lookup::NxDomain(zone) | Lookup::Unknown(zone) if is_built_in_ns(zone, question.name) => {
            Answer::Authoritative(zone, built_in_ns(qtype, facts.asked))
        }
        Lookup::NxDomain(zone) => Answer::Authoritative(zone, Records::NoName),
        Lookup::Unknown(_) => Answer::ServerFailure,
        Lookup::External => {
            facts.specials.load().find(question.name, qtype).map_or(Answer::Refused, Answer::Special)
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

pub(super) fn is_built_in_ns(zone: &Zone, name: &[u8]) -> bool {
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
    facts: &Facts<'a>,
    rotation: &mut Rotation,
) -> Option<Records<'a>> {
    if below.is_empty() {
        return at_service(service, qtype, facts, rotation);
    }
    if let Some(instance) = service.instances.find(below) {
        return Some(match qtype {
            RecordType::TXT => text_at_instance(service, instance),
            _ => at_instance(instance, qtype, service.ttl),
        });
    }
    if let Some(port) = service.port(below) {
        if !matches!(qtype, RecordType::SRV | RecordType::ANY) {
            return Some(Records::NoData);
        }
        let pool = choose(service, Kind::Port(port), facts, rotation);
        let records = pool.and_then(|pool| srv(service, pool.ports.get(port)?, rotation));
        return records.or_else(|| nothing(service, pool));
    }
    // `_tcp` in `_http._tcp.svc`: nothing is there, but something is below, so the name exists (RFC 8020 section 2).
    if service.ports.iter().any(|labels| labels.ends_with(below)) {
        return Some(Records::NoData);
    }
    service.all_synced.then_some(Records::NoName)
}

fn at_service<'a>(
    service: &'a Service,
    qtype: RecordType,
    facts: &Facts<'a>,
    rotation: &mut Rotation,
) -> Option<Records<'a>> {
    if let Answers::Alias(target) = &service.answers {
        return Some(Records::Alias { target, ttl: service.ttl });
    }
    let kind = match qtype {
        // "select one or a subset of the available RRsets at the QNAME" (RFC 8482 section 4.1)
        RecordType::A | RecordType::CNAME | RecordType::ANY => Some(Kind::V4),
        RecordType::AAAA => Some(Kind::V6),
        RecordType::SRV => Some(Kind::Srv),
        _ => None,
    };
    let pool = kind.and_then(|kind| choose(service, kind, facts, rotation));
    let records = pool.and_then(|pool| match qtype {
        RecordType::A => addresses(service, pool, Family::V4, rotation),
        RecordType::AAAA => addresses(service, pool, Family::V6, rotation),
        RecordType::SRV => srv(service, &pool.srv, rotation),
        RecordType::CNAME => alias(service, pool, rotation),
        _ => addresses(service, pool, Family::V4, rotation)
            .or_else(|| addresses(service, pool, Family::V6, rotation))
            .or_else(|| srv(service, &pool.srv, rotation)),
    });
    records.or_else(|| nothing(service, pool))
}

/// The news that there are no such records, if that is known: what the asker would get is not there, and nobody is left who could
/// have it, or it is there and has none of that type.
fn nothing<'a>(service: &Service, pool: Option<&Pool>) -> Option<Records<'a>> {
    let has_any = pool.map_or_else(|| service.has_eligible(), Pool::has_any);
    (service.all_synced || has_any).then_some(Records::NoData)
}

/// The addresses of one family; instances that have a host name instead take their turn as a CNAME (which, by RFC 1034
/// section 3.6.2, stands alone).
fn addresses<'a>(
    service: &'a Service,
    pool: &'a Pool,
    family: Family,
    rotation: &mut Rotation,
) -> Option<Records<'a>> {
    let (count, start) = match family {
        Family::V4 => (pool.v4.records.len(), start(service, &pool.v4, pool.hosts.len(), rotation)?),
        Family::V6 => (pool.v6.records.len(), start(service, &pool.v6, pool.hosts.len(), rotation)?),
    };
    if !pool.hosts.is_empty() {
        let places = count + pool.hosts.len();
        let place = match start {
            Start::Turn(place) | Start::First { first: place, .. } | Start::Shuffled { start: place, .. } => {
                place
            }
        };
        let host = place.checked_rem(places)?.checked_sub(count).and_then(|at| pool.hosts.get(at));
        if let Some(target) = host {
            return Some(Records::Alias { target, ttl: service.ttl });
        }
        // The step was for a list that the host names are part of.
        let start = if let Start::Shuffled { start, .. } = start { Start::Turn(start) } else { start };
        let start =
            if let Start::Turn(place) = start { Start::Turn(place.checked_rem(places)?) } else { start };
        return Some(Records::Addresses(service, pool, family, start));
    }
    Some(Records::Addresses(service, pool, family, start))
}

fn alias<'a>(service: &'a Service, pool: &'a Pool, rotation: &mut Rotation) -> Option<Records<'a>> {
    let hosts = pool.hosts.len();
    let turn = (hosts > 0).then(|| rotation.turn(pool.v4.rotation))?;
    let target = pool.hosts.get(turn.checked_rem(hosts)?)?;
    Some(Records::Alias { target, ttl: service.ttl })
}

fn srv<'a>(
    service: &'a Service,
    list: &'a RotatingList<SrvRecord>,
    rotation: &mut Rotation,
) -> Option<Records<'a>> {
    Some(Records::Services(service, &list.records, start(service, list, 0, rotation)?))
}

/// Takes a turn of a list and of the `further` places behind it, if there is anything in it.
fn start<T>(
    service: &Service,
    list: &RotatingList<T>,
    further: usize,
    rotation: &mut Rotation,
) -> Option<Start> {
    let count = list.records.len() + further;
    if count == 0 {
        return None;
    }
    if service.random {
        return Some(rotation.shuffle(count));
    }
    Some(match &list.shares {
        None => Start::Turn(rotation.turn(list.rotation)),
        Some(shares) => {
            let turn = rotation.turn_of(list.rotation, shares.total());
            Start::First { first: shares.pick(turn), from: turn as usize }
        }
    })
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

#[cold]
fn text_at_instance<'a>(service: &'a Service, instance: InstanceAnswer<'a>) -> Records<'a> {
    match (instance.host, service.instances.txt(instance.label)) {
        (Some(target), _) => Records::Alias { target, ttl: service.ttl },
        (None, Some(text)) => Records::Text(text, service.ttl),
        (None, None) => Records::NoData,
    }
}
