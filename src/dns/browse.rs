//! Browsing (DNS-SD, RFC 6763): lists of services and their instances.

use hickory_proto::rr::RecordType;

use super::{
    records::{Browsed, ZoneRecords},
    rotation::{ListOrder, Rotation},
};
use crate::catalog::{Browse, BrowsedInstance, Names, Service, View, Zone};

/// Finds the records at a DNS-SD name.
#[cold]
pub(super) fn find<'a>(
    zone: &'a Zone,
    browse: Browse<'a>,
    qtype: RecordType,
    view: &'a View<'a>,
    rotation: &mut Rotation,
) -> ZoneRecords<'a> {
    let asks_pointers = matches!(qtype, RecordType::PTR | RecordType::ANY);
    match browse {
        Browse::Domains if asks_pointers => ZoneRecords::Pointers(std::slice::from_ref(&zone.apex), zone.ttl),
        Browse::Types(types) if asks_pointers => ZoneRecords::Pointers(types.as_slice(), zone.ttl),
        Browse::Type(service_type) if asks_pointers => {
            let services = view.browsed(service_type.wire()).map(Names::as_slice).unwrap_or_default();
            let port = service_type.below(&zone.apex).unwrap_or_default();
            ZoneRecords::Browsed(Browsed { view, services, port, turn: rotation.browse_turn() })
        }
        Browse::Instance(service, instance) => at_instance(service, instance, qtype),
        Browse::Domains | Browse::Types(_) | Browse::Type(_) => ZoneRecords::NoData,
    }
}

/// The SRV and TXT records of one instance (RFC 6763 sections 5 and 6). SRV exists while some
/// client can get the instance, TXT always.
fn at_instance(service: &Service, instance: BrowsedInstance, qtype: RecordType) -> ZoneRecords<'_> {
    match qtype {
        RecordType::SRV | RecordType::ANY => {
            let port = usize::from(instance.port);
            let lists = service.pools().filter_map(|pool| {
                debug_assert!(port < pool.ports.len(), "every pool has a list for each named port");
                pool.ports.get(port)
            });
            // All records of one instance are adjacent.
            let mut own = lists.filter_map(|list| {
                list.records.split(|record| record.instance != instance.id).find(|row| !row.is_empty())
            });
            own.next().map_or(ZoneRecords::NoData, |records| {
                ZoneRecords::Services(service, records, ListOrder::Rotated(0))
            })
        }
        RecordType::TXT => {
            let known = service.instances.get(instance.id);
            debug_assert!(known.is_some(), "the id is from the same service");
            let text = known.and_then(|known| service.instances.txt(known.label));
            // "an empty TXT record ... a single zero byte" without data (section 6.1)
            ZoneRecords::Text(text.unwrap_or(&[0]), service.ttl)
        }
        _ => ZoneRecords::NoData,
    }
}
