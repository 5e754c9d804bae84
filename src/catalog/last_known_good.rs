//! The last known good state: what has changed of it, and what a start takes over.

use std::sync::Arc;

use super::{change_log::ChangeLog, state::Catalog};
use crate::{
    config::Config,
    model::{Retained, StateChanges, Update},
};

/// Most instances and names that are taken at once: taking them holds up updates.
const MAX_TAKEN: usize = 10_000;

impl Catalog {
    /// Notes changes of members and imports from now on, for [`take_changes`](Self::take_changes).
    pub fn log_changes(&mut self) {
        self.change_log = Some(ChangeLog::default());
    }

    /// Applies the state that was last known good, and publishes it. The catalog must be new.
    pub fn restore(&mut self, updates: Vec<Update>, retained: &Retained) {
        for update in updates {
            self.apply(update);
        }
        for (member, since) in &retained.members {
            if let Some(state) = self.member_state(member) {
                state.stale_since = Some(*since);
            }
        }
        for (import, entry) in &retained.imports {
            if let Some(state) = self.imports.get_mut(import) {
                state.stale_since = Some(entry.stale_since);
            }
        }
        self.publish_at(self.now);
    }

    /// Takes changed state, and the configuration if it has changed; then all state counts as
    /// changed, as it does with `everything`.
    ///
    /// *Cost*: copies the instances of each changed member, some 10,000 at a time.
    pub fn take_changes(&mut self, everything: bool) -> (StateChanges, Option<Arc<Config>>) {
        let mut changes = StateChanges::default();
        let Some(mut log) = self.change_log.take() else { return (changes, None) };
        let config = log.config.take();
        if everything || config.is_some() {
            log.members =
                self.services.values().flat_map(|service| service.members.keys()).cloned().collect();
            log.members.extend(self.clients.keys().cloned());
            log.imports = self.imports.keys().cloned().collect();
        }
        let mut taken = 0;
        while taken < MAX_TAKEN
            && let Some(import) = log.imports.pop_first()
        {
            let state = self.imports.get(&import).filter(|state| state.synced);
            let names = state.map(|state| state.services.iter().cloned().collect::<Vec<_>>());
            taken += 1 + names.as_ref().map_or(0, Vec::len);
            changes.imports.push((import, names));
        }
        while taken < MAX_TAKEN
            && let Some(member) = log.members.pop_first()
        {
            let state = self.member_state(&member).filter(|state| state.synced);
            let instances = state.map(|state| state.source_words());
            taken += 1 + instances.as_ref().map_or(0, Vec::len);
            changes.members.push((member, instances));
        }
        changes.has_more = !log.members.is_empty() || !log.imports.is_empty();
        self.change_log = Some(log);
        (changes, config)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{
        config,
        model::{Health, Held, HoldReason, Instance, Member, Name},
    };

    fn catalog() -> Catalog {
        let zone = "namespace = \"shop\"\n[services.web]\nfrom = [{ consul = \"vms\", service = \"a\" }]\n\
                    [[import]]\nconsul = \"vms\"\n";
        let files = [
            ("muster.toml".into(), "[consul.vms]".to_owned()),
            (PathBuf::from("zones/shop.toml"), zone.into()),
        ];
        let mut catalog = Catalog::new(&config::load_from(&files).unwrap().config, 1);
        catalog.log_changes();
        catalog
    }

    fn reset(catalog: &mut Catalog, member: &Member, last: u8) {
        let instances = vec![Instance::at("i", [10, 0, 0, last].into(), 80)];
        catalog.apply(Update::Reset { member: member.clone(), instances });
    }

    #[test]
    fn only_changed_state_is_taken() {
        let mut catalog = catalog();
        let web = catalog.services.values().next().unwrap().members.keys().next().unwrap().clone();
        let import = catalog.imports.keys().next().unwrap().clone();
        let name: Name = "db.shop".parse().unwrap();
        let db = Member { service: name.clone(), source: web.source.clone(), place: Member::IMPORTED };
        let members = |catalog: &mut Catalog| {
            let changes = catalog.take_changes(false).0;
            let count = |(member, state): (Member, Option<Vec<_>>)| (member, state.map(|list| list.len()));
            changes.members.into_iter().map(count).collect::<Vec<_>>()
        };
        assert_eq!(members(&mut catalog), []);
        reset(&mut catalog, &web, 1);
        assert_eq!(members(&mut catalog), [(web.clone(), Some(1))]);
        reset(&mut catalog, &web, 1);
        assert_eq!(members(&mut catalog), [], "it said the same again");
        catalog.apply(Update::Expired { member: web.clone() });
        assert_eq!(members(&mut catalog), [(web.clone(), None)]);
        catalog.apply(Update::Imported { import: import.clone(), services: vec![name.clone()] });
        reset(&mut catalog, &db, 2);
        let changes = catalog.take_changes(false).0;
        assert_eq!(changes.imports, [(import.clone(), Some(vec![name]))]);
        assert_eq!(changes.members.len(), 1);
        catalog.apply(Update::Imported { import, services: Vec::new() });
        catalog.publish();
        assert_eq!(members(&mut catalog), [(db, None)], "no longer listed");
        assert_eq!(catalog.take_changes(true).0.members.len(), 1, "web alone is left");
    }

    #[test]
    fn held_instances_are_taken_as_their_source_reports_them() {
        let mut catalog = catalog();
        let web = catalog.services.values().next().unwrap().members.keys().next().unwrap().clone();
        let held = |id: &str, word: Option<Instance>| {
            let held = Held { why: HoldReason::Settling, until: None, word };
            Instance::at(id, [10, 0, 0, 1].into(), 80).held(held)
        };
        let word = Instance { health: Health::Healthy, ..Instance::at("i", [10, 0, 0, 1].into(), 80) };
        let instances = vec![held("i", Some(word.clone())), held("gone", None)];
        catalog.apply(Update::Reset { member: web.clone(), instances });
        assert_eq!(catalog.take_changes(false).0.members, [(web, Some(vec![word]))]);
    }
}
