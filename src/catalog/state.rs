//! The catalog's own state: each member's last word.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map},
    sync::Arc,
};

use super::{
    compile::compile,
    merge::merge,
    rotation::{RotationIds, ServiceRotations},
    snapshot::{Snapshot, Zone},
};
use crate::{
    config::{Config, Namespace, Shape},
    model::{Health, Import, Instance, Member, Name, Update},
};

/// What every source said, by service and member, and the zones that it is published to.
#[derive(Debug)]
pub struct Catalog {
    pub(super) services: HashMap<Name, ServiceState>,
    pub(super) imports: HashMap<Import, ImportState>,
    pub(super) snapshot: Snapshot,
    pub(super) rotation_ids: RotationIds,
    touched: BTreeSet<Name>,
    health: HealthCounts,
}

/// How many candidates there are in each state, in the order of [`Health::ALL`].
pub type HealthCounts = [usize; Health::ALL.len()];

#[derive(Debug)]
pub(super) struct ServiceState {
    apex: Name,
    shape: Shape,
    /// Whether the zone's file names it; if not, it lives as long as an import lists it.
    pub(super) configured: bool,
    pub(super) members: BTreeMap<Member, MemberState>,
    pub(super) rotations: ServiceRotations,
    health: HealthCounts,
}

#[derive(Debug, Default)]
pub(super) struct MemberState {
    pub(super) heard: bool,
    pub(super) instances: BTreeMap<Arc<str>, Instance>,
}

#[derive(Debug)]
pub(super) struct ImportState {
    shape: Shape,
    pub(super) heard: bool,
    pub(super) services: HashSet<Name>,
}

impl Catalog {
    /// Makes the catalog of a configuration, in which nothing has been heard yet.
    ///
    /// `serial` is the SOA serial of all zones.
    pub fn new(config: &Config, serial: u32) -> Self {
        let mut catalog = Self::unpublished(config, serial);
        catalog.publish();
        catalog
    }

    /// As [`new`](Self::new), with everything still to be compiled.
    pub(super) fn unpublished(config: &Config, serial: u32) -> Self {
        let zones = config.namespaces.iter().map(|namespace| zone(namespace, serial));
        let mut catalog = Self {
            services: HashMap::new(),
            imports: HashMap::new(),
            snapshot: Snapshot::new(zones),
            rotation_ids: RotationIds::default(),
            touched: BTreeSet::new(),
            health: HealthCounts::default(),
        };
        for namespace in &config.namespaces {
            catalog.add_namespace(namespace);
        }
        catalog
    }

    /// The snapshot that this catalog publishes to.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    /// How many services there are.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// How many instances there are in each state, in the order of [`Health::ALL`].
    pub fn health_counts(&self) -> HealthCounts {
        self.health
    }

    /// Takes in one update. What it changes is answered after the next [`publish`](Self::publish).
    pub fn apply(&mut self, update: Update) {
        match update {
            Update::Reset { member, instances } => self.change_member(&member, |state| {
                let instances = instances.into_iter().map(|i| (Arc::clone(&i.id), i)).collect();
                let changed = !state.heard || state.instances != instances;
                *state = MemberState { heard: true, instances };
                changed
            }),
            Update::Upsert { member, instance } => self.change_member(&member, |state| {
                let before = state.instances.get(&instance.id);
                let changed = before != Some(&instance);
                if changed {
                    state.instances.insert(Arc::clone(&instance.id), instance);
                }
                changed
            }),
            Update::Remove { member, id } => {
                self.change_member(&member, |state| state.instances.remove(&id).is_some());
            }
            Update::Expired { member } => self.change_member(&member, |state| {
                let changed = state.heard;
                *state = MemberState::default();
                changed
            }),
            Update::Imported { import, services } => self.imported(&import, services.into_iter().collect()),
            Update::ImportExpired { import } => {
                if let Some(state) = self.imports.get_mut(&import)
                    && std::mem::take(&mut state.heard)
                    && let Some((zone, _)) = self.snapshot.zone(import.apex.as_wire())
                {
                    self.snapshot.import_expired(zone);
                }
            }
        }
    }

    /// Compiles every service that has changed since the last time and puts it before the readers.
    ///
    /// Returns how many services were compiled.
    pub fn publish(&mut self) -> usize {
        let touched = std::mem::take(&mut self.touched);
        for name in &touched {
            self.publish_one(name);
        }
        touched.len()
    }

    fn add_namespace(&mut self, namespace: &Namespace) {
        let apex = &namespace.apex;
        for service in &namespace.services {
            let members = service.members().map(|(member, _)| member);
            self.add_service(&service.name, apex, service.shape.clone(), true, members);
        }
        for (import, rule) in namespace.imports() {
            let state = ImportState { shape: rule.shape.clone(), heard: false, services: HashSet::new() };
            self.imports.insert(import, state);
        }
    }

    fn add_service(
        &mut self,
        name: &Name,
        apex: &Name,
        shape: Shape,
        configured: bool,
        members: impl Iterator<Item = Member>,
    ) {
        let state = ServiceState {
            apex: apex.clone(),
            shape,
            configured,
            members: members.map(|member| (member, MemberState::default())).collect(),
            rotations: ServiceRotations::take(&mut self.rotation_ids),
            health: HealthCounts::default(),
        };
        self.services.insert(name.clone(), state);
        self.touched.insert(name.clone());
        self.snapshot.count_empty_non_terminals(name, apex, 1);
    }

