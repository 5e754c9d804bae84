//! PTR records: from an address to the instances that have it.

use hickory_proto::rr::RecordType;

use super::records::ZoneRecords;
use crate::{
    catalog::{View, Zone},
    model::Name,
    wire::WireName,
};

/// The PTR records at a zone's apex, which exist if the zone is the reverse network of one address.
#[cold]
pub(super) fn at_apex<'a>(zone: &Zone, name: WireName<'_>, view: &'a View<'_>) -> ZoneRecords<'a> {
    let names = if zone.is_reverse() { view.instances_at(name) } else { None };
    names.map_or(ZoneRecords::NoData, |names| ZoneRecords::Pointers(names.as_slice(), zone.ttl))
}

/// The names of the instances at an address.
#[cold]
pub(super) fn at_address<'a>(zone: &Zone, names: &'a [Name], qtype: RecordType) -> ZoneRecords<'a> {
    match qtype {
        RecordType::PTR | RecordType::ANY => ZoneRecords::Pointers(names, zone.ttl),
        _ => ZoneRecords::NoData,
    }
}
