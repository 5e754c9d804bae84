//! The EndpointSlices that one watch follows, by Service, whether or not a member names it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    collection::Collection,
    endpoint::Endpoint,
    slice::{Slice, merge},
};
use crate::source::WatchError;

/// The slices of Services, by namespace and Service.
#[derive(Debug, Default)]
pub(super) struct SliceStore {
    namespaces: HashMap<Arc<str>, NamespaceSlices>,
    /// Endpoints and slices.
    size: usize,
}

/// The slices of one namespace.
#[derive(Debug, Default)]
struct NamespaceSlices {
    services: HashMap<Arc<str>, ServiceSlices>,
    /// The Service of each slice: the label that names it can change.
    service_of: HashMap<Arc<str>, Arc<str>>,
}

/// The slices of one Service.
///
/// Endpoints are merged one by one: a change of one slice costs as much as that slice, however many
/// others the Service has.
#[derive(Debug, Default)]
pub(super) struct ServiceSlices {
    slices: BTreeMap<Arc<str>, Slice>,
    /// The names of the slices that have each endpoint.
    by_id: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
}

/// The endpoints of one Service that have changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServiceChange {
    pub(super) service: Arc<str>,
    pub(super) ids: Vec<Arc<str>>,
}

impl SliceStore {
    /// The most endpoints and slices together. A pod can be in several Services, with an address of
    /// each family.
    const MAX_SIZE: usize = 5 * Collection::MAX_OBJECTS;

    /// Removes all slices.
    pub(super) fn clear(&mut self) {
        self.namespaces.clear();
        self.size = 0;
    }

    /// Returns a Service's slices, if there are any.
    pub(super) fn service(&self, namespace: &str, service: &str) -> Option<&ServiceSlices> {
        self.namespaces.get(namespace)?.services.get(service)
    }

    /// Adds or replaces a slice of a Service; returns what has changed: of two Services if the slice
    /// was another one's.
    ///
    /// # Errors
    /// When there would be too many endpoints.
    pub(super) fn put(
        &mut self,
        namespace: &Arc<str>,
        service: &Arc<str>,
        slice: Slice,
    ) -> Result<Vec<ServiceChange>, WatchError> {
        let mut changes = Vec::new();
        let is_anothers =
            |all: &NamespaceSlices| all.service_of.get(&slice.name).is_some_and(|of| of != service);
        if self.namespaces.get(namespace).is_some_and(is_anothers) {
            changes.extend(self.remove(namespace, &slice.name));
        }
        let slices = self.namespaces.entry(Arc::clone(namespace)).or_default();
        slices.service_of.insert(Arc::clone(&slice.name), Arc::clone(service));
        let slices = slices.services.entry(Arc::clone(service)).or_default();
        self.size += slice.size();
        let (ids, old) = slices.put(slice);
        self.size -= old.map_or(0, |old| old.size());
        if self.size > Self::MAX_SIZE {
            return Err(WatchError::Refused(format!("more than {} endpoints", Self::MAX_SIZE)));
        }
        changes.push(ServiceChange { service: Arc::clone(service), ids });
        Ok(changes)
    }

    /// Removes a slice; returns what has changed.
    pub(super) fn remove(&mut self, namespace: &str, slice: &str) -> Option<ServiceChange> {
        let all = self.namespaces.get_mut(namespace)?;
        let service = all.service_of.remove(slice)?;
        let slices = all.services.get_mut(&service)?;
        let old = slices.remove(slice)?;
        if slices.slices.is_empty() {
            all.services.remove(&service);
        }
        if all.services.is_empty() {
            self.namespaces.remove(namespace);
        }
        self.size -= old.size();
        Some(ServiceChange { service, ids: old.ids().cloned().collect() })
    }
}

impl ServiceSlices {
    /// Iterates over all endpoints, in no order.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        self.by_id.keys().filter_map(|id| self.endpoint(id))
    }

    /// Merges what all slices have of one id.
    pub(super) fn endpoint(&self, id: &Arc<str>) -> Option<Endpoint> {
        let names = self.by_id.get(id)?;
        merge(id, names.iter().filter_map(|name| self.slices.get(name)))
    }

    /// Adds or replaces a slice; returns the ids of endpoints that may have changed, and the slice
    /// before.
    fn put(&mut self, slice: Slice) -> (Vec<Arc<str>>, Option<Slice>) {
        let name = Arc::clone(&slice.name);
        let old = self.slices.remove(&name);
        let ids = match &old {
            Some(old) => old.changed_ids(&slice),
            None => slice.ids().cloned().collect(),
        };
        if let Some(old) = &old {
            self.unindex(old);
        }
        for id in slice.ids() {
            self.by_id.entry(Arc::clone(id)).or_default().insert(Arc::clone(&name));
        }
        self.slices.insert(name, slice);
        (ids, old)
    }

    fn remove(&mut self, name: &str) -> Option<Slice> {
        let old = self.slices.remove(name)?;
        self.unindex(&old);
        Some(old)
    }

    fn unindex(&mut self, slice: &Slice) {
        for id in slice.ids() {
            if let Some(names) = self.by_id.get_mut(id)
                && names.remove(&slice.name)
                && names.is_empty()
            {
                self.by_id.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
