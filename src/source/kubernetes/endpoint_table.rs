//! Endpoint tables: the current endpoints of some members, and the updates that follow from
//! changes.

use std::{collections::BTreeMap, sync::Arc};

use super::endpoint::Endpoint;
use crate::{
    model::{Member, Update},
    source::FollowedMember,
};

/// The endpoints that match a selector or belong to a Service, and the members that have them.
#[derive(Debug)]
pub(super) struct EndpointTable {
    members: Vec<FollowedMember>,
    endpoints: BTreeMap<Arc<str>, Arc<Endpoint>>,
}

/// A change of one endpoint: its id, and its new state unless it is gone.
pub(super) type EndpointChange = (Arc<str>, Option<Arc<Endpoint>>);

impl EndpointTable {
    /// So many changes are sent as a difference, however few endpoints there are.
    const MIN_RESET: usize = 32;
    /// More changes are sent as a difference if at most one in this many endpoints has changed.
    /// Otherwise a full list is less work for the catalog.
    const RESET_SHARE: usize = 8;

    /// Makes an empty table.
    pub(super) fn new(members: Vec<FollowedMember>) -> Self {
        Self { members, endpoints: BTreeMap::new() }
    }

    /// Iterates over the members.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().map(|followed| &followed.member)
    }

    /// Removes all endpoints, without an update.
    pub(super) fn clear(&mut self) {
        self.endpoints.clear();
    }

    /// Adds an endpoint, without an update.
    pub(super) fn insert(&mut self, endpoint: Arc<Endpoint>) {
        self.endpoints.insert(Arc::clone(&endpoint.id), endpoint);
    }

    /// Adds a full list for each member.
    pub(super) fn reset(&self, updates: &mut Vec<Update>) {
        updates.extend(self.members.iter().map(|followed| Update::Reset {
            member: followed.member.clone(),
            instances: self.endpoints.values().map(|endpoint| endpoint.instance(followed)).collect(),
        }));
    }

    /// Applies changes, and adds the updates that follow: none for what stays as it was.
    ///
    /// *Order*: new and changed endpoints before those that are gone, so that a service is never
    /// empty in between.
    pub(super) fn apply(&mut self, mut changes: Vec<EndpointChange>, updates: &mut Vec<Update>) {
        changes.retain(|(id, endpoint)| self.endpoints.get(id) != endpoint.as_ref());
        changes.sort_by_key(|(_, endpoint)| endpoint.is_none());
        let is_reset = changes.len() > Self::MIN_RESET
            && changes.len() * Self::RESET_SHARE > self.endpoints.len().max(changes.len());
        for (id, endpoint) in changes {
            if !is_reset {
                let update = |followed| update(followed, &id, endpoint.as_deref());
                updates.extend(self.members.iter().map(update));
            }
            match endpoint {
                Some(endpoint) => self.insert(endpoint),
                None => drop(self.endpoints.remove(&id)),
            }
        }
        if is_reset {
            self.reset(updates);
        }
    }
}

/// The update that tells of one endpoint.
fn update(followed: &FollowedMember, id: &Arc<str>, endpoint: Option<&Endpoint>) -> Update {
    let member = followed.member.clone();
    match endpoint {
        Some(endpoint) => Update::Upsert { member, instance: endpoint.instance(followed) },
        None => Update::Remove { member, id: Arc::clone(id) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Health,
        source::kubernetes::{collection::Object, endpoint::member, pod::Pod},
    };

    fn endpoint(number: usize, health: Health) -> Arc<Endpoint> {
        let json = serde_json::json!({
            "metadata": { "name": format!("pod-{number}") },
            "status": { "podIP": "10.0.0.1" },
        });
        let pod = Pod::from_json(serde_json::from_value(json).unwrap());
        Arc::new(Endpoint { health, ..pod.endpoint.unwrap() })
    }

    fn table(count: usize) -> EndpointTable {
        let mut table = EndpointTable::new(vec![member(None)]);
        (0..count).for_each(|number| table.insert(endpoint(number, Health::Healthy)));
        table
    }

    fn unhealthy(count: usize) -> Vec<EndpointChange> {
        let change = |number| {
            let endpoint = endpoint(number, Health::Unhealthy);
            (Arc::clone(&endpoint.id), Some(endpoint))
        };
        (0..count).map(change).collect()
    }

    #[test]
    fn a_difference_is_sent_unless_much_has_changed() {
        for (count, changed, updates) in [(5000, 100, 100), (5000, 700, 1), (100, 32, 32), (100, 33, 1)] {
            let mut sent = Vec::new();
            table(count).apply(unhealthy(changed), &mut sent);
            assert_eq!(sent.len(), updates, "{changed} of {count}");
            let is_reset = matches!(&sent[0], Update::Reset { instances, .. } if instances.len() == count);
            assert_eq!(is_reset, updates == 1, "{changed} of {count}");
        }
    }

    #[test]
    fn new_endpoints_come_before_those_that_are_gone() {
        let mut table = table(1);
        let (old, new) = (endpoint(0, Health::Healthy), endpoint(1, Health::Healthy));
        let mut sent = Vec::new();
        table.apply(vec![(Arc::clone(&old.id), None), (Arc::clone(&new.id), Some(new))], &mut sent);
        assert!(matches!(sent.as_slice(), [Update::Upsert { .. }, Update::Remove { .. }]), "{sent:?}");
        sent.clear();
        table.apply(vec![(Arc::clone(&old.id), None)], &mut sent);
        assert_eq!(sent, [], "what is gone already");
    }
}
