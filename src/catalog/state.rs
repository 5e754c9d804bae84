//! The catalog's state: the last state of each member, and how updates change it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{
    change_log::ChangeLog,
    clients::ClientIndex,
    dns_sd,
    member_state::{DatedInstance, MemberInstances, MemberState, Report},
    merge::socket_keys,
    reverse_index::{ReverseEntries, ReverseIndex},
    reverse_name,
    rotation::{RotationIds, ServiceRotations},
    snapshot::Snapshot,
    withdrawn::Withdrawn,
    zone::Zone,
};
use crate::{
    config::{AliasTarget, Config, Namespace},
    model::{Health, Import, Instance, Member, Name, SourceId, Update},
    policy::{Coverage, Localities, Memory, Policy},
};

/// The last state of every member and import, and the snapshot that it is published to.
#[derive(Debug)]
pub struct Catalog {
    pub(super) services: HashMap<Name, ServiceState>,
    pub(super) imports: HashMap<Import, ImportState>,
    /// Members that imports have for names that belong to a zone file. They are not answered, but
    /// kept for when the file gives the name back: their watches send only changes then.
    pub(super) shadowed: HashMap<Member, MemberState>,
    /// Members whose instances only identify clients.
    pub(super) clients: BTreeMap<Member, MemberState>,
    pub(super) client_index: ClientIndex,
    pub(super) reverse_index: ReverseIndex,
    pub(super) snapshot: Snapshot,
    pub(super) rotation_ids: RotationIds,
    /// Services that have changed since the last publish.
    pub(super) touched: BTreeSet<Name>,
    /// When to compile services again even if nothing changes.
    pub(super) due: BTreeSet<(Instant, Name)>,
    pub(super) health: HealthCounts,
    /// From each alias and subset name to its service.
    pub(super) additional_names: HashMap<Name, Name>,
    /// When the first catalog began; instances are dated in seconds since then.
    pub(super) began: Instant,
    /// The time of the current batch of updates.
    pub(super) now: Instant,
    /// The changes since they were last taken; `None` if nothing takes it.
    pub(super) change_log: Option<ChangeLog>,
}

/// The number of candidates with each health, in the order of [`Health::ALL`].
pub type HealthCounts = [usize; Health::ALL.len()];

/// The state of one service.
#[derive(Debug)]
pub(super) struct ServiceState {
    pub(super) apex: Name,
    /// Whether a zone file names it. If not, it exists for as long as an import lists it.
    pub(super) configured: bool,
    pub(super) members: BTreeMap<Member, MemberState>,
    /// The query of each member of the file, in words.
    pub(super) queries: BTreeMap<Member, Box<str>>,
    /// Its own name, then its aliases and subset names.
    pub(super) owner_names: Vec<OwnerName>,
    pub(super) health: HealthCounts,
    pub(super) reverse_entries: ReverseEntries,
    /// Its time in [`Catalog::due`].
    pub(super) due: Option<Instant>,
    pub(super) withdrawn: Withdrawn,
}

/// A name that a service is answered under, with its own policy.
#[derive(Debug)]
pub(super) struct OwnerName {
    pub(super) name: Name,
    pub(super) policy: Arc<Policy>,
    /// The external name that it is a CNAME to.
    pub(super) alias: Option<Name>,
    pub(super) rotations: ServiceRotations,
    pub(super) memory: Memory,
}

impl ServiceState {
    /// The reports of all members, and those withdrawn ones that still count.
    pub(super) fn reports(&self) -> impl Iterator<Item = Report<'_>> {
        let members = self.members.iter().flat_map(|(member, state)| state.reports(member));
        members.chain(self.withdrawn.reports())
    }

    /// Drops the withdrawn reports that count no longer: their time is over, or no other source
    /// reports their socket.
    pub(super) fn drop_withdrawn(&mut self, now: Instant) {
        if self.withdrawn.until().is_none() {
            return;
        }
        let reports = self.members.iter().flat_map(|(member, state)| state.reports(member));
        let places =
            |instance: &Instance| socket_keys(&Instance { port: 0, ..instance.clone() }).collect::<Vec<_>>();
        let sockets: HashSet<_> = reports
            .flat_map(|(member, dated)| places(&dated.instance).into_iter().map(|key| (key, &member.source)))
            .collect();
        let sources: BTreeSet<&SourceId> = self.members.keys().map(|member| &member.source).collect();
        self.withdrawn.retain(now, |member, instance| {
            let mut others = sources.iter().filter(|source| **source != &member.source);
            others.any(|source| places(instance).into_iter().any(|key| sockets.contains(&(key, *source))))
        });
    }

    /// Whether every member is synced.
    pub(super) fn all_synced(&self) -> bool {
        self.members.values().all(|member| member.synced)
    }

    /// How much is known of the service.
    pub(super) fn coverage(&self) -> Coverage {
        let members = || self.members.values();
        match () {
            () if self.all_synced() => Coverage::Complete,
            () if members().all(|member| member.synced || member.failed) => Coverage::Partial,
            () => Coverage::Pending,
        }
    }
}

