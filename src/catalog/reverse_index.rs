//! The reverse index: from addresses to instances, and from service types to services.
//!
//! A service adds entries and removes them when it is compiled. Changes are gathered over all
//! services that are published together and then applied key by key, so many services that share a
//! key cost no more than their number.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use super::{
    dns_sd::{self, browsed_label, port_labels},
    names::{Names, NamesByKey},
    snapshot::Snapshot,
    zone::Zone,
};
use crate::{
    model::{Name, Network},
    policy::{Candidate, CandidateTarget},
};

/// The entries of one service, sorted.
#[derive(Debug, Default)]
pub(super) struct ReverseEntries {
    addresses: Vec<(IpAddr, Name)>,
    browsed: Vec<(Name, Name)>,
    /// The zone in which the service counts as not synced.
    unsynced_in: Option<Arc<Zone>>,
}

/// Gathers changes to the reverse tables of a snapshot.
#[derive(Debug, Default)]
pub(super) struct ReverseIndex {
    /// The networks whose reverse names are answered.
    networks: Vec<Network>,
    addresses: KeyChanges<IpAddr>,
    browsed: KeyChanges<Name>,
    /// The zone of each service that has become synced.
    synced_in: Vec<Arc<Zone>>,
}

impl ReverseIndex {
    /// Makes an empty index; the reverse names of `networks` are answered.
    pub(super) fn new(networks: &[Network]) -> Self {
        Self { networks: networks.to_vec(), ..Self::default() }
    }

    /// Replaces the entries of `service` by those of its candidates.
    pub(super) fn set(
        &mut self,
        entries: &mut ReverseEntries,
        (service, zone): (&Name, &Arc<Zone>),
        candidates: &[Candidate],
        all_synced: bool,
    ) {
        let addresses = self.addresses_of(service, candidates);
        self.addresses.replace(&mut entries.addresses, addresses);
        let browsed = if zone.is_browsed() { browsed_of(service, zone, candidates) } else { Vec::new() };
        self.browsed.replace(&mut entries.browsed, browsed);
        if all_synced {
            self.synced_in.extend(entries.unsynced_in.take());
        } else if entries.unsynced_in.is_none() && zone.is_browsed() {
            zone.unsynced_services.fetch_add(1, Ordering::Release);
            entries.unsynced_in = Some(Arc::clone(zone));
        }
    }

    /// Removes the entries of a service.
    pub(super) fn clear(&mut self, mut entries: ReverseEntries) {
        self.addresses.replace(&mut entries.addresses, Vec::new());
        self.browsed.replace(&mut entries.browsed, Vec::new());
        self.synced_in.extend(entries.unsynced_in);
    }

    /// Applies the changes to the tables of `snapshot`.
    pub(super) fn publish(&mut self, snapshot: &Snapshot) {
        std::mem::take(&mut self.addresses).apply(snapshot.addresses());
        let (added, removed) = std::mem::take(&mut self.browsed).apply(snapshot.browsed());
        let mut types = KeyChanges::default();
        for (names, by) in [(added, 1), (removed, -1)] {
            for service_type in names.into_iter().filter(|name| dns_sd::is_type(name.wire())) {
                let Some(apex) = service_type.parent().and_then(|above| above.parent()) else { continue };
                snapshot.count_empty_non_terminals(&service_type, &apex, by);
                if let Ok(list) = apex.join(dns_sd::TYPES) {
                    let change: &mut KeyChange = types.0.entry(list).or_default();
                    if by > 0 {
                        change.added.push(service_type);
                    } else {
                        change.removed.insert(service_type);
                    }
                }
            }
        }
        types.apply(snapshot.browsed());
        // After the names are in the tables, so that a reader never takes a missing name for
        // NXDOMAIN.
        for zone in self.synced_in.drain(..) {
            let before = zone.unsynced_services.fetch_sub(1, Ordering::Release);
            debug_assert!(before > 0, "a service was counted before it is counted as synced");
        }
    }

    /// Each instance's addresses within the reverse networks, whatever its health, with its name.
    fn addresses_of(&self, service: &Name, candidates: &[Candidate]) -> Vec<(IpAddr, Name)> {
        let mut entries = Vec::new();
        if self.networks.is_empty() {
            return entries;
        }
        for candidate in candidates {
            let CandidateTarget::Addresses { v4, v6 } = &candidate.target else { continue };
            let all = v4.iter().copied().map(IpAddr::V4).chain(v6.iter().copied().map(IpAddr::V6));
            let mut ours =
                all.filter(|at| self.networks.iter().any(|network| network.contains(*at))).peekable();
            if ours.peek().is_some()
                && let Ok(name) = service.child(candidate.label.as_bytes())
            {
                entries.extend(ours.map(|address| (address, name.clone())));
            }
        }
        entries
    }
}

