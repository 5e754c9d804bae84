//! Reconfiguring: moving a running catalog to another configuration.
//!
//! ```text
//!  old catalog ─▶ members, imports, cursors, ─▶ new catalog ─▶ compile all ─▶ swap the cell
//!                 failover tiers
//! ```
//!
//! The new catalog has zones, tables and compiled services of its own, and readers move to them
//! when the worker swaps the cell, once.
//!
//! Rejected: changing the old tables in place. Readers would see some services under the old
//! configuration and some under the new one, and a name that moves from one namespace to another
//! would be missing in between.
//!
//! *Cost*: every service is compiled, at about 10 µs each. Both tables are in memory until the last
//! reader of the old one is done. Updates wait meanwhile; answers do not.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    change_log::ChangeLog,
    member_state::{MemberInstances, MemberState},
    rotation::RotationIds,
    state::{Catalog, OwnerName, ServiceState},
};
use crate::{
    config::{Config, ImportRule, MemberRule, Namespace, SourceQuery},
    model::{Freshness, Import, Member, Name, Retained, RetainedImport, SourceId, WatchSubject},
    policy,
};

/// A change of the configuration.
#[derive(Clone, Debug)]
pub struct Reconfiguration {
    /// The running configuration.
    pub from: Arc<Config>,
    /// The new configuration.
    pub to: Arc<Config>,
    /// The SOA serial of all zones of the new configuration.
    pub serial: u32,
    /// Sources that restart. What is still answered of them is [`Retained`].
    pub restarted: HashSet<SourceId>,
    /// Members of the new configuration whose probes restart. Their instances are [`Retained`] if
    /// they were probed before.
    pub probed: HashSet<Member>,
    /// How fresh the state is that each watch has delivered, before any source stops.
    pub freshness: Vec<(Arc<WatchSubject>, Freshness)>,
}

/// The members of one service, in the order of the file.
type MemberRules<'c> = Vec<(Member, &'c MemberRule)>;

impl Catalog {
    /// Moves to another configuration, and returns what restarted sources need to know.
    ///
    /// Afterwards [`snapshot`](Self::snapshot) is a new, fully compiled snapshot. Readers of the
    /// old one see it unchanged.
    ///
    /// - A member keeps its state if its rule is the same, wherever in `from` it is now. Otherwise
    ///   it keeps the state of the member that had its place until its source sends a `Reset`,
    ///   which replaces by difference, so nothing goes empty in between.
    /// - A member that has neither is not synced. A removed member is gone, but a service without
    ///   any synced member keeps its old instances until its new source syncs.
    /// - A service that stays keeps its rotation. An import keeps its names. It stays synced if it
    ///   has the same list.
    ///
    /// Updates sent under the old configuration must be applied first: afterwards, a member may
    /// mean another source query.
    pub fn reconfigure(&mut self, change: &Reconfiguration) -> Retained {
        self.note_freshness(&change.freshness);
        let mut next = Self::unpublished(&change.to, change.serial);
        (next.began, next.now) = (self.began, self.now);
        if let Some(log) = self.change_log.take() {
            next.change_log = Some(ChangeLog { config: Some(Arc::clone(&change.to)), ..log });
        }
        let mut probed_before = HashSet::new();
        let before = rules(&change.from);
        for (name, rules) in rules(&change.to) {
            if let (Some(old), Some(new)) = (self.services.get_mut(name), next.services.get_mut(name)) {
                let before = before.get(name).map(Vec::as_slice).unwrap_or_default();
                carry_members(before, old, &rules, new, &mut probed_before);
                keep_old_instances(old, new);
                new.withdrawn = std::mem::take(&mut old.withdrawn);
            }
        }
        let synced = self.carry_imports(change, &mut next);
        for (member, state) in &mut next.clients {
            *state = self.clients.remove(member).unwrap_or_default();
        }
        self.carry_owner_names(&mut next);
        next.index_clients();
        next.publish_at(next.now);
        // Names first, as when an import syncs.
        for import in &synced {
            if let Some((zone, _)) = next.snapshot.zone(import.apex.wire()) {
                next.snapshot.import_synced(zone);
            }
        }
        *self = next;
        self.retained(change, &probed_before)
    }