impl OwnerName {
    pub(super) fn new(name: Name, policy: Arc<Policy>) -> Self {
        Self { name, policy, alias: None, rotations: ServiceRotations::default(), memory: Memory::default() }
    }
}

/// The last state of one import.
#[derive(Debug)]
pub(super) struct ImportState {
    /// The policy of the services that it lists.
    pub(super) policy: Arc<Policy>,
    pub(super) synced: bool,
    /// As of a member.
    pub(super) stale_since: Option<Instant>,
    pub(super) services: HashSet<Name>,
}

impl Catalog {
    /// Makes the catalog of a configuration, in which no member is synced.
    ///
    /// `serial` is the SOA serial of all zones.
    pub fn new(config: &Config, serial: u32) -> Self {
        let mut catalog = Self::unpublished(config, serial);
        catalog.publish();
        catalog
    }

    /// As [`new`](Self::new), without compiling the services.
    pub(super) fn unpublished(config: &Config, serial: u32) -> Self {
        // The last of two zones with one name wins, so a namespace takes precedence over a reverse
        // zone.
        let reverse = config.reverse.iter().filter_map(|network| reverse_name::zone(network, serial));
        let zones = reverse.chain(config.namespaces.iter().map(|namespace| Zone::new(namespace, serial)));
        let localities = Arc::new(Localities::new(&config.localities));
        let now = Instant::now();
        let identifying = config.kubernetes.iter().filter(|source| source.identify_clients);
        let mut catalog = Self {
            services: HashMap::new(),
            imports: HashMap::new(),
            shadowed: HashMap::new(),
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
            change_log: None,
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

    /// The number of services.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// The number of instances with each health.
    pub fn health_counts(&self) -> HealthCounts {
        self.health
    }

    /// Sets the time that updates are dated with.
    pub fn set_time(&mut self, now: Instant) {
        self.now = now;
    }

    /// Seconds since the first catalog began.
    pub(super) fn seconds(&self) -> u32 {
        u32::try_from(self.now.saturating_duration_since(self.began).as_secs()).unwrap_or(u32::MAX)
    }

    /// Applies one update. Answers change with the next [`publish`](Self::publish).
    pub fn apply(&mut self, update: Update) {
        let now = self.seconds();
        match update {
            Update::Reset { member, instances } => self.change_member(&member, |state, notes| {
                let dated = |instance: Instance| (Arc::clone(&instance.id), state.dated(instance, now));
                let instances: MemberInstances = instances.into_iter().map(dated).collect();
                let changed = !state.synced || state.instances != instances;
                if changed {
                    notes.note_all(&member, &state.instances, &instances);
                    (state.synced, state.instances) = (true, instances);
                }
                (state.stale_since, state.expired) = (None, false);
                changed
            }),
            Update::Upsert { member, instance } => self.change_member(&member, |state, notes| {
                let dated = state.dated(instance, now);
                let before = state.instances.get(&dated.instance.id);
                let changed = before != Some(&dated);
                if changed {
                    notes.note(&member, before, Some(&dated.instance));
                    state.instances.insert(Arc::clone(&dated.instance.id), dated);
                }
                changed
            }),
            Update::Remove { member, id } => self.change_member(&member, |state, notes| {
                let removed = state.instances.remove(&id);
                notes.note(&member, removed.as_ref(), None);
                removed.is_some()
            }),
            Update::Expired { member } => self.change_member(&member, |state, notes| {
                let expired = MemberState {
                    failed: true,
                    expired: state.synced || state.expired,
                    ..MemberState::default()
                };
                let before = std::mem::replace(state, expired);
                notes.note_all(&member, &before.instances, &BTreeMap::new());
                before.synced
            }),
            Update::Changes(changes) => changes.into_iter().for_each(|change| self.apply(change)),
            Update::Failed { member } => self.change_member(&member, |state, _| {
                !state.synced && !std::mem::replace(&mut state.failed, true)
            }),
            Update::Imported { import, services } => self.imported(&import, services.into_iter().collect()),
            Update::ImportExpired { import } => {
                if let Some(log) = &mut self.change_log {
                    log.imports.insert(import.clone());
                }
                if let Some(state) = self.imports.get_mut(&import)
                    && std::mem::take(&mut state.synced)
                    && let Some((zone, _)) = self.snapshot.zone(import.apex.wire())
                {
                    self.snapshot.import_expired(zone);
                }
            }
        }
    }

    fn add_namespace(&mut self, namespace: &Namespace) {
        let apex = &namespace.apex;
        for service in &namespace.services {
            let members =
                service.members().map(|(member, rule)| (member, Some(rule.query.to_string().into())));
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
            && let Ok(types) = apex.join(dns_sd::TYPES)
        {
            self.snapshot.count_empty_non_terminals(&types, apex, 1);
        }
        for (import, rule) in namespace.imports() {
            let policy = Arc::new(Policy::of_answers(rule.answers.clone()));
            let state = ImportState { policy, synced: false, stale_since: None, services: HashSet::new() };
            self.imports.insert(import, state);
        }
    }

    /// Adds a service whose members are not synced.
    pub(super) fn add_service(
        &mut self,
        name: &Name,
        apex: &Name,
        owner_names: Vec<OwnerName>,
        configured: bool,
        members: impl Iterator<Item = (Member, Option<Box<str>>)>,
    ) {
        self.additional_names
            .extend(owner_names.iter().skip(1).map(|owner_name| (owner_name.name.clone(), name.clone())));
        for owner_name in &owner_names {
            self.snapshot.count_empty_non_terminals(&owner_name.name, apex, 1);
        }
        let (mut queries, mut states) = (BTreeMap::new(), BTreeMap::new());
        for (member, query) in members {
            queries.extend(query.map(|query| (member.clone(), query)));
            states.insert(member, MemberState::default());
        }
        let state = ServiceState {
            apex: apex.clone(),
            configured,
            members: states,
            queries,
            owner_names,
            health: HealthCounts::default(),
            reverse_entries: ReverseEntries::default(),
            due: None,
            withdrawn: Withdrawn::default(),
        };
        self.services.insert(name.clone(), state);
        self.touched.insert(name.clone());
    }

    /// Lets `change` change the state of a member, and marks its service as touched if it does.
    ///
    /// An update of a member that is not configured any more is dropped.
    fn change_member(
        &mut self,
        member: &Member,
        change: impl FnOnce(&mut MemberState, &mut Notes<'_>) -> bool,
    ) {
        let mut notes = Notes { clients: Some(&mut self.client_index), withdrawn: None, now: self.now };
        let has_changed = if let Some(state) = self.clients.get_mut(member) {
            change(state, &mut notes)
        } else if let Some(state) = self.shadowed.get_mut(member) {
            notes.clients = None;
            change(state, &mut notes);
            false
        } else if let Some(service) = self.services.get_mut(&member.service) {
            let has_other_source = service.members.keys().any(|other| other.source != member.source);
            notes.withdrawn = has_other_source.then_some(&mut service.withdrawn);
            let state = service.members.get_mut(member);
            let has_changed = state.is_some_and(|state| change(state, &mut notes));
            if has_changed && !self.touched.contains(&member.service) {
                self.touched.insert(member.service.clone());
            }
            has_changed
        } else {
            false
        };
        if has_changed {
            self.log_member(member);
        }
    }

    /// Notes that a member's state has changed, if anything takes changes.
    pub(super) fn log_member(&mut self, member: &Member) {
        if let Some(log) = &mut self.change_log
            && !log.members.contains(member)
        {
            log.members.insert(member.clone());
        }
    }

    /// The state of a member, of a service or of clients.
    pub(super) fn member_state(&mut self, member: &Member) -> Option<&mut MemberState> {
        match self.clients.get_mut(member) {
            Some(state) => Some(state),
            None => self.services.get_mut(&member.service)?.members.get_mut(member),
        }
    }

    /// Indexes the instances of all members by address.
    pub(super) fn index_clients(&mut self) {
        let members = self.services.values().flat_map(|service| &service.members).chain(&self.clients);
        for (member, state) in members {
            note_all(&mut self.client_index, member, &BTreeMap::new(), &state.instances);
        }
    }
}

/// The ones who need to know how the reports of a member change.
struct Notes<'c> {
    /// None for a member that identifies no clients.
    clients: Option<&'c mut ClientIndex>,
    /// None for a service of one source, where no other report can be left.
    withdrawn: Option<&'c mut Withdrawn>,
    now: Instant,
}

impl Notes<'_> {
    fn note(&mut self, member: &Member, before: Option<&DatedInstance>, after: Option<&Instance>) {
        if let Some(clients) = &mut self.clients {
            clients.note(member, before.map(|dated| &dated.instance), after);
        }
        if let Some(withdrawn) = &mut self.withdrawn {
            withdrawn.note(member, before, after, self.now);
        }
    }

    /// Notes every instance that differs between two lists of one member.
    fn note_all(&mut self, member: &Member, before: &MemberInstances, after: &MemberInstances) {
        for (id, dated) in before {
            self.note(member, Some(dated), after.get(id).map(|dated| &dated.instance));
        }
        for (_, dated) in after.iter().filter(|(id, _)| !before.contains_key(*id)) {
            self.note(member, None, Some(&dated.instance));
        }
    }
}

/// Notes in the index every instance that differs between two lists of one member.
pub(super) fn note_all(
    clients: &mut ClientIndex,
    member: &Member,
    before: &MemberInstances,
    after: &MemberInstances,
) {
    Notes { clients: Some(clients), withdrawn: None, now: Instant::now() }.note_all(member, before, after);
}

#[cfg(test)]
mod tests;
