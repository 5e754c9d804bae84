//! The watch of pods.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use tokio::sync::watch;

use super::{
    collection::{Collection, Object, ObjectChange},
    endpoint::Endpoint,
    endpoint_table::EndpointTable,
    feed::{Feed, ended},
    node_watch::{NodeZones, ZoneByNode},
    pod::Pod,
};
use crate::{
    model::Selector,
    source::{Watch, WatchError, WatchOutbox},
};

/// The pods of `namespace` whose labels match `selector`.
pub(super) fn collection(namespace: &str, selector: &Selector) -> Collection {
    Collection::namespaced("/api/v1", namespace, "pods", selector.to_string())
}

/// Follows pods by their labels.
///
/// A pod's locality is its node's zone. The first list of pods waits for the nodes' zones, but only
/// for a few seconds. A pod whose node is not known yet is reported without a locality, and once
/// more when the node is known.
#[derive(Debug)]
pub(super) struct PodWatch<T> {
    feed: Feed<T>,
    table: EndpointTable,
    nodes: NodeZones,
    zones: watch::Receiver<ZoneByNode>,
    /// How long a list of pods waits for the first list of nodes.
    patience: Duration,
}

impl<T: Object + Into<Pod>> PodWatch<T> {
    pub(super) fn new(feed: Feed<T>, table: EndpointTable, nodes: NodeZones, patience: Duration) -> Self {
        Self { feed, table, zones: nodes.subscribe(), nodes, patience }
    }

    async fn apply(&mut self, change: ObjectChange<T>, out: &mut WatchOutbox) -> Result<(), WatchError> {
        let pod = match change {
            ObjectChange::All(pods) => {
                self.nodes.tried(self.patience).await;
                let endpoints = pods.into_iter().filter_map(|pod| pod.into().endpoint);
                let zoned: Vec<_> = {
                    let zones = self.zones.borrow_and_update();
                    endpoints.map(|endpoint| in_zone(endpoint, &zones)).collect()
                };
                return self.table.replace(zoned, out).await;
            }
            ObjectChange::Resumed => {
                let zoned: Vec<_> = {
                    let zones = self.zones.borrow_and_update();
                    self.table.endpoints().map(|endpoint| in_zone(endpoint.clone(), &zones)).collect()
                };
                return self.table.replace(zoned, out).await;
            }
            ObjectChange::Applied(pod) => pod.into(),
            ObjectChange::Deleted(pod) => Pod { endpoint: None, ..pod.into() },
        };
        match pod {
            Pod { endpoint: Some(endpoint), .. } => {
                let endpoint = in_zone(endpoint, &self.zones.borrow());
                self.table.put(endpoint, out).await
            }
            Pod { name, endpoint: None } => self.table.remove(&name, out).await,
        }
    }

    /// Reports the pods again whose node's zone became known or changed.
    async fn update_zones(&mut self, out: &mut WatchOutbox) -> Result<(), WatchError> {
        let moved: Vec<_> = {
            let zones = self.zones.borrow_and_update();
            let moved =
                self.table.endpoints().filter(|endpoint| zone_of(endpoint, &zones) != endpoint.zone.as_ref());
            moved.map(|endpoint| in_zone(endpoint.clone(), &zones)).collect()
        };
        self.table.put_all(moved, out).await
    }
}

impl<T: Object + Into<Pod>> Watch for PodWatch<T> {
    async fn run(&mut self, out: &mut WatchOutbox) -> Result<Infallible, WatchError> {
        let mut changes = pin!(self.feed.changes());
        let mut listed = false;
        loop {
            tokio::select! {
                change = changes.try_next() => {
                    self.apply(change?.ok_or_else(ended)?, out).await?;
                    listed = true;
                }
                // Not before the list: until then the table holds what an earlier connection
                // reported.
                Ok(()) = self.zones.changed(), if listed => self.update_zones(out).await?,
            }
        }
    }
}

/// The zone of the endpoint's node.
fn zone_of<'a>(endpoint: &Endpoint, zones: &'a ZoneByNode) -> Option<&'a Arc<str>> {
    zones.get(endpoint.node.as_deref()?)
}

/// The endpoint with the zone of its node.
fn in_zone(endpoint: Endpoint, zones: &ZoneByNode) -> Endpoint {
    let zone = zone_of(&endpoint, zones).cloned();
    Endpoint { zone, ..endpoint }
}