/// The service types of a service's named ports, and the cut labels of its instances.
fn browsed_of(service: &Name, zone: &Zone, candidates: &[Candidate]) -> Vec<(Name, Name)> {
    let Some(below) = service.below(&zone.apex) else { return Vec::new() };
    let ports: HashSet<_> =
        candidates.iter().flat_map(|candidate| &candidate.named_ports).filter_map(port_labels).collect();
    let types = ports.into_iter().filter_map(|labels| {
        let service_type = Name::from_wire(&[&labels, zone.apex.as_wire()].concat()).ok()?;
        Some((service_type, service.clone()))
    });
    let cut = candidates.iter().filter_map(|candidate| {
        let label = candidate.label.as_bytes();
        let is_cut = dns_sd::is_cut(label, below) && !candidate.named_ports.is_empty();
        let name = is_cut.then(|| service.child(label).ok()).flatten()?;
        Some((zone.apex.child(&browsed_label(label, below)).ok()?, name))
    });
    types.chain(cut).collect()
}

/// Changes to one table, by key.
#[derive(Debug)]
struct KeyChanges<K>(HashMap<K, KeyChange>);

#[derive(Debug, Default)]
struct KeyChange {
    added: Vec<Name>,
    removed: HashSet<Name>,
}

impl<K> Default for KeyChanges<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Ord + Hash + Send + Sync> KeyChanges<K> {
    /// Notes how a service's entries `now` differ from those `before`, and replaces them.
    ///
    /// *Cost*: *n* log *n* for *n* entries.
    fn replace(&mut self, before: &mut Vec<(K, Name)>, mut now: Vec<(K, Name)>) {
        now.sort_unstable();
        now.dedup();
        for (key, name) in before.iter().filter(|entry| now.binary_search(entry).is_err()) {
            self.0.entry(key.clone()).or_default().removed.insert(name.clone());
        }
        for (key, name) in now.iter().filter(|entry| before.binary_search(entry).is_err()) {
            self.0.entry(key.clone()).or_default().added.push(name.clone());
        }
        now.shrink_to_fit();
        *before = now;
    }

    /// Applies the changes; returns the keys that are new, and those that are gone.
    ///
    /// *Cost*: the names of each key that changes.
    fn apply(self, table: &NamesByKey<K>) -> (Vec<K>, Vec<K>) {
        let table = table.pin();
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        for (key, change) in self.0 {
            let before = table.get(&key).map(Names::as_slice).unwrap_or_default();
            let kept = before.iter().filter(|name| !change.removed.contains(*name)).cloned();
            let mut names: Vec<Name> = kept.chain(change.added).collect();
            // Stable sorting is fast for a list that is nearly sorted.
            names.sort();
            names.dedup();
            match (before.is_empty(), names.is_empty()) {
                (false, true) => gone.push(key.clone()),
                (true, false) => new.push(key.clone()),
                _ => {}
            }
            if names.is_empty() {
                table.remove(&key);
            } else {
                table.insert(key, Names::new(names.into()));
            }
        }
        (new, gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(table: &NamesByKey<u8>, key: u8) -> Vec<String> {
        let table = table.pin();
        table.get(&key).map(Names::as_slice).unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn list(entries: &[(u8, &str)]) -> Vec<(u8, Name)> {
        entries.iter().map(|(key, name)| (*key, name.parse().unwrap())).collect()
    }

    #[test]
    fn services_that_share_a_key_keep_their_own_entries() {
        let table = NamesByKey::<u8>::default();
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let mut step = |one_has: &[(u8, &str)], other_has: &[(u8, &str)]| {
            let mut changes = KeyChanges::default();
            changes.replace(&mut one, list(one_has));
            changes.replace(&mut other, list(other_has));
            changes.apply(&table);
            (names(&table, 1), names(&table, 2))
        };
        assert_eq!(
            step(&[(1, "b"), (1, "b"), (2, "c")], &[(1, "a")]),
            (vec!["a".into(), "b".into()], vec!["c".into()])
        );
        assert_eq!(
            step(&[(2, "c")], &[(1, "a"), (2, "d")]),
            (vec!["a".into()], vec!["c".into(), "d".into()])
        );
        assert_eq!(step(&[], &[(2, "d")]), (vec![], vec!["d".into()]));
        assert_eq!(step(&[], &[]), (vec![], vec![]));
        assert_eq!(table.len(), 0, "keys without names are removed");
    }
}
