//! Links: the way back, from what a question may name to the names that have it, such as from an address to its instances.
//!
//! Services add to them and take from them as they are compiled. Changes are gathered over all services that are published
//! together, so that many that share a key cost no more than their number.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::IpAddr,
};

use super::snapshot::{Hasher, Snapshot};
use crate::{
    model::{Name, Network},
    policy::{Candidate, Place},
};

/// The table of one kind of links.
pub(super) type Links<K> = papaya::HashMap<K, Names, Hasher>;

/// Names that have something in common: at least one, sorted, each once.
#[derive(Debug)]
pub struct Names(Box<[Name]>);

impl Names {
    /// The names.
    pub const fn as_slice(&self) -> &[Name] {
        &self.0
    }
}

/// What one service added to the links, sorted.
#[derive(Debug, Default)]
pub(super) struct ServiceLinks {
    addresses: Vec<(IpAddr, Name)>,
}

/// Gathers what changes.
#[derive(Debug, Default)]
pub(super) struct LinkIndex {
    /// The networks whose addresses lead back to instances.
    reverse: Vec<Network>,
    addresses: Changes<IpAddr>,
}

impl LinkIndex {
    /// Without any links yet; `reverse` are the networks whose reverse names are answered.
    pub(super) fn new(reverse: &[Network]) -> Self {
        Self { reverse: reverse.to_vec(), ..Self::default() }
    }

    /// Replaces what `service` added by what it has now.
    pub(super) fn set(&mut self, links: &mut ServiceLinks, service: &Name, candidates: &[Candidate]) {
        let addresses = self.addresses_of(service, candidates);
        self.addresses.replace(&mut links.addresses, addresses);
    }

    /// Takes out all that a service added.
    pub(super) fn clear(&mut self, mut links: ServiceLinks) {
        self.addresses.replace(&mut links.addresses, Vec::new());
    }

    /// Puts the changes before the readers.
    pub(super) fn publish(&mut self, snapshot: &Snapshot) {
        std::mem::take(&mut self.addresses).apply(snapshot.addresses());
    }

    /// Every address of every instance within the reverse networks, whatever the instance's health, with its first name.
    fn addresses_of(&self, service: &Name, candidates: &[Candidate]) -> Vec<(IpAddr, Name)> {
        let mut links = Vec::new();
        if self.reverse.is_empty() {
            return links;
        }
        for candidate in candidates {
            let Place::Addresses { v4, v6 } = &candidate.place else { continue };
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

/// Changes to one kind of links.
#[derive(Debug)]
struct Changes<K>(HashMap<K, Change>);

#[derive(Debug, Default)]
struct Change {
    added: Vec<Name>,
    removed: HashSet<Name>,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Ord + Hash + Send + Sync> Changes<K> {
    /// Notes how what a service has `now` differs from what it had. *Cost*: its number of links, times the logarithm.
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

    /// Makes the changes. *Cost*: the names behind each key that changes.
    fn apply(self, links: &Links<K>) {
        let links = links.pin();
        for (key, change) in self.0 {
            let before = links.get(&key).map(Names::as_slice).unwrap_or_default();
            let kept = before.iter().filter(|name| !change.removed.contains(*name)).cloned();
            let mut names: Vec<Name> = kept.chain(change.added).collect();
            names.sort_unstable();
            names.dedup();
            if names.is_empty() {
                links.remove(&key);
            } else {
                links.insert(key, Names(names.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(links: &Links<u8>, key: u8) -> Vec<String> {
        let links = links.pin();
        links.get(&key).map(Names::as_slice).unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn list(links: &[(u8, &str)]) -> Vec<(u8, Name)> {
        links.iter().map(|(key, name)| (*key, name.parse().unwrap())).collect()
    }

    #[test]
    fn services_that_share_a_key_do_not_disturb_each_other() {
        let table = Links::<u8>::default();
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let mut step = |one_has: &[(u8, &str)], other_has: &[(u8, &str)]| {
            let mut changes = Changes::default();
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
