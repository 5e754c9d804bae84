//! Imports: services whose names a source brings, and takes away again.

use std::{
    collections::{BTreeMap, HashSet, btree_map},
    sync::Arc,
};

use super::state::{Catalog, ImportState, MemberState, OwnerName, note_all};
use crate::model::{Import, Member, Name};

impl Catalog {
    /// Takes in the list of the services that an import has now.
    pub(super) fn imported(&mut self, import: &Import, services: HashSet<Name>) {
        let Some(state) = self.imports.get_mut(import) else { return };
        let before = std::mem::replace(&mut state.services, services.clone());
        let first_word = !std::mem::replace(&mut state.synced, true);
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
        // Names first, then the end of not knowing: a reader in between sees SERVFAIL, never a
        // wrong NXDOMAIN.
        self.publish();
        if first_word && let Some((zone, _)) = self.snapshot.zone(import.apex.as_wire()) {
            self.snapshot.import_synced(zone);
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

    /// Where several imports list a name, the first of the file says what its answers look like,
    /// whoever was heard first.
    pub(super) fn settle_rules(&mut self, name: &Name, near: &Import) {
        let first = self.listed_by(name, near).min_by_key(|(import, _)| (import.place, &import.source));
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

    /// Adds an import's member to a service; a name that the zone's file has, be it a subset name,
    /// is the file's alone.
    pub(super) fn add_imported_member(&mut self, member: Member, import: &Import) {
        let name = member.service.clone();
        if self.additional_names.contains_key(&name) {
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
                let owner_name = OwnerName::new(name.clone(), Arc::clone(&state.policy));
                self.add_service(&name, &import.apex, vec![owner_name], false, std::iter::once(member));
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
}
