//! Differences between two answers.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{Instance, Member, Update};

/// Instances by id.
pub(super) type Instances = BTreeMap<Arc<str>, Instance>;

/// Of how many instances one may have changed, so that the difference is sent: with more, one [`Update::Reset`] is less
/// work for the catalog, and changes that belong together are seen together.
const SHARE: usize = 8;

/// The update that says all of `instances`.
pub(super) fn reset(member: &Member, instances: &Instances) -> Update {
    Update::Reset { member: member.clone(), instances: instances.values().cloned().collect() }
}

/// The updates that make `new` of `old`; none where they are equal.
///
/// *Order*: new and changed instances come before those that are gone, so that a service never runs empty.
pub(super) fn between(member: &Member, old: &Instances, new: &Instances) -> Vec<Update> {
    let changed: Vec<_> = new.values().filter(|instance| old.get(&instance.id) != Some(instance)).collect();
    let gone: Vec<_> = old.keys().filter(|id| !new.contains_key(*id)).collect();
    let changes = changed.len() + gone.len();
    if changes == 0 {
        return Vec::new();
    }
    if changes * SHARE > old.len().max(new.len()) {
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

    fn instances(ports: &BTreeMap<u8, u16>) -> Instances {
        let make = |(id, port): (&u8, &u16)| Instance::at(&format!("i{id}"), [10, 0, 0, *id].into(), *port);
        ports.iter().map(make).map(|instance| (Arc::clone(&instance.id), instance)).collect()
    }

    proptest! {
        #[test]
        fn the_updates_make_the_new_of_the_old_and_never_run_empty(
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
