//! Endpoint tables: the current endpoints of one watch, and the updates that follow from changes.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    collection::Collection,
    endpoint::{Endpoint, EndpointInterner},
};
use crate::{
    model::{Update, WatchSubject},
    source::{FollowedMember, WatchError, WatchOutbox},
};

/// The endpoints of one watch, and the members that they belong to.
#[derive(Debug)]
pub(super) struct EndpointTable {
    members: Vec<FollowedMember>,
    endpoints: BTreeMap<Arc<str>, Endpoint>,
    interner: EndpointInterner,
}

impl EndpointTable {
    /// The most changes that are sent one by one. With more, a full list is less work for the
    /// catalog.
    const MAX_SINGLE_CHANGES: usize = 32;

    pub(super) fn new(members: Vec<FollowedMember>) -> Self {
        Self { members, endpoints: BTreeMap::new(), interner: EndpointInterner::default() }
    }

    /// Returns the members, as the subject of supervision.
    pub(super) fn subject(&self) -> WatchSubject {
        WatchSubject::Members(self.members.iter().map(|followed| followed.member.clone()).collect())
    }

    /// Iterates over the endpoints in the order of their ids.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.values()
    }

    /// Replaces all endpoints and sends each member a full list.
    ///
    /// # Errors
    /// When there are more than [`Collection::MAX_OBJECTS`], or the program is stopping.
    pub(super) async fn replace(
        &mut self,
        endpoints: impl IntoIterator<Item = Endpoint>,
        out: &mut WatchOutbox,
    ) -> Result<(), WatchError> {
        let mut all = BTreeMap::new();
        for mut endpoint in endpoints {
            self.interner.share(&mut endpoint);
            all.insert(Arc::clone(&endpoint.id), endpoint);
        }
        if all.len() > Collection::MAX_OBJECTS {
            return Err(too_many());
        }
        self.endpoints = all;
        self.reset(out).await
    }

    /// Adds or changes one endpoint; sends nothing if it has not changed.
    ///
    /// # Errors
    /// When there would be more than [`Collection::MAX_OBJECTS`], or the program is stopping.
    pub(super) async fn put(&mut self, endpoint: Endpoint, out: &mut WatchOutbox) -> Result<(), WatchError> {
        let mut changes = Vec::new();
        self.note_put(endpoint, &mut changes)?;
        out.send_all(changes).await
    }

    /// Removes one endpoint; sends nothing if it was not there.
    ///
    /// # Errors
    /// When the program is stopping.
    pub(super) async fn remove(&mut self, id: &str, out: &mut WatchOutbox) -> Result<(), WatchError> {
        let mut changes = Vec::new();
        self.note_remove(id, &mut changes);
        out.send_all(changes).await
    }

    /// Adds or changes several endpoints and keeps the others.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub(super) async fn put_all(
        &mut self,
        endpoints: Vec<Endpoint>,
        out: &mut WatchOutbox,
    ) -> Result<(), WatchError> {
        if endpoints.len() <= Self::MAX_SINGLE_CHANGES {
            let mut changes = Vec::new();
            for endpoint in endpoints {
                self.note_put(endpoint, &mut changes)?;
            }
            return out.send_all(changes).await;
        }
        let mut all = std::mem::take(&mut self.endpoints);
        all.extend(endpoints.into_iter().map(|endpoint| (Arc::clone(&endpoint.id), endpoint)));
        self.replace(all.into_values(), out).await
    }

    /// Replaces all endpoints and sends the difference.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub(super) async fn converge(
        &mut self,
        wanted: BTreeMap<Arc<str>, Endpoint>,
        out: &mut WatchOutbox,
    ) -> Result<(), WatchError> {
        let gone: Vec<_> = self.endpoints.keys().filter(|id| !wanted.contains_key(*id)).cloned().collect();
        let changed = wanted.values().filter(|endpoint| self.endpoints.get(&endpoint.id) != Some(endpoint));
        if gone.len() + changed.clone().count() > Self::MAX_SINGLE_CHANGES {
            return self.replace(wanted.into_values(), out).await;
        }
        let changed: Vec<_> = changed.cloned().collect();
        let mut changes = Vec::new();
        for endpoint in changed {
            self.note_put(endpoint, &mut changes)?;
        }
        for id in gone {
            self.note_remove(&id, &mut changes);
        }
        out.send_all(changes).await
    }

    /// Puts one endpoint into the table, and adds the updates that follow from it.
    fn note_put(&mut self, mut endpoint: Endpoint, changes: &mut Vec<Update>) -> Result<(), WatchError> {
        match self.endpoints.get(&endpoint.id) {
            Some(current) if *current == endpoint => return Ok(()),
            None if self.endpoints.len() >= Collection::MAX_OBJECTS => return Err(too_many()),
            _ => {}
        }
        self.interner.share(&mut endpoint);
        changes.extend(self.members.iter().map(|followed| Update::Upsert {
            member: followed.member.clone(),
            instance: endpoint.instance(followed),
        }));
        self.endpoints.insert(Arc::clone(&endpoint.id), endpoint);
        Ok(())
    }

    /// Takes one endpoint from the table, and adds the updates that follow from it.
    fn note_remove(&mut self, id: &str, changes: &mut Vec<Update>) {
        let Some(endpoint) = self.endpoints.remove(id) else { return };
        changes.extend(self.members.iter().map(|followed| Update::Remove {
            member: followed.member.clone(),
            id: Arc::clone(&endpoint.id),
        }));
    }

    async fn reset(&self, out: &mut WatchOutbox) -> Result<(), WatchError> {
        for followed in &self.members {
            let instances = self.endpoints.values().map(|endpoint| endpoint.instance(followed)).collect();
            out.send(Update::Reset { member: followed.member.clone(), instances }).await?;
        }
        Ok(())
    }
}

fn too_many() -> WatchError {
    WatchError::Refused(format!("more than {} objects; narrow the selector", Collection::MAX_OBJECTS))
}
