//! Browsing (DNS-SD, RFC 6763): looking up the names that [`super::dns_sd`] describes.

use std::sync::atomic::Ordering;

use super::{
    dns_sd::{
        Browse, BrowsedInstance, DOMAINS, NameBuffer, TYPES_LABELS, instance_name, is_type,
        may_be_type_or_instance, split_label,
    },
    service::Service,
    snapshot::{Lookup, View},
    zone::Zone,
};
use crate::wire::WireName;

impl View<'_> {
    /// Looks up a name of DNS-SD whose zone's apex begins at `apex_at`.
    pub(super) fn browse<'v>(
        &'v self,
        zone: &'v Zone,
        name: WireName<'_>,
        apex_at: usize,
    ) -> Option<Lookup<'v>> {
        let labels = name.as_bytes().get(..apex_at)?;
        if DOMAINS.contains(&labels) {
            return Some(Lookup::Browse(zone, Browse::Domains));
        }
        // Loaded before the tables are read: a service is counted as synced after its names are
        // there.
        let all_synced = zone.unsynced_services.load(Ordering::Acquire) == 0;
        let entry = self.browsed_entry(name);
        if labels == TYPES_LABELS {
            let types = entry.map(|(_, names)| Lookup::Browse(zone, Browse::Types(names)));
            let none = if all_synced { Lookup::EmptyNonTerminal(zone) } else { Lookup::NotSynced(zone) };
            return Some(types.unwrap_or(none));
        }
        if let Some((service_type, _)) = entry.filter(|_| is_type(name)) {
            return Some(Lookup::Browse(zone, Browse::Type(service_type)));
        }
        let not_synced = || {
            let may_exist = !all_synced && may_be_type_or_instance(labels);
            may_exist.then_some(Lookup::NotSynced(zone))
        };
        self.browse_instance(zone, name, labels).or_else(not_synced)
    }

    /// Looks up `label._port._proto.ns`.
    fn browse_instance<'v>(
        &'v self,
        zone: &'v Zone,
        name: WireName<'_>,
        labels: &[u8],
    ) -> Option<Lookup<'v>> {
        let (label, port) = split_label(labels)?;
        let uncut = || {
            let name = instance_name(label, zone)?;
            self.instance_with_port(WireName::new(&name)?, port)
        };
        let cut = || {
            let mut key = NameBuffer::new();
            key.try_extend_from_slice(name.as_bytes().get(..=label.len())?).ok()?;
            key.try_extend_from_slice(zone.apex.as_wire()).ok()?;
            let names = self.browsed(WireName::new(&key)?)?;
            self.instance_with_port(names.as_slice().first()?.wire(), port)
        };
        let (service, instance) = uncut().or_else(cut)?;
        Some(Lookup::Browse(zone, Browse::Instance(service, instance)))
    }

    /// The instance with this owner name, if its service has the named port.
    fn instance_with_port(&self, name: WireName<'_>, port: &[u8]) -> Option<(&Service, BrowsedInstance)> {
        let (label, _) = split_label(name.as_bytes())?;
        let service = self.service(name.parent()?)?;
        let port = u16::try_from(service.port(port)?).ok()?;
        let id = service.instances.id(str::from_utf8(label).ok()?)?;
        Some((service, BrowsedInstance { id, port }))
    }
}
