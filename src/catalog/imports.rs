//! Imports: services that exist for as long as a source lists them.

use std::{
    collections::{BTreeMap, HashSet, btree_map},
    sync::Arc,
};

use super::{
    member_state::MemberState,
    state::{Catalog, ImportState, OwnerName, note_all},
};
use crate::model::{Import, Member, Name};

impl Catalog {
    /// Applies the list of the services that an import has now.
    pub(super) fn imported(&mut self, import: &Import, services: HashSet<Name>) {
        let Some(state) = self.imports.get_mut(import) else { return };
        state.stale_since = None;
        let before = std::mem::replace(&mut state.services, services.clone());
        let is_first_list = !std::mem::replace(&mut state.synced, true);
        if (is_first_list || before != services)
            && let Some(log) = &mut self.change_log
        {
            log.imports.insert(import.clone());
        }
        if is_first_list {
            self.leave_to_unsynced(import, before.difference(&services));
        }
        let member_of = |name: &Name| Member {
            service: name.clone(),
            source: import.source.clone(),
            place: Member::IMPORTED,
        };
        for name in before.difference(&services) {
            let is_still_listed =
                self.listed_by(name, import).any(|(other, _)| other.source == import.source);
            if !is_still_listed {
                self.drop_imported_member(&member_of(name));
            }
        }
        for name in &services {
            self.add_imported_member(member_of(name), import);
        }
        for name in before.union(&services) {
            self.settle_policy(name, import);
        }
        // Names first: a reader in between gets SERVFAIL, never a wrong NXDOMAIN.
        self.publish_at(self.now);
        if is_first_list && let Some((zone, _)) = self.snapshot.zone(import.apex.wire()) {
            self.snapshot.import_synced(zone);
        }
    }

    /// Leaves names that a reload has kept, and that the first list of `import` does not have, to
    /// the imports of the same source that have not synced: they may list them.
    fn leave_to_unsynced<'a>(&mut self, import: &Import, names: impl Iterator<Item = &'a Name> + Clone) {
        let is_peer = |other: &Import| other.apex == import.apex && other.source == import.source;
        for (_, state) in self.imports.iter_mut().filter(|(other, state)| is_peer(other) && !state.synced) {
            state.services.extend(names.clone().cloned());
        }
    }

    /// The imports of `import`'s namespace that list `name`, in no particular order.
    fn listed_by<'a>(
        &'a self,
        name: &'a Name,
        import: &'a Import,
    ) -> impl Iterator<Item = (&'a Import, &'a ImportState)> {
        self.imports
            .iter()
            .filter(move |(other, state)| other.apex == import.apex && state.services.contains(name))
    }

    /// Gives a name the policy of the first import in the file that lists it, whichever synced
    /// first.
    pub(super) fn settle_policy(&mut self, name: &Name, import: &Import) {
        let first = self.listed_by(name, import).min_by_key(|(other, _)| (other.place, &other.source));
        let Some(policy) = first.map(|(_, state)| Arc::clone(&state.policy)) else { return };
        if let Some(service) = self.services.get_mut(name)
            && !service.configured
            && let Some(owner_name) = service.owner_names.first_mut()
            && owner_name.policy != policy
        {
            owner_name.policy = policy;
            self.touched.insert(name.clone());
        }
    }

    /// Adds an import's member to a service. A name that a zone file has, such as a subset name,
    /// belongs to the file alone: the member is kept aside.
    pub(super) fn add_imported_member(&mut self, member: Member, import: &Import) {
        let name = member.service.clone();
        if self.additional_names.contains_key(&name) {
            self.shadowed.entry(member).or_default();
            return;
        }
        match self.services.get_mut(&name) {
            Some(service) if service.configured => {
                self.shadowed.entry(member).or_default();
            }
            Some(service) => {
                if let btree_map::Entry::Vacant(entry) = service.members.entry(member) {
                    entry.insert(MemberState::default());
                    self.touched.insert(name);
                }
            }
            None => {
                let Some(state) = self.imports.get(import) else { return };
                let owner_name = OwnerName::new(name.clone(), Arc::clone(&state.policy));
                let members = std::iter::once((member, None));
                self.add_service(&name, &import.apex, vec![owner_name], false, members);
            }
        }
    }

    fn drop_imported_member(&mut self, member: &Member) {
        self.shadowed.remove(member);
        if let Some(service) = self.services.get_mut(&member.service)
            && !service.configured
            && let Some(state) = service.members.remove(member)
        {
            note_all(&mut self.client_index, member, &state.instances, &BTreeMap::new());
            self.log_member(member);
            self.touched.insert(member.service.clone());
        }
    }
}
