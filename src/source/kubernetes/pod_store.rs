//! The pods that one watch follows, whether or not a member selects them.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    collection::Collection,
    endpoint::{Endpoint, EndpointInterner},
};
use crate::source::WatchError;

/// The endpoints of pods by namespace and name.
#[derive(Debug, Default)]
pub(super) struct PodStore {
    namespaces: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Endpoint>>>,
    count: usize,
    interner: EndpointInterner,
}

impl PodStore {
    /// Removes all pods.
    pub(super) fn clear(&mut self) {
        self.namespaces.clear();
        self.count = 0;
    }

    /// Iterates over the endpoints, each with its namespace.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Endpoint>)> {
        let pods = |(namespace, pods)| std::iter::repeat(namespace).zip(BTreeMap::values(pods));
        self.namespaces.iter().flat_map(pods)
    }

    /// Adds or replaces a pod; returns the stored endpoint and the one before.
    ///
    /// # Errors
    /// When there would be more than [`Collection::MAX_OBJECTS`].
    pub(super) fn put(
        &mut self,
        namespace: &Arc<str>,
        mut endpoint: Endpoint,
    ) -> Result<(Arc<Endpoint>, Option<Arc<Endpoint>>), WatchError> {
        self.interner.share(&mut endpoint);
        let endpoint = Arc::new(endpoint);
        let pods = self.namespaces.entry(Arc::clone(namespace)).or_default();
        let old = pods.insert(Arc::clone(&endpoint.id), Arc::clone(&endpoint));
        self.count += usize::from(old.is_none());
        match self.count > Collection::MAX_OBJECTS {
            true => Err(Collection::too_many()),
            false => Ok((endpoint, old)),
        }
    }

    /// Removes a pod; returns its last state.
    pub(super) fn remove(&mut self, namespace: &str, name: &str) -> Option<Arc<Endpoint>> {
        let pods = self.namespaces.get_mut(namespace)?;
        let old = pods.remove(name)?;
        if pods.is_empty() {
            self.namespaces.remove(namespace);
        }
        self.count -= 1;
        Some(old)
    }
}
