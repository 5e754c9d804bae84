//! The Kubernetes source: pods by label selector, or the EndpointSlices of a Service.
//!
//! ```text
//! SharedClient ─▶ Feed: list, then OpenWatch ─▶ ObjectChange
//!                   ├─ Pod ───▶ Informer ─▶ PodWatch ───┬─▶ EndpointTable ─ difference ─▶ WatchOutbox
//!                   │                         ▲ zones   │
//!                   ├─ Node ──────────────▶ NodeWatch   │
//!                   └─ Slice ─▶ Informer ─▶ SliceWatch ─┘
//! ```
//!
//! - [`client`]: one client for all watches. It is made again when credentials may have changed.
//! - [`connector`], [`proxy`]: its connections, through a proxy where kubectl uses one.
//! - [`scope`], [`scope_denial`]: which members share a watch, and when they cannot.
//! - [`collection`], [`json`]: what is requested, and the JSON that all objects share.
//! - [`feed`], [`open_watch`]: list and watch as one stream of changes.
//! - [`pod`], [`slice`](mod@slice), [`node`]: the fields that are read of an object, as small
//!   types.
//! - [`informer`], [`pod_store`], [`slice_store`]: a feed with the objects that it has delivered.
//! - [`cluster`]: what stays while a reload replaces the watches: client, informers, zones.
//! - [`endpoint`], [`endpoint_table`]: the current endpoints of a selector or Service, and the
//!   updates that follow from a change.
//! - [`pod_index`]: which selectors match a pod.
//! - [`client_pods`]: with `identify_clients`, all pods of the cluster, so that routes can match
//!   clients.
//! - [`pod_watch`], [`slice_watch`]: the supervised watches, one for each scope, however many
//!   members use it.
//! - [`node_watch`]: one watch of nodes, for the availability zones of pods.
//!
//! When the server ends a watch as announced (`timeoutSeconds`), the next watch starts at the
//! version reached: no gap, no list. After a failure that says nothing of the version (a broken
//! connection, 429, 5xx), it starts there too, if the version is a few minutes old at most. When
//! the version has expired (410), the objects are listed again, and the last state is served in the
//! meantime. At most 16 lists run at once for each source.
//!
//! Imports [`crate::model`], the settings in [`crate::config`], and what all sources share.
//!
//! Rejected: `kube::runtime::watcher`. After an HTTP 410 at the start of a watch it requests the
//! same version forever, it retries inside where [`supervise`](super::supervise()) should see the
//! failure, and it limits neither the body of a list nor a line of a watch. Rejected: `kube::Api`,
//! for the same lack of limits, and because its `Resource` trait requires an `ObjectMeta` of
//! several maps in every object. So the loop over list and watch is muster's own, over kube's
//! client (kubeconfig, exec plugins, TLS, tokens) and request builder.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

mod client;
mod client_pods;
mod cluster;
mod collection;
mod connector;
mod endpoint;
mod endpoint_table;
mod feed;
mod informer;
mod json;
mod node;
mod node_watch;
mod open_watch;
mod pod;
mod pod_index;
mod pod_store;
mod pod_watch;
mod proxy;
mod scope;
mod scope_denial;
mod slice;
mod slice_store;
mod slice_watch;
mod timing;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use cluster::Cluster;
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::task::JoinSet;
use tracing::{error, info};

use self::{
    pod_watch::{PodTables, PodWatch},
    scope::{Scope, groups, share},
    scope_denial::ObjectKind,
    slice_watch::SliceWatch,
};
use super::{FollowedMember, SourceContext, supervise};

/// Follows the members of one Kubernetes source until the program stops; with `identify_clients`,
/// all pods of the cluster too.
///
/// Dropping the future stops every watch, but `cluster` keeps what they have read, and their
/// connections.
pub async fn run(
    cluster: Arc<Cluster>,
    identify_clients: bool,
    members: Vec<FollowedMember>,
    context: SourceContext,
) {
    let mut denied = cluster.denied();
    loop {
        denied.mark_unchanged();
        // Every watch is in the status before the first one runs: the source is not ready when only
        // that one has synced.
        let mut watches: JoinSet<()> =
            watches(&cluster, identify_clients, members.clone(), &context).into_iter().collect();
        tokio::select! {
            () = all_ended(&mut watches, &context) => return,
            // The cluster holds the other end.
            Ok(()) = denied.changed() => {}
        }
        context.retain_current();
        context.status.freeze();
        watches.shutdown().await;
    }
}

async fn all_ended(watches: &mut JoinSet<()>, context: &SourceContext) {
    while let Some(ended) = watches.join_next().await {
        if let Err(failure) = ended {
            error!(source = %context.status.id(), "a watch task failed; its state is frozen: {failure}");
        }
    }
}

/// The supervised watches of all members.
fn watches(
    cluster: &Arc<Cluster>,
    identify_clients: bool,
    members: Vec<FollowedMember>,
    context: &SourceContext,
) -> Vec<BoxFuture<'static, ()>> {
    let source = context.status.id();
    let (pods, services) = groups(members);
    cluster.follow_nodes(identify_clients || !pods.is_empty());
    let denied = cluster.denied().borrow().clone();
    let may = |kind| !denied.contains(&kind);
    let mut pods = share(pods, may(ObjectKind::Pods), identify_clients);
    if identify_clients {
        pods.entry(Scope::Cluster).or_default();
    }
    let services = share(services, may(ObjectKind::EndpointSlices), false);
    cluster.keep(
        &pods.keys().map(pod_watch::collection).collect(),
        &services.keys().map(slice_watch::collection).collect(),
    );
    note_denial(context, denied.is_empty());
    let mut watches = Vec::new();
    for (scope, groups) in pods {
        let clients =
            (identify_clients && scope == Scope::Cluster).then(|| client_pods::table(source.clone()));
        let has_fallback = scope == Scope::Cluster && !groups.is_empty();
        let denial = has_fallback.then(|| cluster.denial(ObjectKind::Pods, clients.is_some()));
        let informer = cluster.pods(pod_watch::collection(&scope));
        let tables = PodTables::new(&scope, groups, clients);
        let subject = tables.subject();
        let watch =
            PodWatch::new(informer, &scope, tables, cluster.zones().clone(), cluster.timing().zones, denial);
        watches.push(supervise(watch, scope.name("pods"), subject, context.clone()).boxed());
    }
    for (scope, groups) in services {
        let has_fallback = scope == Scope::Cluster;
        let denial = has_fallback.then(|| cluster.denial(ObjectKind::EndpointSlices, false));
        let informer = cluster.slices(slice_watch::collection(&scope));
        let watch = SliceWatch::new(informer, &scope, groups, denial);
        let subject = watch.subject();
        watches.push(supervise(watch, scope.name("EndpointSlices"), subject, context.clone()).boxed());
    }
    watches
}

/// Notes for operators whether one watch of the whole cluster was denied.
fn note_denial(context: &SourceContext, may_use_cluster: bool) {
    const NOTE: &str = "the token may not list the pods or EndpointSlices of all namespaces, so each namespace \
                        has watches of its own; a ClusterRoleBinding makes one watch of them";
    let note = (!may_use_cluster).then(|| NOTE.to_owned());
    if context.status.note("scope", note) && !may_use_cluster {
        info!(source = %context.status.id(), "{NOTE}");
    }
}