    /// Notes since when members and imports are stale, so that it moves along with their state.
    ///
    /// State without a watch keeps its time: after a restart, an import's names have no watches
    /// until the import has synced.
    fn note_freshness(&mut self, freshness: &[(Arc<WatchSubject>, Freshness)]) {
        for (subject, freshness) in freshness {
            let stale_since = freshness.stale_since();
            match &**subject {
                WatchSubject::Members(members) => {
                    for member in members {
                        if let Some(state) = self.member_state(member) {
                            state.stale_since = stale_since;
                        }
                    }
                }
                WatchSubject::Import(import) => {
                    if let Some(state) = self.imports.get_mut(import) {
                        state.stale_since = stale_since;
                    }
                }
            }
        }
    }

    /// Carries over the names of imports and their members; returns the imports that stay synced.
    fn carry_imports(&mut self, change: &Reconfiguration, next: &mut Self) -> Vec<Import> {
        let mut synced = Vec::new();
        let mut carried = Vec::new();
        for (import, old, is_same) in pair_imports(change) {
            let (Some(old), Some(new)) = (self.imports.remove(&old), next.imports.get_mut(&import)) else {
                continue;
            };
            new.synced = old.synced && is_same;
            new.stale_since = old.stale_since;
            if new.synced {
                synced.push(import.clone());
            }
            new.services.clone_from(&old.services);
            carried.push((import, old.services));
        }
        for (import, names) in carried {
            for name in names {
                self.carry_imported(&import, name, next);
            }
        }
        synced
    }

    /// Carries over one name of an import. If a zone file has it now, the import's member is kept
    /// aside.
    fn carry_imported(&mut self, import: &Import, name: Name, next: &mut Self) {
        let member = Member { service: name.clone(), source: import.source.clone(), place: Member::IMPORTED };
        let of_service =
            |services: &mut HashMap<Name, ServiceState>| services.get_mut(&name)?.members.remove(&member);
        let before = self.shadowed.remove(&member).or_else(|| of_service(&mut self.services));
        next.add_imported_member(member.clone(), import);
        let before = before.unwrap_or_default();
        if let Some(state) = next.shadowed.get_mut(&member) {
            *state = before;
        } else if let Some(new) = next.services.get_mut(&name)
            && let Some(state) = new.members.get_mut(&member)
        {
            *state = before;
            if let Some(old) = self.services.get_mut(&name) {
                keep_old_instances(old, new);
            }
        }
        next.settle_policy(&name, import);
    }

    /// Lets every name that stays keep its cursors and, if its tiers are the same, the tiers in
    /// use.
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

    /// Collects what is retained of the sources that restart.
    fn retained(&self, change: &Reconfiguration, probed_before: &HashSet<Member>) -> Retained {
        let mut retained = Retained::default();
        let of_services = self.services.values().flat_map(|service| &service.members);
        let members = of_services.chain(&self.clients).chain(&self.shadowed);
        for (member, state) in members.filter(|(_, state)| state.synced) {
            if change.restarted.contains(&member.source) {
                retained.members.insert(member.clone(), state.stale_since.unwrap_or(self.now));
            }
            if change.probed.contains(member) && probed_before.contains(member) {
                retained.instances.insert(member.clone(), state.source_words());
            }
        }
        for (import, state) in &self.imports {
            if change.restarted.contains(&import.source) && (state.synced || !state.services.is_empty()) {
                let stale_since = state.stale_since.unwrap_or(self.now);
                let entry = RetainedImport { is_complete: state.synced, stale_since };
                retained.imports.insert(import.clone(), entry);
            }
        }
        retained
    }
}

/// The members of every configured service.
fn rules(config: &Config) -> HashMap<&Name, MemberRules<'_>> {
    let services = config.namespaces.iter().flat_map(|namespace| &namespace.services);
    services.map(|service| (&service.name, service.members().collect())).collect()
}

