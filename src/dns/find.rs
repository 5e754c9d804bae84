//! Finding: from a lookup to the records of our own that answer a question.

use std::net::IpAddr;

use hickory_proto::rr::{DNSClass, RecordType};

use super::{
    browse,
    exchange::Context,
    pointers,
    records::{Cname, Content, Family, Refusal, ZoneRecords},
    rotation::{ListOrder, Rotation},
    select_pool::PoolSelector,
    settings::Settings,
    trace::Trace,
};
use crate::{
    catalog::{
        Answers, InstanceAnswer, Lookup, Pool, Position, RecordList, RotatingList, Service, SrvRecord, View,
        Zone,
    },
    model::Network,
    wire::WireName,
};

/// Finds answers in one view, for one client.
pub(super) struct Finder<'f, 'a, T> {
    pub(super) settings: &'a Settings,
    pub(super) view: &'a View<'a>,
    pub(super) context: Context,
    /// The network that a trusted forwarder sent for its client, if any.
    pub(super) on_behalf_of: Option<Network>,
    pub(super) rotation: &'f mut Rotation,
    pub(super) trace: &'f mut T,
}

/// What a question is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuestionKey<'q> {
    pub(super) name: WireName<'q>,
    pub(super) qtype: RecordType,
    pub(super) class: DNSClass,
}

