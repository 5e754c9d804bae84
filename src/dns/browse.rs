//! Browsing (DNS-SD, RFC 6763): what a browser is told.

use hickory_proto::rr::RecordType;

use super::{
    answer::Records,
    encode::Writer,
    rotation::{Rotation, Start, arranged},
};
use crate::{
    catalog::{Browse, BrowsedInstance, Names, Service, View, Zone, browsed_label},
    model::Name,
};

/// Most services that one answer looks into: those without an instance to be answered make it no longer.
const MOST_SERVICES: usize = 10_000;

/// The instances of one kind of services.
#[derive(Clone, Copy, Debug)]
pub(super) struct Browsed<'a> {
    view: &'a View<'a>,
    services: &'a [Name],
    /// `_port._proto` as wire labels.
    port: &'a [u8],
    /// Where the list begins this time.
    turn: usize,
}

/// Finds the records of what a browser asked for.
#[cold]
pub(super) fn find<'a>(
    zone: &'a Zone,
    what: Browse<'a>,
    qtype: RecordType,
    view: &'a View<'a>,
    rotation: &mut Rotation,
) -> Records<'a> {
    let asks_pointers = matches!(qtype, RecordType::PTR | RecordType::ANY);
    match what {
        Browse::Domains if asks_pointers => Records::Pointers(std::slice::from_ref(&zone.apex), zone.ttl),
        Browse::Kinds(kinds) if asks_pointers => Records::Pointers(kinds.as_slice(), zone.ttl),
        Browse::Services(kind) if asks_pointers => {
            let services = view.browsed(kind.as_wire()).map(Names::as_slice).unwrap_or_default();
            let port = kind.below(&zone.apex).unwrap_or_default();
            Records::Browsed(Browsed { view, services, port, turn: rotation.browse() })
        }
        Browse::Instance(service, instance) => at_instance(service, instance, qtype),
        Browse::Domains | Browse::Kinds(_) | Browse::Services(_) => Records::NoData,
    }
}

/// The SRV and TXT records of one instance (RFC 6763 section 5 and 6): SRV while it is answered to anybody, TXT always.
fn at_instance(service: &Service, instance: BrowsedInstance, qtype: RecordType) -> Records<'_> {
    match qtype {
        RecordType::SRV | RecordType::ANY => {
            let lists = service.pools().filter_map(|pool| pool.ports.get(usize::from(instance.port)));
            // The records of one instance stand in a row.
            let mut own = lists.filter_map(|list| {
                list.records.split(|record| record.instance != instance.id).find(|row| !row.is_empty())
            });
            own.next().map_or(Records::NoData, |records| Records::Services(service, records, Start::Turn(0)))
        }
        RecordType::TXT => {
            let known = service.instances.get(instance.id);
            let text = known.and_then(|known| service.instances.txt(known.label));
            // "an empty TXT record ... a single zero byte" where there is nothing to say (section 6.1)
            Records::Text(text.unwrap_or(&[0]), service.ttl)
        }
        _ => Records::NoData,
    }
}

impl Writer<'_> {
    /// Writes as many of the instances as fit.
    #[cold]
    pub(super) fn browsed(&mut self, zone: &Zone, browsed: &Browsed<'_>) {
        let start = Start::Turn(browsed.turn);
        for name in arranged(browsed.services, start, MOST_SERVICES) {
            let service = browsed.view.service(name.as_wire());
            if service.is_some_and(|service| !self.browsed_service(zone, service, browsed)) {
                break;
            }
        }
        if self.answers == 0 && !self.truncated {
            self.negative(zone);
        }
    }

    /// Writes the instances of one service; says whether all fit.
    fn browsed_service(&mut self, zone: &Zone, service: &Service, browsed: &Browsed<'_>) -> bool {
        let below = service.name.below(&zone.apex);
        let port = service.port(browsed.port).and_then(|at| service.browsed.get(at));
        let (Some(below), Some(ids)) = (below, port) else { return true };
        let owner = Self::in_question(0);
        for id in arranged(ids, Start::Turn(browsed.turn), ids.len()) {
            let Some(instance) = service.instances.get(*id) else { continue };
            let label = browsed_label(instance.label.get(1..).unwrap_or_default(), below);
            // Only below an apex that is close to 255 octets there is no room.
            if label.len() + 1 + self.name_length > Name::MAX {
                continue;
            }
            let before = self.answers;
            self.answer(owner, RecordType::PTR, zone.ttl, |w| {
                w.out.extend(u8::try_from(label.len()));
                w.out.extend_from_slice(&label);
                w.out.extend_from_slice(&owner.to_be_bytes());
            });
            if self.answers == before {
                return false;
            }
        }
        true
    }
}
