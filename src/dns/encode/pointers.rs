//! PTR records: of reverse names, and of DNS-SD (RFC 6763).

use hickory_proto::rr::RecordType;

use super::{
    super::{
        records::Browsed,
        rotation::{ListOrder, arranged},
    },
    zone::soa,
};
use crate::{
    catalog::{Service, Zone, browsed_label},
    model::Name,
    wire::{Section, Writer},
};

/// Maximum number of services that one answer looks at. Services without an eligible instance add
/// nothing to its length, so the length alone is no bound.
const MAX_SERVICES: usize = 10_000;

/// Writes as many of the names as fit.
#[cold]
pub(super) fn pointers(writer: &mut Writer<'_>, zone: &Zone, names: &[Name], ttl: u32) {
    let owner = writer.owner(0);
    for name in names {
        let fits = writer
            .answer(owner, RecordType::PTR.into(), ttl, |w| w.name_below(name.wire(), zone.apex.wire()));
        if !fits {
            return;
        }
    }
}

/// Writes as many of the instances as fit.
#[cold]
pub(super) fn browsed(writer: &mut Writer<'_>, zone: &Zone, browsed: &Browsed<'_>) {
    let start = ListOrder::Rotated(browsed.turn);
    for name in arranged(browsed.services, start, MAX_SERVICES) {
        let service = browsed.view.service(name.wire());
        if service.is_some_and(|service| !browsed_service(writer, zone, service, browsed)) {
            break;
        }
    }
    if writer.counts.answers == 0 && !writer.truncated {
        soa(writer, zone, Section::Authority);
    }
}

/// Writes the instances of one service. Returns whether all fit.
fn browsed_service(writer: &mut Writer<'_>, zone: &Zone, service: &Service, browsed: &Browsed<'_>) -> bool {
    let below = service.name.below(&zone.apex);
    let port = service.port(browsed.port).and_then(|at| service.browsed.get(at));
    let (Some(below), Some(ids)) = (below, port) else { return true };
    let owner = writer.owner(0);
    for id in arranged(ids, ListOrder::Rotated(browsed.turn), ids.len()) {
        let instance = service.instances.get(*id);
        debug_assert!(instance.is_some(), "an id is of the same service");
        let Some(instance) = instance else { continue };
        let label = browsed_label(instance.label.get(1..).unwrap_or_default(), below);
        // The name fits, unless the apex is almost 255 bytes long.
        if label.len() + 1 + writer.owner_len() > Name::MAX {
            continue;
        }
        let fits = writer.answer(owner, RecordType::PTR.into(), zone.ttl, |w| {
            w.bytes(&[label.len() as u8]);
            w.bytes(&label);
            w.bytes(&owner.to_be_bytes());
        });
        if !fits {
            return false;
        }
    }
    true
}