impl<'a, T: Trace> Finder<'_, 'a, T> {
    /// Finds the answer to a question whose name was looked up.
    ///
    /// The lookup holds everything that the answer needs, so an answer never mixes two states.
    ///
    /// # Errors
    /// The error for the client. [`Refusal::NoForwarding`] stands for every external name, because
    /// only the caller knows whether queries are forwarded.
    #[inline]
    pub(super) fn find(
        &mut self,
        asked: QuestionKey<'_>,
        lookup: Lookup<'a>,
    ) -> Result<Content<'a>, Refusal> {
        let QuestionKey { name, qtype, class } = asked;
        match class {
            DNSClass::IN => {}
            DNSClass::CH => return chaos(name, qtype, self.settings.version.as_deref()),
            _ => return Err(Refusal::Unsupported),
        }
        // Zones are not transferred: their data changes all the time and is private.
        if matches!(qtype, RecordType::AXFR | RecordType::IXFR) {
            return Err(Refusal::Unsupported);
        }
        let (zone, records) = match lookup {
            Lookup::Service(service, at) => {
                debug_assert!(at < name.as_bytes().len(), "the service's name ends the question's");
                let below = name.as_bytes().get(..at).unwrap_or_default();
                (&*service.zone, self.in_service(service, below, qtype).ok_or(Refusal::NotSynced)?)
            }
            Lookup::Apex(zone) if qtype == RecordType::PTR => {
                (zone, pointers::at_apex(zone, name, self.view))
            }
            Lookup::Apex(zone) if qtype == RecordType::DS => {
                (self.parent_zone(name).unwrap_or(zone), ZoneRecords::NoData)
            }
            Lookup::Apex(zone) => (zone, at_apex(qtype)),
            Lookup::Address(zone, names) => (zone, pointers::at_address(zone, names.as_slice(), qtype)),
            Lookup::Browse(zone, name) => (zone, browse::find(zone, name, qtype, self.view, self.rotation)),
            Lookup::EmptyNonTerminal(zone) => (zone, ZoneRecords::NoData),
            // The built-in name server comes from no source, so it does not wait for sources to
            // sync.
            Lookup::NxDomain(zone) | Lookup::NotSynced(zone) if is_built_in_ns(zone, name) => {
                (zone, built_in_ns(qtype, self.context.local_addr))
            }
            Lookup::NxDomain(zone) => (zone, ZoneRecords::NoName),
            Lookup::NotSynced(_) => return Err(Refusal::NotSynced),
            Lookup::External => {
                let special = self.settings.specials.load().find(name, qtype);
                return special.map(Content::Special).ok_or(Refusal::NoForwarding);
            }
        };
        Ok(Content::Zone(zone, records))
    }

    /// The zone that an apex would be delegated from, if it is one of ours: it answers DS (RFC 4035
    /// section 3.1.4.1).
    #[cold]
    fn parent_zone(&self, apex: WireName<'_>) -> Option<&'a Zone> {
        match self.view.lookup(apex.parent()?) {
            Lookup::Service(service, _) => Some(&service.zone),
            Lookup::Apex(zone)
            | Lookup::Address(zone, _)
            | Lookup::Browse(zone, _)
            | Lookup::EmptyNonTerminal(zone)
            | Lookup::NxDomain(zone)
            | Lookup::NotSynced(zone) => Some(zone),
            Lookup::External => None,
        }
    }

    /// Finds the records of a service, or of a name below it: `below` is the labels in front of the
    /// service's name.
    ///
    /// `None` if the answer is unknown, because a source that may have it has never synced.
    #[inline]
    fn in_service(
        &mut self,
        service: &'a Service,
        below: &[u8],
        qtype: RecordType,
    ) -> Option<ZoneRecords<'a>> {
        match service.position(below) {
            Position::Itself => self.at_service(service, qtype),
            Position::Instance(instance) if qtype == RecordType::TXT => {
                Some(text_at_instance(service, instance))
            }
            Position::Instance(instance) => Some(at_instance(instance, qtype, service.ttl)),
            Position::Port(port) if matches!(qtype, RecordType::SRV | RecordType::ANY) => {
                let list = RecordList::NamedPort(port);
                let pool = self.select(service, list);
                let records = pool.and_then(|pool| self.list(service, pool, list));
                records.or_else(|| no_data(service, pool))
            }
            Position::Port(_) | Position::AbovePort => Some(ZoneRecords::NoData),
            Position::Nowhere => service.all_synced.then_some(ZoneRecords::NoName),
        }
    }

    #[inline]
    fn at_service(&mut self, service: &'a Service, qtype: RecordType) -> Option<ZoneRecords<'a>> {
        if let Answers::Alias(target) = &service.answers {
            return Some(ZoneRecords::Cname(Cname { target, ttl: service.ttl }));
        }
        let pool = RecordList::of_type(qtype).and_then(|list| self.select(service, list));
        let records = pool.and_then(|pool| match qtype {
            RecordType::CNAME => self.cname(service, pool),
            // "select one or a subset of the available RRsets at the QNAME" (RFC 8482 section 4.1)
            RecordType::ANY => RecordList::ANY.into_iter().find_map(|list| self.list(service, pool, list)),
            _ => RecordList::of_type(qtype).and_then(|list| self.list(service, pool, list)),
        });
        records.or_else(|| no_data(service, pool))
    }

    /// The records of one list. `None` if it is empty.
    #[inline]
    fn list(
        &mut self,
        service: &'a Service,
        pool: &'a Pool,
        list: RecordList<usize>,
    ) -> Option<ZoneRecords<'a>> {
        match list {
            RecordList::V4 => self.addresses(service, pool, Family::V4),
            RecordList::V6 => self.addresses(service, pool, Family::V6),
            RecordList::Srv => self.srv(service, &pool.srv),
            RecordList::NamedPort(port) => {
                debug_assert!(port < pool.ports.len(), "every pool has a list for each named port");
                self.srv(service, pool.ports.get(port)?)
            }
        }
    }

    #[inline]
    fn select(&mut self, service: &'a Service, list: RecordList<usize>) -> Option<&'a Pool> {
        let network = self.on_behalf_of.unwrap_or_else(|| Network::from(self.context.client));
        PoolSelector { view: self.view, network, rotation: self.rotation, trace: self.trace }
            .select(service, list)
    }

    /// The addresses of one family. Instances with a host name take their turns as a CNAME, which
    /// must be the only record (RFC 1034 section 3.6.2).
    #[inline]
    fn addresses(&mut self, service: &'a Service, pool: &'a Pool, family: Family) -> Option<ZoneRecords<'a>> {
        let (count, start) = match family {
            Family::V4 => (pool.v4.records.len(), self.next_order(service, &pool.v4, pool.hosts.len())?),
            Family::V6 => (pool.v6.records.len(), self.next_order(service, &pool.v6, pool.hosts.len())?),
        };
        if pool.hosts.is_empty() {
            return Some(ZoneRecords::Addresses(service, pool, family, start));
        }
        let places = count + pool.hosts.len();
        let place = match start {
            ListOrder::Rotated(place)
            | ListOrder::Weighted { first: place, .. }
            | ListOrder::Shuffled { start: place, .. } => place,
        };
        let host = place.checked_rem(places)?.checked_sub(count).and_then(|at| pool.hosts.get(at));
        if let Some(target) = host {
            return Some(ZoneRecords::Cname(Cname { target, ttl: service.ttl }));
        }
        // The order was drawn for a list that includes the host names.
        let start =
            if let ListOrder::Shuffled { start, .. } = start { ListOrder::Rotated(start) } else { start };
        let start = if let ListOrder::Rotated(place) = start {
            ListOrder::Rotated(place.checked_rem(places)?)
        } else {
            start
        };
        Some(ZoneRecords::Addresses(service, pool, family, start))
    }

    fn cname(&mut self, service: &'a Service, pool: &'a Pool) -> Option<ZoneRecords<'a>> {
        let hosts = pool.hosts.len();
        let turn = (hosts > 0).then(|| self.rotation.turn(pool.v4.rotation))?;
        let target = pool.hosts.get(turn.checked_rem(hosts)?)?;
        Some(ZoneRecords::Cname(Cname { target, ttl: service.ttl }))
    }

    #[inline]
    fn srv(&mut self, service: &'a Service, list: &'a RotatingList<SrvRecord>) -> Option<ZoneRecords<'a>> {
        Some(ZoneRecords::Services(service, &list.records, self.next_order(service, list, 0)?))
    }

    /// Draws the order of a list that `extra` more entries follow. `None` if there are no entries.
    fn next_order<R>(
        &mut self,
        service: &Service,
        list: &RotatingList<R>,
        extra: usize,
    ) -> Option<ListOrder> {
        let count = list.records.len() + extra;
        if count == 0 {
            return None;
        }
        if service.random {
            return Some(self.rotation.shuffle(count));
        }
        Some(match &list.shares {
            None => ListOrder::Rotated(self.rotation.turn(list.rotation)),
            Some(shares) => {
                let turn = self.rotation.turn_in_round(list.rotation, shares.total());
                ListOrder::Weighted { first: shares.pick(turn), from: turn as usize }
            }
        })
    }
}