    /// Lets `change` change what a member said; an update of a member that is not followed (any more) is dropped.
    fn change_member(&mut self, member: &Member, change: impl FnOnce(&mut MemberState) -> bool) {
        if let Some(service) = self.services.get_mut(&member.service)
            && let Some(state) = service.members.get_mut(member)
            && change(state)
            && !self.touched.contains(&member.service)
        {
            self.touched.insert(member.service.clone());
        }
    }

    fn imported(&mut self, import: &Import, services: HashSet<Name>) {
        let Some(state) = self.imports.get_mut(import) else { return };
        let before = std::mem::replace(&mut state.services, services.clone());
        let first_word = !std::mem::replace(&mut state.heard, true);
        let member_of = |name: &Name| Member {
            service: name.clone(),
            source: import.source.clone(),
            place: Member::IMPORTED,
        };
        for name in before.difference(&services) {
            let elsewhere = self.listed_by(name, import).any(|(other, _)| other.source == import.source);
            if !elsewhere {
                self.drop_imported_member(&member_of(name));
            }
        }
        for name in &services {
            self.add_imported_member(member_of(name), import);
        }
        for name in before.union(&services) {
            self.settle_shape(name, import);
        }
        // Names first, then the end of not knowing: a reader in between sees SERVFAIL, never a wrong NXDOMAIN.
        self.publish();
        if first_word && let Some((zone, _)) = self.snapshot.zone(import.apex.as_wire()) {
            self.snapshot.import_heard(zone);
        }
    }

    /// The imports of `near`'s namespace that list `name`, in no particular order.
    fn listed_by<'a>(
        &'a self,
        name: &'a Name,
        near: &'a Import,
    ) -> impl Iterator<Item = (&'a Import, &'a ImportState)> {
        self.imports
            .iter()
            .filter(move |(import, state)| import.apex == near.apex && state.services.contains(name))
    }

    /// Where several imports list a name, the first of the file says what its answers look like, whoever was heard first.
    pub(super) fn settle_shape(&mut self, name: &Name, near: &Import) {
        let first = self.listed_by(name, near).min_by_key(|(import, _)| (import.place, &import.source));
        let Some(shape) = first.map(|(_, state)| state.shape.clone()) else { return };
        if let Some(service) = self.services.get_mut(name)
            && !service.configured
            && service.shape != shape
        {
            service.shape = shape;
            self.touched.insert(name.clone());
        }
    }

    /// Adds an import's member to a service; a service that the zone's file names is the file's alone.
    pub(super) fn add_imported_member(&mut self, member: Member, import: &Import) {
        let name = member.service.clone();
        match self.services.get_mut(&name) {
            Some(service) if service.configured => {}
            Some(service) => {
                if let btree_map::Entry::Vacant(place) = service.members.entry(member) {
                    place.insert(MemberState::default());
                    self.touched.insert(name);
                }
            }
            None => {
                let Some(state) = self.imports.get(import) else { return };
                let shape = state.shape.clone();
                self.add_service(&name, &import.apex, shape, false, std::iter::once(member));
            }
        }
    }

    fn drop_imported_member(&mut self, member: &Member) {
        if let Some(service) = self.services.get_mut(&member.service)
            && !service.configured
            && service.members.remove(member).is_some()
        {
            self.touched.insert(member.service.clone());
        }
    }

    fn publish_one(&mut self, name: &Name) {
        let Some(service) = self.services.get_mut(name) else { return };
        if service.members.is_empty() {
            self.snapshot.take_out(name);
            if let Some(service) = self.services.remove(name) {
                replace_counts(&mut self.health, &service.health, &HealthCounts::default());
                self.snapshot.count_empty_non_terminals(name, &service.apex, -1);
                service.rotations.give_back(&mut self.rotation_ids);
            }
            return;
        }
        // The longest apex wins: a name that another namespace covers is that one's.
        let Some((zone, _)) =
            self.snapshot.zone(name.as_wire()).filter(|(zone, _)| zone.apex == service.apex)
        else {
            return;
        };
        let reports = service
            .members
            .iter()
            .flat_map(|(member, state)| state.instances.values().map(move |instance| (member, instance)));
        let candidates = merge(reports);
        let complete = service.members.values().all(|member| member.heard);
        let mut counts = HealthCounts::default();
        for candidate in &candidates {
            if let Some(count) = counts.get_mut(candidate.health as usize) {
                *count += 1;
            }
        }
        replace_counts(&mut self.health, &service.health, &counts);
        service.health = counts;
        let compiled = compile(
            name,
            zone,
            &service.shape,
            complete,
            &candidates,
            &mut service.rotations,
            &mut self.rotation_ids,
        );
        self.snapshot.put(compiled);
    }
}

/// Takes one service's `old` counts out of the total and puts the `new` ones in.
fn replace_counts(total: &mut HealthCounts, old: &HealthCounts, new: &HealthCounts) {
    for ((total, old), new) in total.iter_mut().zip(old).zip(new) {
        *total = (*total + new).saturating_sub(*old);
    }
}

fn zone(namespace: &Namespace, serial: u32) -> Zone {
    let apex = &namespace.apex;
    let (ns, built_in_ns) = match namespace.ns.as_slice() {
        [] => (apex.child(b"ns").ok().into_iter().collect(), true),
        configured => (configured.to_vec(), false),
    };
    Zone {
        apex: apex.clone(),
        negative_ttl: namespace.negative_ttl,
        ttl: namespace.ttl,
        serial,
        ns,
        built_in_ns,
        hostmaster: namespace.hostmaster.clone(),
        truncate: namespace.truncate,
        unsynced_imports: namespace.imports.len().into(),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
