//! The catalog's own state: each member's last word.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map},
    sync::Arc,
    time::Instant,
};

use super::{
    browse,
    clients::ClientIndex,
    compile::Compiler,
    links::{LinkIndex, ServiceLinks},
    merge::merge,
    reverse,
    rotation::{RotationIds, ServiceRotations},
    snapshot::{Snapshot, Zone, ZoneKind},
};
use crate::{
    config::{Alias, Config, Namespace},
    model::{Health, Import, Instance, Member, Name, Update},
    policy::{self, Localities, Memory, Rules},
};

/// What every source said, by service and member, and the zones that it is published to.
#[derive(Debug)]
pub struct Catalog {
    pub(super) services: HashMap<Name, ServiceState>,
    pub(super) imports: HashMap<Import, ImportState>,
    /// What sources say of who asks, beside the instances of services.
    pub(super) clients: BTreeMap<Member, MemberState>,
    pub(super) client_index: ClientIndex,
    link_index: LinkIndex,
    pub(super) snapshot: Snapshot,
    pub(super) rotation_ids: RotationIds,
    touched: BTreeSet<Name>,
    /// Services that have to be compiled again at some time, though nothing changes.
    due: BTreeSet<(Instant, Name)>,
    health: HealthCounts,
    /// The services of the names that are not their first.
    pub(super) further: HashMap<Name, Name>,
    /// When the first catalog began, and what time it is since: instances are dated with it.
    pub(super) began: Instant,
    pub(super) now: Instant,
}

/// How many candidates there are in each state, in the order of [`Health::ALL`].
pub type HealthCounts = [usize; Health::ALL.len()];

#[derive(Debug)]
pub(super) struct ServiceState {
    pub(super) apex: Name,
    /// Whether the zone's file names it; if not, it lives as long as an import lists it.
    pub(super) configured: bool,
    pub(super) members: BTreeMap<Member, MemberState>,
    /// Its own name, then the further names that its instances have.
    pub(super) faces: Vec<Face>,
    pub(super) health: HealthCounts,
    links: ServiceLinks,
    /// When it is among the [`Catalog::due`].
    due: Option<Instant>,
}

/// One name that a service's instances are answered under.
#[derive(Debug)]
pub(super) struct Face {
    pub(super) name: Name,
    pub(super) rules: Arc<Rules>,
    /// The name outside of which it is another name.
    pub(super) alias: Option<Name>,
    pub(super) rotations: ServiceRotations,
    pub(super) memory: Memory,
}

impl ServiceState {
    /// What its members say of it.
    pub(super) fn reports(&self) -> impl Iterator<Item = (&Member, &Instance)> {
        let of = |(member, state)| reports_of(member, state);
        self.members.iter().flat_map(of)
    }

    /// Whether every member has been heard.
    pub(super) fn is_complete(&self) -> bool {
        self.members.values().all(|member| member.heard)
    }
}

fn reports_of<'s>(
    member: &'s Member,
    state: &'s MemberState,
) -> impl Iterator<Item = (&'s Member, &'s Instance)> {
    state.instances.values().map(move |held| (member, &held.instance))
}

impl Face {
    fn new(name: Name, rules: Arc<Rules>) -> Self {
        Self { name, rules, alias: None, rotations: ServiceRotations::default(), memory: Memory::default() }
    }
}

#[derive(Debug, Default)]
pub(super) struct MemberState {
    pub(super) heard: bool,
    pub(super) instances: Held,
}

/// The instances of one member, by id.
pub(super) type Held = BTreeMap<Arc<str>, HeldInstance>;

/// An instance, and since when it has been in its state of health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeldInstance {
    pub(super) instance: Instance,
    /// In seconds since the catalog began: there may be a million of these.
    pub(super) since: u32,
}

impl HeldInstance {
    fn new(instance: Instance, before: Option<&Self>, now: u32) -> Self {
        let same = before.filter(|before| before.instance.health == instance.health);
        Self { since: same.map_or(now, |before| before.since), instance }
    }
}

