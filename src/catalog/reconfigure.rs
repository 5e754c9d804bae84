//! A new configuration for a catalog that runs: what is known is carried over.
//!
//! Everything new is made beside what is answered from (zones, tables, compiled services), and
//! readers move from the one to the other when the worker swaps the cell, once. Changing the old
//! tables in place was rejected: readers would see some services under the old configuration and
//! some under the new one, and names that move from one namespace to another would be missing in
//! between.
//!
//! *Cost*: every service is compiled, about 10 µs each, and for as long as readers are on their way
//! out both tables are in memory. Updates wait meanwhile; answers do not.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    rotation::RotationIds,
    state::{Catalog, MemberInstances, MemberState, OwnerName, ServiceState},
};
use crate::{
    config::{Config, ImportRule, MemberRule, Namespace, SourceQuery},
    model::{Import, Instance, Member, Name, Retained, SourceId},
    policy,
};

/// From which configuration to which.
#[derive(Clone, Debug)]
pub struct Reconfiguration {
    /// What the catalog runs with.
    pub from: Arc<Config>,
    /// What it shall run with.
    pub to: Arc<Config>,
    /// The SOA serial of all zones from now on.
    pub serial: u32,
    /// Sources that start anew: what is still answered of them is told.
    pub restarted: HashSet<SourceId>,
    /// Members of `to` that are probed anew: their instances are told, if they were probed before.
    pub probed: HashSet<Member>,
}

/// Members with what the configuration says of them.
type MemberRules<'c> = Vec<(Member, &'c MemberRule)>;

impl Catalog {
    /// Goes over to another configuration. What is answered from is the new
    /// [`snapshot`](Self::snapshot) from here on, complete when this returns; the old one stays as
    /// it is for those who still read it.
    ///
    /// A member keeps what its source said if its rule is the same, wherever in `from` it stands
    /// now. Failing that it keeps what the member in its place said, until the source says
    /// something else: the next `Reset` replaces by difference, so nothing goes empty in between. A
    /// member that has neither is unheard, and one that is gone is gone; but a service that would
    /// have no member that was heard keeps its old instances until its new source is heard. A
    /// service that stays keeps its rotation. An import keeps its names and, if it asks for the
    /// same ones, its word on which names do not exist.
    ///
    /// Updates that were sent under the old configuration must have been applied before: afterwards
    /// their members may mean something else.
    pub fn reconfigure(&mut self, change: &Reconfiguration) -> Retained {
        let mut next = Self::unpublished(&change.to, change.serial);
        (next.began, next.now) = (self.began, self.now);
        let mut probed_before = HashSet::new();
        let before = rules(&change.from);
        for (name, rules) in rules(&change.to) {
            if let (Some(old), Some(new)) = (self.services.get_mut(name), next.services.get_mut(name)) {
                let before = before.get(name).map(Vec::as_slice).unwrap_or_default();
                carry_members(before, old, &rules, new, &mut probed_before);
                adopt(old, new);
            }
        }
        let heard = self.carry_imports(change, &mut next);
        for (member, state) in &mut next.clients {
            *state = self.clients.remove(member).unwrap_or_default();
        }
        self.carry_owner_names(&mut next);
        next.index_clients();
        next.publish();
        // Names first, as when an import is heard.
        for import in &heard {
            if let Some((zone, _)) = next.snapshot.zone(import.apex.as_wire()) {
                next.snapshot.import_synced(zone);
            }
        }
        *self = next;
        self.retained(change, &probed_before)
    }

    /// Takes over the imports' names and their members; gives the imports that count as heard.
    fn carry_imports(&mut self, change: &Reconfiguration, next: &mut Self) -> Vec<Import> {
        let mut before: Vec<_> = change.from.namespaces.iter().flat_map(Namespace::imports).collect();
        let mut heard = Vec::new();
        let mut carried = Vec::new();
        for (import, rule) in change.to.namespaces.iter().flat_map(Namespace::imports) {
            let asks_the_same =
                |(old, was): &(Import, &ImportRule)| old.apex == import.apex && has_same_list(was, rule);
            let at = before.iter().position(|old| old.0 == import && asks_the_same(old));
            let at = at.or_else(|| before.iter().position(asks_the_same));
            let (at, is_same) = match at {
                Some(at) => (Some(at), true),
                None => (before.iter().position(|(old, _)| *old == import), false),
            };
            let Some((old, _)) = at.map(|at| before.swap_remove(at)) else { continue };
            let (Some(old), Some(new)) = (self.imports.remove(&old), next.imports.get_mut(&import)) else {
                continue;
            };
            new.synced = old.synced && is_same;
            if new.synced {
                heard.push(import.clone());
            }
            new.services.clone_from(&old.services);
            carried.push((import, old.services));
        }
        for (import, names) in carried {
            for name in names {
                self.carry_imported(&import, name, next);
            }
        }
        heard
    }

