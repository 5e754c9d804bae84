//! The catalog's own state: each member's last word.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{
    clients::ClientIndex,
    dns_sd,
    reverse_index::{ReverseEntries, ReverseIndex},
    reverse_name,
    rotation::{RotationIds, ServiceRotations},
    snapshot::Snapshot,
    zone::{Zone, ZoneKind},
};
use crate::{
    config::{AliasTarget, Config, Namespace},
    model::{Health, Import, Instance, Member, Name, Update},
    policy::{Localities, Memory, Policy},
};

/// What every source said, by service and member, and the zones that it is published to.
#[derive(Debug)]
pub struct Catalog {
    pub(super) services: HashMap<Name, ServiceState>,
    pub(super) imports: HashMap<Import, ImportState>,
    /// What sources say of who asks, beside the instances of services.
    pub(super) clients: BTreeMap<Member, MemberState>,
    pub(super) client_index: ClientIndex,
    pub(super) reverse_index: ReverseIndex,
    pub(super) snapshot: Snapshot,
    pub(super) rotation_ids: RotationIds,
    pub(super) touched: BTreeSet<Name>,
    /// Services that have to be compiled again at some time, though nothing changes.
    pub(super) due: BTreeSet<(Instant, Name)>,
    pub(super) health: HealthCounts,
    /// The services of the names that are not their first.
    pub(super) additional_names: HashMap<Name, Name>,
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
    /// Its own name, then the aliases and subset names that its instances have.
    pub(super) owner_names: Vec<OwnerName>,
    pub(super) health: HealthCounts,
    pub(super) reverse_entries: ReverseEntries,
    /// When it is among the [`Catalog::due`].
    pub(super) due: Option<Instant>,
}

/// One name that a service's instances are answered under.
#[derive(Debug)]
pub(super) struct OwnerName {
    pub(super) name: Name,
    pub(super) policy: Arc<Policy>,
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
    pub(super) fn all_synced(&self) -> bool {
        self.members.values().all(|member| member.synced)
    }
}

fn reports_of<'s>(
    member: &'s Member,
    state: &'s MemberState,
) -> impl Iterator<Item = (&'s Member, &'s Instance)> {
    state.instances.values().map(move |held| (member, &held.instance))
}

impl OwnerName {
    pub(super) fn new(name: Name, policy: Arc<Policy>) -> Self {
        Self { name, policy, alias: None, rotations: ServiceRotations::default(), memory: Memory::default() }
    }
}

#[derive(Debug, Default)]
pub(super) struct MemberState {
    pub(super) synced: bool,
    pub(super) instances: MemberInstances,
}

/// The instances of one member, by id.
pub(super) type MemberInstances = BTreeMap<Arc<str>, DatedInstance>;

/// An instance, and since when it has been in its state of health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DatedInstance {
    pub(super) instance: Instance,
    /// In seconds since the catalog began: there may be a million of these.
    pub(super) since: u32,
}

impl DatedInstance {
    fn new(instance: Instance, before: Option<&Self>, now: u32) -> Self {
        let same = before.filter(|before| before.instance.health == instance.health);
        Self { since: same.map_or(now, |before| before.since), instance }
    }
}