fn chaos<'a>(
    name: WireName<'_>,
    qtype: RecordType,
    version: Option<&'a str>,
) -> Result<Content<'a>, Refusal> {
    let asks_version = matches!(name.as_bytes(), b"\x07version\x04bind\x00" | b"\x07version\x06server\x00");
    match version {
        Some(text) if asks_version && matches!(qtype, RecordType::TXT | RecordType::ANY) => {
            Ok(Content::Chaos(text))
        }
        _ => Err(Refusal::Unsupported),
    }
}

fn at_apex(qtype: RecordType) -> ZoneRecords<'static> {
    match qtype {
        RecordType::SOA | RecordType::ANY => ZoneRecords::Soa,
        RecordType::NS => ZoneRecords::Ns,
        _ => ZoneRecords::NoData,
    }
}

/// Whether a name is that of the zone's built-in name server.
pub(super) fn is_built_in_ns(zone: &Zone, name: WireName<'_>) -> bool {
    zone.built_in_ns && zone.ns.first().is_some_and(|ns| ns.wire() == name)
}

fn built_in_ns(qtype: RecordType, local_addr: Option<IpAddr>) -> ZoneRecords<'static> {
    match (qtype, local_addr) {
        (RecordType::A | RecordType::ANY, Some(address @ IpAddr::V4(_)))
        | (RecordType::AAAA | RecordType::ANY, Some(address @ IpAddr::V6(_))) => {
            ZoneRecords::BuiltInNs(address)
        }
        _ => ZoneRecords::NoData,
    }
}

/// NODATA, if it is certain: the client's pool has other records, or every member has synced and
/// there are none. `None` if it is not.
fn no_data<'a>(service: &Service, pool: Option<&Pool>) -> Option<ZoneRecords<'a>> {
    let has_any = pool.map_or_else(|| service.has_eligible(), Pool::has_any);
    (service.all_synced || has_any).then_some(ZoneRecords::NoData)
}

fn at_instance(instance: InstanceAnswer<'_>, qtype: RecordType, ttl: u32) -> ZoneRecords<'_> {
    if let Some(target) = instance.host {
        return ZoneRecords::Cname(Cname { target, ttl });
    }
    let family = match qtype {
        RecordType::A | RecordType::ANY if !instance.v4.is_empty() => Family::V4,
        RecordType::AAAA | RecordType::ANY if !instance.v6.is_empty() => Family::V6,
        _ => return ZoneRecords::NoData,
    };
    ZoneRecords::Instance(instance, family, ttl)
}

#[cold]
fn text_at_instance<'a>(service: &'a Service, instance: InstanceAnswer<'a>) -> ZoneRecords<'a> {
    match (instance.host, service.instances.txt(instance.label)) {
        (Some(target), _) => ZoneRecords::Cname(Cname { target, ttl: service.ttl }),
        (None, Some(text)) => ZoneRecords::Text(text, service.ttl),
        (None, None) => ZoneRecords::NoData,
    }
}
