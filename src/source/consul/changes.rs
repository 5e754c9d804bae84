//! Differences between two responses.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{Instance, Member, Update};

/// The instances of one service, by id.
pub(super) type InstancesById = BTreeMap<Arc<str>, Instance>;

/// The difference is sent if at most one in this many instances has changed. Otherwise one
/// [`Update::Reset`] is less work for the catalog, and changes that belong together become visible
/// together.
const RESET_SHARE: usize = 8;

/// The update that carries all of `instances`.
pub(super) fn reset(member: &Member, instances: &InstancesById) -> Update {
    Update::Reset { member: member.clone(), instances: instances.values().cloned().collect() }
}

/// The updates that turn `old` into `new`; none if they are equal.
///
/// *Order*: new and changed instances before removed ones, so that a service is never empty in
/// between.
pub(super) fn between(member: &Member, old: &InstancesById, new: &InstancesById) -> Vec<Update> {
    let changed: Vec<_> = new.values().filter(|instance| old.get(&instance.id) != Some(instance)).collect();
    let gone: Vec<_> = old.keys().filter(|id| !new.contains_key(*id)).collect();
    let changes = changed.len() + gone.len();
    if changes == 0 {
        return Vec::new();
    }
    if changes * RESET_SHARE > old.len().max(new.len()) {
        return vec![reset(member, new)];
    }
    let upserts =
        changed.into_iter().cloned().map(|instance| Update::Upsert { member: member.clone(), instance });
    let removes = gone.into_iter().map(|id| Update::Remove { member: member.clone(), id: Arc::clone(id) });
    upserts.chain(removes).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Name, SourceId, SourceKind};

    fn member() -> Member {
        let source = SourceId { kind: SourceKind::Consul, name: "vms".into() };
        Member { service: "web.test".parse::<Name>().unwrap(), source, place: 0 }
    }

    fn instances(ports: &BTreeMap<u8, u16>) -> InstancesById {
        let make = |(id, port): (&u8, &u16)| Instance::at(&format!("i{id}"), [10, 0, 0, *id].into(), *port);
        ports.iter().map(make).map(|instance| (Arc::clone(&instance.id), instance)).collect()
    }

    proptest! {
        #[test]
        fn updates_turn_old_into_new_and_never_run_empty(
            old in prop::collection::btree_map(any::<u8>(), 0u16..3, 0..40),
            edits in prop::collection::btree_map(any::<u8>(), prop::option::of(0u16..3), 0..6),
        ) {
            let mut new = old.clone();
            for (id, port) in edits {
                match port {
                    Some(port) => new.insert(id, port),
                    None => new.remove(&id),
                };
            }
            let (old, new) = (instances(&old), instances(&new));
            let updates = between(&member(), &old, &new);
            prop_assert_eq!(updates.is_empty(), old == new);
            let mut now = old.clone();
            for update in updates {
                match update {
                    Update::Reset { instances, .. } => {
                        now = instances.into_iter().map(|i| (Arc::clone(&i.id), i)).collect();
                    }
                    Update::Upsert { instance, .. } => {
                        now.insert(Arc::clone(&instance.id), instance);
                    }
                    Update::Remove { id, .. } => {
                        now.remove(&id);
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
                prop_assert!(!now.is_empty() || new.is_empty());
            }
            prop_assert_eq!(now, new);
        }
    }

    #[test]
    fn one_change_of_many_is_one_upsert() {
        let old = instances(&(0..100).map(|id| (id, 80)).collect());
        let mut new = old.clone();
        new.get_mut("i7").unwrap().port = 81;
        let updates = between(&member(), &old, &new);
        assert!(
            matches!(&updates[..], [Update::Upsert { instance, .. }] if instance.port == 81),
            "{updates:?}"
        );
    }
}