#[derive(Debug)]
pub(super) struct ImportState {
    pub(super) policy: Arc<Policy>,
    pub(super) synced: bool,
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
        let reverse = config.reverse.iter().filter_map(|network| reverse_name::zone(network, serial));
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
            reverse_index: ReverseIndex::new(&config.reverse),
            snapshot: Snapshot::new(zones, localities),
            rotation_ids: RotationIds::default(),
            touched: BTreeSet::new(),
            due: BTreeSet::new(),
            health: HealthCounts::default(),
            additional_names: HashMap::new(),
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
                    (Arc::clone(&i.id), DatedInstance::new(i, before, now))
                };
                let instances: MemberInstances = instances.into_iter().map(held).collect();
                let changed = !state.synced || state.instances != instances;
                if changed {
                    note_all(index, &member, &state.instances, &instances);
                    *state = MemberState { synced: true, instances };
                }
                changed
            }),
            Update::Upsert { member, instance } => self.change_member(&member, |state, index| {
                let before = state.instances.get(&instance.id);
                let changed = before.is_none_or(|before| before.instance != instance);
                if changed {
                    index.note(&member, before.map(|before| &before.instance), Some(&instance));
                    let held = DatedInstance::new(instance, before, now);
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
                before.synced
            }),
            Update::Imported { import, services } => self.imported(&import, services.into_iter().collect()),
            Update::ImportExpired { import } => {
                if let Some(state) = self.imports.get_mut(&import)
                    && std::mem::take(&mut state.synced)
                    && let Some((zone, _)) = self.snapshot.zone(import.apex.as_wire())
                {
                    self.snapshot.import_expired(zone);
                }
            }
        }
    }

    fn add_namespace(&mut self, namespace: &Namespace) {
        let apex = &namespace.apex;
        for service in &namespace.services {
            let members = service.members().map(|(member, _)| member);
            let policy = Arc::new(Policy::of_service(service));
            let mut owner_names = vec![OwnerName::new(service.name.clone(), Arc::clone(&policy))];
            if let Some(AliasTarget::External(target)) = &service.alias {
                owner_names.iter_mut().for_each(|owner_name| owner_name.alias = Some(target.clone()));
            }
            owner_names.extend(service.names.iter().map(|subset| {
                OwnerName::new(subset.name.clone(), Arc::new(Policy::of_subset(service, subset)))
            }));
            let aliases = namespace
                .services
                .iter()
                .filter(|other| other.alias.as_ref() == Some(&AliasTarget::Service(service.name.clone())));
            owner_names.extend(aliases.map(|alias| {
                OwnerName::new(alias.name.clone(), Arc::new(policy.with_answers(alias.answers.clone())))
            }));
            if !matches!(service.alias, Some(AliasTarget::Service(_))) {
                self.add_service(&service.name, apex, owner_names, true, members);
            }
        }
        if namespace.dns_sd
            && let Ok(kinds) = apex.join(dns_sd::KINDS)
        {
            self.snapshot.count_empty_non_terminals(&kinds, apex, 1);
        }
        for (import, rule) in namespace.imports() {
            let policy = Arc::new(Policy::of_answers(rule.answers.clone()));
            let state = ImportState { policy, synced: false, services: HashSet::new() };
            self.imports.insert(import, state);
        }
    }

    pub(super) fn add_service(
        &mut self,
        name: &Name,
        apex: &Name,
        owner_names: Vec<OwnerName>,
        configured: bool,
        members: impl Iterator<Item = Member>,
    ) {
        self.additional_names
            .extend(owner_names.iter().skip(1).map(|owner_name| (owner_name.name.clone(), name.clone())));
        for owner_name in &owner_names {
            self.snapshot.count_empty_non_terminals(&owner_name.name, apex, 1);
        }
        let state = ServiceState {
            apex: apex.clone(),
            configured,
            members: members.map(|member| (member, MemberState::default())).collect(),
            owner_names,
            health: HealthCounts::default(),
            reverse_entries: ReverseEntries::default(),
            due: None,
        };
        self.services.insert(name.clone(), state);
        self.touched.insert(name.clone());
    }

    /// Lets `change` change what a member said; an update of a member that is not followed (any
    /// more) is dropped.
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

    /// Indexes who asks from all that is known.
    pub(super) fn index_clients(&mut self) {
        let members = self.services.values().flat_map(|service| &service.members).chain(&self.clients);
        for (member, state) in members {
            note_all(&mut self.client_index, member, &BTreeMap::new(), &state.instances);
        }
    }
}

/// Notes every instance that differs between two lists of one member.
pub(super) fn note_all(
    index: &mut ClientIndex,
    member: &Member,
    before: &MemberInstances,
    after: &MemberInstances,
) {
    for (id, held) in before {
        index.note(member, Some(&held.instance), after.get(id).map(|held| &held.instance));
    }
    for (_, held) in after.iter().filter(|(id, _)| !before.contains_key(*id)) {
        index.note(member, None, Some(&held.instance));
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
        unsynced_services: 0.into(),
    }
}

#[cfg(test)]
mod tests;