#[derive(Debug)]
pub(super) struct ImportState {
    rules: Arc<Rules>,
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
        // Of two zones of one name the last counts: a namespace goes before a reverse zone.
        let reverse = config.reverse.iter().filter_map(|network| reverse::zone(network, serial));
        let zones = reverse.chain(config.namespaces.iter().map(|namespace| zone(namespace, serial)));
        let localities = Arc::new(Localities::new(&config.localities));
        let now = Instant::now();
        let identifying = config.kubernetes.iter().filter(|source| source.identify_clients);
        let mut catalog = Self {
            services: HashMap::new(),
            imports: HashMap::new(),
            clients: identifying
                .map(|source| (Member::clients(source.id.clone()), MemberState::default()))
                .collect(),
            client_index: ClientIndex::new(config),
            link_index: LinkIndex::new(&config.reverse),
            snapshot: Snapshot::new(zones, localities),
            rotation_ids: RotationIds::default(),
            touched: BTreeSet::new(),
            due: BTreeSet::new(),
            health: HealthCounts::default(),
            further: HashMap::new(),
            began: now,
            now,
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

    /// Tells what time it is: what is applied from now on is dated with it.
    pub fn set_time(&mut self, now: Instant) {
        self.now = now;
    }

    /// Seconds since the first catalog began.
    pub(super) fn seconds(&self) -> u32 {
        u32::try_from(self.now.saturating_duration_since(self.began).as_secs()).unwrap_or(u32::MAX)
    }

    /// Takes in one update. What it changes is answered after the next [`publish`](Self::publish).
    pub fn apply(&mut self, update: Update) {
        let now = self.seconds();
        match update {
            Update::Reset { member, instances } => self.change_member(&member, |state, index| {
                let held = |i: Instance| {
                    let before = state.instances.get(&i.id);
                    (Arc::clone(&i.id), HeldInstance::new(i, before, now))
                };
                let instances: Held = instances.into_iter().map(held).collect();
                let changed = !state.heard || state.instances != instances;
                if changed {
                    note_all(index, &member, &state.instances, &instances);
                    *state = MemberState { heard: true, instances };
                }
                changed
            }),
            Update::Upsert { member, instance } => self.change_member(&member, |state, index| {
                let before = state.instances.get(&instance.id);
                let changed = before.is_none_or(|before| before.instance != instance);
                if changed {
                    index.note(&member, before.map(|before| &before.instance), Some(&instance));
                    let held = HeldInstance::new(instance, before, now);
                    state.instances.insert(Arc::clone(&held.instance.id), held);
                }
                changed
            }),
            Update::Remove { member, id } => self.change_member(&member, |state, index| {
                let removed = state.instances.remove(&id);
                index.note(&member, removed.as_ref().map(|held| &held.instance), None);
                removed.is_some()
            }),
            Update::Expired { member } => self.change_member(&member, |state, index| {
                let before = std::mem::take(state);
                note_all(index, &member, &before.instances, &BTreeMap::new());
                before.heard
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
        self.publish_at(Instant::now())
    }

    /// As [`publish`](Self::publish), at a time of the caller's.
    pub fn publish_at(&mut self, now: Instant) -> usize {
        self.set_time(now);
        self.publish_clients();
        while let Some((at, name)) = self.due.first()
            && *at <= now
        {
            self.touched.insert(name.clone());
            self.due.pop_first();
        }
        let touched = std::mem::take(&mut self.touched);
        for name in &touched {
            self.publish_one(name, now);
        }
        self.link_index.publish(&self.snapshot);
        touched.len()
    }

    /// When to publish next at the latest, even if no update comes.
    pub fn due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn add_namespace(&mut self, namespace: &Namespace) {
        let apex = &namespace.apex;
        for service in &namespace.services {
            let members = service.members().map(|(member, _)| member);
            let rules = Arc::new(Rules::of_service(service));
            let mut faces = vec![Face::new(service.name.clone(), Arc::clone(&rules))];
            if let Some(Alias::Outside(target)) = &service.alias {
                faces.iter_mut().for_each(|face| face.alias = Some(target.clone()));
            }
            faces.extend(
                service.names.iter().map(|subset| {
                    Face::new(subset.name.clone(), Arc::new(Rules::of_subset(service, subset)))
                }),
            );
            let aliases = namespace
                .services
                .iter()
                .filter(|other| other.alias.as_ref() == Some(&Alias::Service(service.name.clone())));
            faces.extend(
                aliases
                    .map(|alias| Face::new(alias.name.clone(), Arc::new(rules.shaped(alias.shape.clone())))),
            );
            if !matches!(service.alias, Some(Alias::Service(_))) {
                self.add_service(&service.name, apex, faces, true, members);
            }
        }
        if namespace.dns_sd
            && let Ok(kinds) = apex.join(browse::KINDS)
        {
            self.snapshot.count_empty_non_terminals(&kinds, apex, 1);
        }
        for (import, rule) in namespace.imports() {
            let rules = Arc::new(Rules::of_shape(rule.shape.clone()));
            let state = ImportState { rules, heard: false, services: HashSet::new() };
            self.imports.insert(import, state);
        }
    }

    fn add_service(
        &mut self,
        name: &Name,
        apex: &Name,
        faces: Vec<Face>,
        configured: bool,
        members: impl Iterator<Item = Member>,
    ) {
        self.further.extend(faces.iter().skip(1).map(|face| (face.name.clone(), name.clone())));
        for face in &faces {
            self.snapshot.count_empty_non_terminals(&face.name, apex, 1);
        }
        let state = ServiceState {
            apex: apex.clone(),
            configured,
            members: members.map(|member| (member, MemberState::default())).collect(),
            faces,
            health: HealthCounts::default(),
            links: ServiceLinks::default(),
            due: None,
        };
        self.services.insert(name.clone(), state);
        self.touched.insert(name.clone());
    }

    /// Lets `change` change what a member said; an update of a member that is not followed (any more) is dropped.
    fn change_member(
        &mut self,
        member: &Member,
        change: impl FnOnce(&mut MemberState, &mut ClientIndex) -> bool,
    ) {
        if let Some(state) = self.clients.get_mut(member) {
            change(state, &mut self.client_index);
        } else if let Some(service) = self.services.get_mut(&member.service)
            && let Some(state) = service.members.get_mut(member)
            && change(state, &mut self.client_index)
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
            self.settle_rules(name, import);
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
    pub(super) fn settle_rules(&mut self, name: &Name, near: &Import) {
        let first = self.listed_by(name, near).min_by_key(|(import, _)| (import.place, &import.source));
        let Some(rules) = first.map(|(_, state)| Arc::clone(&state.rules)) else { return };
        if let Some(service) = self.services.get_mut(name)
            && !service.configured
            && let Some(face) = service.faces.first_mut()
            && face.rules != rules
        {
            face.rules = rules;
            self.touched.insert(name.clone());
        }
    }

    /// Adds an import's member to a service; a name that the zone's file has, be it a further one, is the file's alone.
    pub(super) fn add_imported_member(&mut self, member: Member, import: &Import) {
        let name = member.service.clone();
        if self.further.contains_key(&name) {
            return;
        }
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
                let face = Face::new(name.clone(), Arc::clone(&state.rules));
                self.add_service(&name, &import.apex, vec![face], false, std::iter::once(member));
            }
        }
    }

    fn drop_imported_member(&mut self, member: &Member) {
        if let Some(service) = self.services.get_mut(&member.service)
            && !service.configured
            && let Some(state) = service.members.remove(member)
        {
            note_all(&mut self.client_index, member, &state.instances, &BTreeMap::new());
            self.touched.insert(member.service.clone());
        }
    }

    /// Indexes who asks from all that is known.
    pub(super) fn index_clients(&mut self) {
        let members = self.services.values().flat_map(|service| &service.members).chain(&self.clients);
        for (member, state) in members {
            note_all(&mut self.client_index, member, &BTreeMap::new(), &state.instances);
        }
    }

    /// Publishes what is known of the addresses whose instances have changed.
    fn publish_clients(&mut self) {
        let (services, clients) = (&self.services, &self.clients);
        let find = |member: &Member, id: &Arc<str>| {
            let of_service = || services.get(&member.service)?.members.get(member);
            clients.get(member).or_else(of_service)?.instances.get(id).map(|held| &held.instance)
        };
        for (address, known) in self.client_index.changed(self.snapshot.localities(), find) {
            self.snapshot.put_client(address, known);
        }
    }

    fn publish_one(&mut self, name: &Name, now: Instant) {
        let Some(service) = self.services.get_mut(name) else { return };
        if service.members.is_empty() && !service.configured {
            if let Some(service) = self.services.remove(name) {
                replace_counts(&mut self.health, &service.health, &HealthCounts::default());
                self.link_index.clear(service.links);
                if let Some(at) = service.due {
                    self.due.remove(&(at, name.clone()));
                }
                for face in service.faces {
                    self.snapshot.take_out(&face.name);
                    self.snapshot.count_empty_non_terminals(&face.name, &service.apex, -1);
                    face.rotations.give_back(&mut self.rotation_ids);
                }
            }
            return;
        }
        // The longest apex wins: a name that another namespace covers is that one's.
        let Some((zone, _)) =
            self.snapshot.zone(name.as_wire()).filter(|(zone, _)| zone.apex == service.apex)
        else {
            return;
        };
        let candidates = merge(service.reports(), self.snapshot.localities());
        let complete = service.is_complete();
        let mut counts = HealthCounts::default();
        for candidate in &candidates {
            if let Some(count) = counts.get_mut(candidate.health as usize) {
                *count += 1;
            }
        }
        replace_counts(&mut self.health, &service.health, &counts);
        service.health = counts;
        self.link_index.set(&mut service.links, (name, zone), &candidates, complete);
        let mut due = None;
        for face in &mut service.faces {
            let localities = self.snapshot.localities();
            let rules = &face.rules;
            let plan = policy::plan(rules, &candidates, localities, &mut face.memory, complete, now);
            let compiler = Compiler {
                name: &face.name,
                zone,
                shape: &rules.shape,
                complete,
                tests: &self.client_index.tests,
                rotations: &mut face.rotations,
                ids: &mut self.rotation_ids,
            };
            let compiled = match &face.alias {
                Some(target) => compiler.alias(target),
                None => compiler.compile(&candidates, &plan),
            };
            self.snapshot.put(compiled);
            due = [due, plan.until].into_iter().flatten().min();
        }
        if let Some(before) = std::mem::replace(&mut service.due, due) {
            self.due.remove(&(before, name.clone()));
        }
        self.due.extend(due.map(|at| (at, name.clone())));
    }
}

/// Notes every instance that differs between two lists of one member.
fn note_all(index: &mut ClientIndex, member: &Member, before: &Held, after: &Held) {
    for (id, held) in before {
        index.note(member, Some(&held.instance), after.get(id).map(|held| &held.instance));
    }
    for (_, held) in after.iter().filter(|(id, _)| !before.contains_key(*id)) {
        index.note(member, None, Some(&held.instance));
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
        kind: if namespace.dns_sd { ZoneKind::Browsed } else { ZoneKind::Services },
        unsynced_imports: namespace.imports.len().into(),
        incomplete: 0.into(),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