    /// Takes over one name of an import, unless the file names it now.
    fn carry_imported(&mut self, import: &Import, name: Name, next: &mut Self) {
        let member = Member { service: name.clone(), source: import.source.clone(), place: Member::IMPORTED };
        next.add_imported_member(member.clone(), import);
        if let (Some(old), Some(new)) = (self.services.get_mut(&name), next.services.get_mut(&name))
            && let Some(state) = new.members.get_mut(&member)
        {
            if let Some(said) = old.members.remove(&member) {
                *state = said;
            }
            adopt(old, new);
        }
        next.settle_rules(&name, import);
    }

    /// Lets every name that stays keep its cursors, and the tiers in use where the tiers are the
    /// same.
    fn carry_owner_names(&mut self, next: &mut Self) {
        let mut ids: RotationIds = std::mem::take(&mut self.rotation_ids);
        let mut before: HashMap<Name, OwnerName> = self
            .services
            .drain()
            .flat_map(|(_, service)| service.owner_names)
            .map(|owner_name| (owner_name.name.clone(), owner_name))
            .collect();
        for owner_name in next.services.values_mut().flat_map(|service| &mut service.owner_names) {
            if let Some(old) = before.remove(&owner_name.name) {
                owner_name.rotations = old.rotations;
                owner_name.memory = policy::carry_over(&old.memory, &old.policy, &owner_name.policy);
            }
        }
        for gone in before.into_values() {
            gone.rotations.give_back(&mut ids);
        }
        next.rotation_ids = ids;
    }

    /// What is answered of the sources that start anew.
    fn retained(&self, change: &Reconfiguration, probed_before: &HashSet<Member>) -> Retained {
        let mut known = Retained::default();
        let members = self.services.values().flat_map(|service| &service.members).chain(&self.clients);
        for (member, state) in members.filter(|(_, state)| state.synced) {
            if change.restarted.contains(&member.source) {
                known.members.insert(member.clone());
            }
            if change.probed.contains(member) && probed_before.contains(member) {
                let instances: Vec<Instance> =
                    state.instances.values().map(|held| held.instance.clone()).collect();
                known.instances.insert(member.clone(), instances);
            }
        }
        for (import, state) in &self.imports {
            if change.restarted.contains(&import.source) && (state.synced || !state.services.is_empty()) {
                known.imports.insert(import.clone(), state.synced);
            }
        }
        known
    }
}

/// The members of every service that the files name.
fn rules(config: &Config) -> HashMap<&Name, MemberRules<'_>> {
    let services = config.namespaces.iter().flat_map(|namespace| &namespace.services);
    services.map(|service| (&service.name, service.members().collect())).collect()
}

/// Whether two imports of one namespace ask for the same list of names.
fn has_same_list(one: &ImportRule, other: &ImportRule) -> bool {
    (&one.source, &one.include, &one.exclude) == (&other.source, &other.include, &other.exclude)
}

/// Hands what members said to those that are the same now, then to those that have their place.
fn carry_members(
    before: &[(Member, &MemberRule)],
    old: &mut ServiceState,
    rules: &MemberRules<'_>,
    new: &mut ServiceState,
    probed_before: &mut HashSet<Member>,
) {
    let mut put = |member: &Member, was: &MemberRule, said: MemberState| {
        if is_probed(was) {
            probed_before.insert(member.clone());
        }
        if let Some(state) = new.members.get_mut(member) {
            *state = said;
        }
    };
    let mut others = Vec::new();
    for (member, rule) in rules {
        let mut same = before.iter().filter(|(_, was)| was == rule);
        let in_place = same.clone().find(|(old, _)| old == member);
        match in_place.or_else(|| same.find(|(key, _)| old.members.contains_key(key))) {
            Some((key, was)) => match old.members.remove(key) {
                Some(said) => put(member, was, said),
                None => others.push(member),
            },
            None => others.push(member),
        }
    }
    for member in others {
        let was = before.iter().find(|(old, _)| old == member);
        if let (Some((_, was)), Some(said)) = (was, old.members.remove(member)) {
            put(member, was, said);
        }
    }
}

/// Lets a service of which nothing is heard keep all the instances that it had, as those of its
/// first member: a service that moves from one source to another is answered all the while. They go
/// with that member's first word.
fn adopt(old: &ServiceState, new: &mut ServiceState) {
    if new.members.values().any(|state| state.synced) {
        return;
    }
    // Keys that no two members have in common; ids may be.
    let key = |member: &Member, id: &str| format!("{} {} {id}", member.source, member.place).into();
    let instances: MemberInstances = old
        .members
        .iter()
        .filter(|(_, state)| state.synced)
        .flat_map(|(member, state)| {
            state.instances.values().map(move |one| (key(member, &one.instance.id), one.clone()))
        })
        .collect();
    if let Some(state) = new.members.values_mut().next()
        && !instances.is_empty()
    {
        state.synced = true;
        state.instances = instances;
    }
}

fn is_probed(rule: &MemberRule) -> bool {
    matches!(&rule.query, SourceQuery::Static(member) if member.check.is_some())
}

#[cfg(test)]
mod tests;
