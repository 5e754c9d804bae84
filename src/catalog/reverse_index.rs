//! Links: the way back, from what a question may name to the names that have it, such as from an
//! address to its instances.
//!
//! Services add to them and take from them as they are compiled. Changes are gathered over all
//! services that are published together, so that many that share a key cost no more than their
//! number.

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

/// What one service added to the links, sorted.
#[derive(Debug, Default)]
pub(super) struct ReverseEntries {
    addresses: Vec<(IpAddr, Name)>,
    browsed: Vec<(Name, Name)>,
    /// The zone that it keeps from being complete.
    unsynced_in: Option<Arc<Zone>>,
}

/// Gathers what changes.
#[derive(Debug, Default)]
pub(super) struct ReverseIndex {
    /// The networks whose addresses lead back to instances.
    reverse: Vec<Network>,
    addresses: KeyChanges<IpAddr>,
    browsed: KeyChanges<Name>,
    /// Zones, once for each service that is complete now.
    synced: Vec<Arc<Zone>>,
}

impl ReverseIndex {
    /// Without any links yet; `reverse` are the networks whose reverse names are answered.
    pub(super) fn new(reverse: &[Network]) -> Self {
        Self { reverse: reverse.to_vec(), ..Self::default() }
    }

    /// Replaces what `service` added by what it has now.
    pub(super) fn set(
        &mut self,
        links: &mut ReverseEntries,
        (service, zone): (&Name, &Arc<Zone>),
        candidates: &[Candidate],
        all_synced: bool,
    ) {
        let addresses = self.addresses_of(service, candidates);
        self.addresses.replace(&mut links.addresses, addresses);
        let browsed = if zone.is_browsed() { browsed_of(service, zone, candidates) } else { Vec::new() };
        self.browsed.replace(&mut links.browsed, browsed);
        if all_synced {
            self.synced.extend(links.unsynced_in.take());
        } else if links.unsynced_in.is_none() && zone.is_browsed() {
            zone.unsynced_services.fetch_add(1, Ordering::Release);
            links.unsynced_in = Some(Arc::clone(zone));
        }
    }

    /// Takes out all that a service added.
    pub(super) fn clear(&mut self, mut links: ReverseEntries) {
        self.addresses.replace(&mut links.addresses, Vec::new());
        self.browsed.replace(&mut links.browsed, Vec::new());
        self.synced.extend(links.unsynced_in);
    }

    /// Puts the changes before the readers.
    pub(super) fn publish(&mut self, snapshot: &Snapshot) {
        std::mem::take(&mut self.addresses).apply(snapshot.addresses());
        let (come, gone) = std::mem::take(&mut self.browsed).apply(snapshot.browsed());
        let mut kinds = KeyChanges::default();
        for (names, by) in [(come, 1), (gone, -1)] {
            for kind in names.into_iter().filter(|name| dns_sd::is_kind(name.as_wire())) {
                let Some(apex) = kind.parent().and_then(|above| above.parent()) else { continue };
                snapshot.count_empty_non_terminals(&kind, &apex, by);
                if let Ok(list) = apex.join(dns_sd::KINDS) {
                    let change: &mut KeyChange = kinds.0.entry(list).or_default();
                    if by > 0 {
                        change.added.push(kind);
                    } else {
                        change.removed.insert(kind);
                    }
                }
            }
        }
        kinds.apply(snapshot.browsed());
        // Names first, as when an import is heard.
        for zone in self.synced.drain(..) {
            zone.unsynced_services.fetch_sub(1, Ordering::Release);
        }
    }

    /// Every address of every instance within the reverse networks, whatever the instance's health,
    /// with its first name.
    fn addresses_of(&self, service: &Name, candidates: &[Candidate]) -> Vec<(IpAddr, Name)> {
        let mut links = Vec::new();
        if self.reverse.is_empty() {
            return links;
        }
        for candidate in candidates {
            let CandidateTarget::Addresses { v4, v6 } = &candidate.target else { continue };
            let all = v4.iter().copied().map(IpAddr::V4).chain(v6.iter().copied().map(IpAddr::V6));
            let mut ours =
                all.filter(|at| self.reverse.iter().any(|network| network.contains(*at))).peekable();
            if ours.peek().is_some()
                && let Ok(name) = service.child(candidate.label.as_bytes())
            {
                links.extend(ours.map(|address| (address, name.clone())));
            }
        }
        links
    }
}

/// From the kinds of a service's named ports to the service, and from labels that are cut to their
/// instances.
fn browsed_of(service: &Name, zone: &Zone, candidates: &[Candidate]) -> Vec<(Name, Name)> {
    let Some(below) = service.below(&zone.apex) else { return Vec::new() };
    let ports: HashSet<_> =
        candidates.iter().flat_map(|candidate| &candidate.named_ports).filter_map(port_labels).collect();
    let kinds = ports.into_iter().filter_map(|labels| {
        let kind = Name::from_wire(&[&labels, zone.apex.as_wire()].concat()).ok()?;
        Some((kind, service.clone()))
    });
    let cut = candidates.iter().filter_map(|candidate| {
        let label = candidate.label.as_bytes();
        let is_cut = dns_sd::is_cut(label, below) && !candidate.named_ports.is_empty();
        let name = is_cut.then(|| service.child(label).ok()).flatten()?;
        Some((zone.apex.child(&browsed_label(label, below)).ok()?, name))
    });
    kinds.chain(cut).collect()
}

/// Changes to one kind of links.
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
    /// Notes how what a service has `now` differs from what it had. *Cost*: its number of links,
    /// times the logarithm.
    fn replace(&mut self, before: &mut Vec<(K, Name)>, mut now: Vec<(K, Name)>) {
        now.sort_unstable();
        now.dedup();
        for (key, name) in before.iter().filter(|link| now.binary_search(link).is_err()) {
            self.0.entry(key.clone()).or_default().removed.insert(name.clone());
        }
        for (key, name) in now.iter().filter(|link| before.binary_search(link).is_err()) {
            self.0.entry(key.clone()).or_default().added.push(name.clone());
        }
        now.shrink_to_fit();
        *before = now;
    }

    /// Makes the changes; gives the keys that are new and those that nobody has any more. *Cost*:
    /// the names behind each key that changes.
    fn apply(self, links: &NamesByKey<K>) -> (Vec<K>, Vec<K>) {
        let links = links.pin();
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        for (key, change) in self.0 {
            let before = links.get(&key).map(Names::as_slice).unwrap_or_default();
            let kept = before.iter().filter(|name| !change.removed.contains(*name)).cloned();
            let mut names: Vec<Name> = kept.chain(change.added).collect();
            // Stable, since that is quick where nearly all is sorted.
            names.sort();
            names.dedup();
            match (before.is_empty(), names.is_empty()) {
                (false, true) => gone.push(key.clone()),
                (true, false) => come.push(key.clone()),
                _ => {}
            }
            if names.is_empty() {
                links.remove(&key);
            } else {
                links.insert(key, Names::new(names.into()));
            }
        }
        (come, gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(links: &NamesByKey<u8>, key: u8) -> Vec<String> {
        let links = links.pin();
        links.get(&key).map(Names::as_slice).unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn list(links: &[(u8, &str)]) -> Vec<(u8, Name)> {
        links.iter().map(|(key, name)| (*key, name.parse().unwrap())).collect()
    }

    #[test]
    fn services_that_share_a_key_do_not_disturb_each_other() {
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
        assert_eq!(table.len(), 0, "keys that nobody has are gone");
    }
}
