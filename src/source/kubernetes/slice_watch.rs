//! The watch of a Service's EndpointSlices.

use std::{collections::BTreeMap, convert::Infallible, pin::pin, sync::Arc};

use futures_util::TryStreamExt;

use super::{
    collection::{Collection, ObjectChange},
    endpoint_table::EndpointTable,
    feed::{Feed, ended},
    slice::{Slice, merge},
};
use crate::source::{Watch, WatchError, WatchOutbox};

/// The EndpointSlices of a Service.
///
/// <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#ownership>
pub(super) fn collection(namespace: &str, service: &str) -> Collection {
    let labels = format!("kubernetes.io/service-name={service}");
    Collection::namespaced("/apis/discovery.k8s.io/v1", namespace, "endpointslices", labels)
}

/// Follows the EndpointSlices of one Service.
#[derive(Debug)]
pub(super) struct SliceWatch {
    feed: Feed<Slice>,
    slices: BTreeMap<Arc<str>, Slice>,
    table: EndpointTable,
}

impl SliceWatch {
    pub(super) fn new(feed: Feed<Slice>, table: EndpointTable) -> Self {
        Self { feed, slices: BTreeMap::new(), table }
    }

    async fn apply(&mut self, change: ObjectChange<Slice>, out: &mut WatchOutbox) -> Result<(), WatchError> {
        let is_list = matches!(change, ObjectChange::All(_) | ObjectChange::Resumed);
        match change {
            ObjectChange::Resumed => {}
            ObjectChange::All(slices) => {
                self.slices = slices.into_iter().map(|slice| (Arc::clone(&slice.name), slice)).collect();
            }
            ObjectChange::Applied(slice) => {
                self.slices.insert(Arc::clone(&slice.name), slice);
            }
            ObjectChange::Deleted(slice) => {
                self.slices.remove(&slice.name);
            }
        }
        let endpoints: usize = self.slices.values().map(|slice| slice.endpoints.len() + 1).sum();
        if endpoints > Collection::MAX_OBJECTS {
            return Err(WatchError::Refused(format!(
                "more than {} endpoints in one Service",
                Collection::MAX_OBJECTS
            )));
        }
        let endpoints = merge(self.slices.values());
        match is_list {
            true => self.table.replace(endpoints.into_values(), out).await,
            false => self.table.converge(endpoints, out).await,
        }
    }
}

impl Watch for SliceWatch {
    async fn run(&mut self, out: &mut WatchOutbox) -> Result<Infallible, WatchError> {
        let mut changes = pin!(self.feed.changes());
        loop {
            let change = changes.try_next().await?.ok_or_else(ended)?;
            self.apply(change, out).await?;
        }
    }
}
