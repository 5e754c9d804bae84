//! Browsing (DNS-SD, RFC 6763): what a name means to a browser; [`super::dns_sd`] has the labels.

use std::sync::atomic::Ordering;

use arrayvec::ArrayVec;

use super::{
    dns_sd::{Browse, BrowsedInstance, DOMAINS, KINDS_LABELS, ends_with_kind, is_kind, split, uncut},
    service::Service,
    snapshot::{Lookup, View},
    zone::Zone,
};
use crate::model::Name;

impl View<'_> {
    /// Finds what a name (wire format, lower case) means to a browser; its zone's apex begins at
    /// `apex_at`.
    pub(super) fn browse<'v>(&'v self, zone: &'v Zone, name: &[u8], apex_at: usize) -> Option<Lookup<'v>> {
        let labels = name.get(..apex_at)?;
        if DOMAINS.contains(&labels) {
            return Some(Lookup::Browse(zone, Browse::Domains));
        }
        // Before the tables are looked at: what completes a service is put there first.
        let all_synced = zone.unsynced_services.load(Ordering::Acquire) == 0;
        let entry = self.browsed_entry(name);
        if labels == KINDS_LABELS {
            let kinds = entry.map(|(_, names)| Lookup::Browse(zone, Browse::Kinds(names)));
            let none = if all_synced { Lookup::EmptyNonTerminal(zone) } else { Lookup::NotSynced(zone) };
            return Some(kinds.unwrap_or(none));
        }
        if let Some((kind, _)) = entry.filter(|_| is_kind(name)) {
            return Some(Lookup::Browse(zone, Browse::Services(kind)));
        }
        let unknown = || (!all_synced && ends_with_kind(labels)).then_some(Lookup::NotSynced(zone));
        self.browsed_below(zone, name, labels).or_else(unknown)
    }

    fn browsed_below<'v>(&'v self, zone: &'v Zone, name: &[u8], labels: &[u8]) -> Option<Lookup<'v>> {
        let (label, port) = split(labels)?;
        let instance = uncut(label, zone).and_then(|name| self.browsed_instance(&name, port)).or_else(|| {
            let mut key: ArrayVec<u8, { Name::MAX }> = ArrayVec::new();
            key.try_extend_from_slice(name.get(..=label.len())?).ok()?;
            key.try_extend_from_slice(zone.apex.as_wire()).ok()?;
            self.browsed_instance(self.browsed(&key)?.as_slice().first()?.as_wire(), port)
        });
        instance.map(|(service, instance)| Lookup::Browse(zone, Browse::Instance(service, instance)))
    }

    /// The instance of a full name, if its service has the port.
    fn browsed_instance(&self, name: &[u8], port: &[u8]) -> Option<(&Service, BrowsedInstance)> {
        let (label, service) = split(name)?;
        let service = self.service(service)?;
        let port = u16::try_from(service.port(port)?).ok()?;
        let id = service.instances.id(str::from_utf8(label).ok()?)?;
        Some((service, BrowsedInstance { id, port }))
    }
}