/// Whether two imports of one namespace have the same list of names.
fn has_same_list(one: &ImportRule, other: &ImportRule) -> bool {
    (&one.source, &one.include, &one.exclude) == (&other.source, &other.include, &other.exclude)
}

/// The imports of the new configuration, each with the import of the old one that it continues and
/// whether that has the same list.
///
/// All imports with the same list are paired first, so that a new one that takes the place of
/// another does not take its names.
fn pair_imports(change: &Reconfiguration) -> Vec<(Import, Import, bool)> {
    let mut before: Vec<_> = change.from.namespaces.iter().flat_map(Namespace::imports).collect();
    let mut after: Vec<_> = change.to.namespaces.iter().flat_map(Namespace::imports).collect();
    let mut pairs = Vec::new();
    type Pass = fn(&(Import, &ImportRule), &(Import, &ImportRule)) -> bool;
    let has_same_names: Pass = |(old, was), (new, rule)| old.apex == new.apex && has_same_list(was, rule);
    let is_in_place: Pass = |(old, _), (new, _)| old == new;
    let is_unchanged: Pass = |(old, was), (new, rule)| old == new && has_same_list(was, rule);
    for (is_pair, is_same) in [(is_unchanged, true), (has_same_names, true), (is_in_place, false)] {
        after.retain(|new| {
            let Some(at) = before.iter().position(|old| is_pair(old, new)) else { return true };
            let (old, _) = before.swap_remove(at);
            pairs.push((new.0.clone(), old, is_same));
            false
        });
    }
    pairs
}

/// Hands the state of old members to new members with the same rule, then to those in the same
/// place.
fn carry_members(
    before: &[(Member, &MemberRule)],
    old: &mut ServiceState,
    rules: &MemberRules<'_>,
    new: &mut ServiceState,
    probed_before: &mut HashSet<Member>,
) {
    let mut put = |member: &Member, was: &MemberRule, before: MemberState| {
        if is_probed(was) {
            probed_before.insert(member.clone());
        }
        if let Some(state) = new.members.get_mut(member) {
            *state = before;
        }
    };
    let mut others = Vec::new();
    for (member, rule) in rules {
        let mut same = before.iter().filter(|(_, was)| was == rule);
        let in_place = same.clone().find(|(old, _)| old == member);
        match in_place.or_else(|| same.find(|(key, _)| old.members.contains_key(key))) {
            Some((key, was)) => match old.members.remove(key) {
                Some(before) => put(member, was, before),
                None => others.push(member),
            },
            None => others.push(member),
        }
    }
    for member in others {
        let was = before.iter().find(|(old, _)| old == member);
        if let (Some((_, was)), Some(before)) = (was, old.members.remove(member)) {
            put(member, was, before);
        }
    }
}

/// Lets a service without a synced member keep all its old instances, as those of its first member.
///
/// So a service that moves to another source is answered all the while. The instances go when that
/// member syncs.
fn keep_old_instances(old: &ServiceState, new: &mut ServiceState) {
    if new.members.values().any(|state| state.synced) {
        return;
    }
    // Ids are unique within a member only.
    let key = |member: &Member, id: &str| format!("{} {} {id}", member.source, member.place).into();
    let instances: MemberInstances = old
        .members
        .iter()
        .filter(|(_, state)| state.synced)
        .flat_map(|(member, state)| {
            state.instances.values().map(move |dated| (key(member, &dated.instance.id), dated.clone()))
        })
        .collect();
    if let Some(state) = new.members.values_mut().next()
        && !instances.is_empty()
    {
        state.synced = true;
        state.instances = instances;
        state.stale_since = old.members.values().filter_map(|state| state.stale_since).min();
    }
}

fn is_probed(rule: &MemberRule) -> bool {
    matches!(&rule.query, SourceQuery::Static(member) if member.check.is_some())
}

#[cfg(test)]
mod tests;
