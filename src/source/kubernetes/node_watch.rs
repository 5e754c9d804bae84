//! The watch of nodes, for the availability zones of pods.
//!
//! Without it, instances only lack their locality. So it is not supervised and not part of the
//! source's status: if the cluster's administrator grants access to pods but not to nodes, the
//! source has no failure. The first list of pods waits for it, but only briefly: policies by
//! locality would have nothing to answer from pods without zones.

use std::{collections::HashMap, convert::Infallible, pin::pin, sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

use super::{
    client::SharedClient,
    collection::{Collection, ObjectChange},
    feed::{Feed, ended},
    node::Node,
    timing::KubernetesTiming,
};
use crate::{
    model::SourceId,
    source::{Backoff, WatchError, watch_error::catch_panic},
};

/// The availability zone of each node that has one.
pub(super) type ZoneByNode = HashMap<Arc<str>, Arc<str>>;

/// The zones of all nodes, shared by the watches of pods.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeZones {
    by_node: watch::Sender<ZoneByNode>,
    /// Whether the nodes were listed once, or could not be.
    tried: watch::Sender<bool>,
}

impl NodeZones {
    /// Returns a receiver that is notified of changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<ZoneByNode> {
        self.by_node.subscribe()
    }

    /// Waits until the nodes were listed once, or could not be; at most for `limit`.
    pub(super) async fn tried(&self, limit: Duration) {
        let mut tried = self.tried.subscribe();
        if tokio::time::timeout(limit, tried.wait_for(|tried| *tried)).await.is_err() {
            debug!("the zones of nodes are not known after {limit:?}; pods are reported without them");
            // The pods of the next list need not wait again.
            self.tried.send_replace(true);
        }
    }

    fn apply(&self, change: ObjectChange<Node>) {
        match change {
            ObjectChange::All(nodes) => {
                let all = nodes.into_iter().filter_map(|node| Some((node.name, node.zone?))).collect();
                self.by_node.send_if_modified(|zones| std::mem::replace(zones, all) != *zones);
            }
            ObjectChange::Resumed => {}
            ObjectChange::Applied(Node { name, zone: Some(zone) }) => {
                self.by_node.send_if_modified(|zones| {
                    let has_room = zones.len() < Collection::MAX_OBJECTS || zones.contains_key(&name);
                    has_room && zones.insert(name, Arc::clone(&zone)) != Some(zone)
                });
            }
            ObjectChange::Applied(Node { name, zone: None }) | ObjectChange::Deleted(Node { name, .. }) => {
                self.by_node.send_if_modified(|zones| zones.remove(&name).is_some());
            }
        }
    }
}

/// Follows the availability zones of all nodes of the cluster.
#[derive(Debug)]
pub(super) struct NodeWatch {
    feed: Feed<Node>,
    zones: NodeZones,
}

impl NodeWatch {
    /// How long to wait after access was denied: an administrator has to change a role.
    const WAIT_AFTER_DENIED: Duration = Duration::from_secs(60);

    pub(super) fn new(client: Arc<SharedClient>, timing: KubernetesTiming, zones: NodeZones) -> Self {
        let feed = Feed::new(client, Collection::metadata("/api/v1", "nodes"), timing);
        Self { feed, zones }
    }

    /// Follows nodes forever; the last zones stay while nodes cannot be read.
    pub(super) async fn run(self, source: SourceId) {
        let mut backoff = Backoff::default();
        let mut logged = None;
        loop {
            let mut listed = None;
            let Err(error) = catch_panic(self.follow(&mut listed)).await;
            self.zones.tried.send_replace(true);
            let kind = error.kind();
            if listed.is_some_and(|listed: Instant| backoff.lost_after(listed.elapsed())) {
                logged = None;
            }
            let is_denied = matches!(error, WatchError::Denied(_));
            let wait = if is_denied { Self::WAIT_AFTER_DENIED } else { backoff.wait() };
            let message = format!("{:#}", anyhow::Error::from(error));
            // Once for each kind of failure: the watches of pods log more if the API server is
            // down.
            match logged.replace(kind) == Some(kind) {
                true => debug!(%source, kind, retry_in = ?wait, "the watch of nodes failed: {message}"),
                false if is_denied => {
                    info!(%source, kind, "no access to nodes, pods have no locality: {message}")
                }
                false => {
                    warn!(%source, kind, "the watch of nodes failed, pods may lack their locality: {message}")
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Follows nodes until that fails; sets `listed` to the time of the list.
    async fn follow(&self, listed: &mut Option<Instant>) -> Result<Infallible, WatchError> {
        let mut changes = pin!(self.feed.changes());
        loop {
            let change = changes.try_next().await?.ok_or_else(ended)?;
            self.zones.apply(change);
            self.zones.tried.send_replace(true);
            listed.get_or_insert_with(Instant::now);
        }
    }
}
