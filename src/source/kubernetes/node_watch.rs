//! The watch of nodes, for the zones of pods.
//!
//! Nobody's answers wait for it: without it there is only no locality. That is why it is not supervised as the other
//! watches are: a cluster whose administrator lets us see pods but not nodes is a source without failures.

use std::{collections::HashMap, convert::Infallible, pin::pin, sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

use super::{
    client::SharedClient,
    collection::Collection,
    endpoint_table::EndpointTable,
    feed::{Change, Feed, ended},
    node::Node,
    timing::Timing,
};
use crate::{
    model::SourceId,
    source::{Backoff, WatchError, watch_error::catch_panic},
};

/// The zone of each node that has one.
pub(super) type ZoneByNode = HashMap<Arc<str>, Arc<str>>;

/// What is known of zones, for all watches of pods.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeZones(watch::Sender<ZoneByNode>);

impl NodeZones {
    /// Returns a view that tells when something has changed.
    pub(super) fn subscribe(&self) -> watch::Receiver<ZoneByNode> {
        self.0.subscribe()
    }

    fn take(&self, change: Change<Node>) {
        match change {
            Change::All(nodes) => {
                let all = nodes.into_iter().filter_map(|node| Some((node.name, node.zone?))).collect();
                self.0.send_if_modified(|zones| std::mem::replace(zones, all) != *zones);
            }
            Change::Applied(Node { name, zone: Some(zone) }) => {
                self.0.send_if_modified(|zones| {
                    let is_room = zones.len() < EndpointTable::MOST || zones.contains_key(&name);
                    is_room && zones.insert(name, Arc::clone(&zone)) != Some(zone)
                });
            }
            Change::Applied(Node { name, zone: None }) | Change::Deleted(Node { name, .. }) => {
                self.0.send_if_modified(|zones| zones.remove(&name).is_some());
            }
        }
    }
}

/// Follows the zones of all nodes of the cluster.
#[derive(Debug)]
pub(super) struct NodeWatch {
    feed: Feed<Node>,
    zones: NodeZones,
}

impl NodeWatch {
    /// How long to wait after having been denied: somebody has to change a role.
    const DENIED: Duration = Duration::from_secs(60);

    pub(super) fn new(clients: Arc<SharedClient>, timing: Timing, zones: NodeZones) -> Self {
        let feed = Feed::new(clients, Collection::metadata("/api/v1", "nodes"), timing);
        Self { feed, zones }
    }

    /// Follows nodes for ever; what was known stays known while they cannot be seen.
    pub(super) async fn run(self, source: SourceId) {
        let mut backoff = Backoff::default();
        let mut said = None;
        loop {
            let mut listed = None;
            let Err(error) = catch_panic(self.follow(&mut listed)).await;
            let kind = error.kind();
            if listed.is_some_and(|listed: Instant| backoff.lost_after(listed.elapsed())) {
                said = None;
            }
            let is_denied = matches!(error, WatchError::Denied(_));
            let wait = if is_denied { Self::DENIED } else { backoff.wait() };
            let message = format!("{:#}", anyhow::Error::from(error));
            // Once for each kind of failure: the watches of pods say more of an API server that is away.
            match said.replace(kind) == Some(kind) {
                true => debug!(%source, kind, retry_in = ?wait, "the watch of nodes failed: {message}"),
                false if is_denied => {
                    info!(%source, kind, "pods have no locality, nodes cannot be seen: {message}")
                }
                false => {
                    warn!(%source, kind, "pods may lack their locality, the watch of nodes failed: {message}")
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Follows nodes until that fails; notes when the list came.
    async fn follow(&self, listed: &mut Option<Instant>) -> Result<Infallible, WatchError> {
        let mut changes = pin!(self.feed.changes());
        loop {
            let change = changes.try_next().await?.ok_or_else(ended)?;
            self.zones.take(change);
            listed.get_or_insert_with(Instant::now);
        }
    }
}
