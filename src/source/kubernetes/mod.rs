//! The Kubernetes source: pods by label selector, or the EndpointSlices of a Service.
//!
//! ```text
//! SharedClient ─▶ Feed: list, then OpenWatch ─▶ ObjectChange
//!                   ├─ Pod ───▶ PodWatch ───┬─▶ EndpointTable ─ difference ─▶ WatchOutbox
//!                   │             ▲ zones   │
//!                   ├─ Node ──▶ NodeWatch   │
//!                   └─ Slice ─▶ SliceWatch ─┘
//! ```
//!
//! - [`client`]: one client for all watches. It is made again when credentials may have changed.
//! - [`connector`], [`proxy`]: its connections, through a proxy where kubectl uses one.
//! - [`collection`], [`json`]: what is requested, and the JSON that all objects share.
//! - [`feed`], [`open_watch`]: list and watch as one stream of changes.
//! - [`pod`], [`slice`](mod@slice), [`node`]: the fields that are read of an object, as small
//!   types.
//! - [`client_pods`]: with `identify_clients`, all pods of the cluster, so that routes can match
//!   clients.
//! - [`endpoint`], [`endpoint_table`]: the current endpoints of a watch, and the updates that
//!   follow from a change.
//! - [`pod_watch`], [`slice_watch`]: the supervised watches, one for each namespace and selector or
//!   Service, however many members use it.
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
mod collection;
mod connector;
mod endpoint;
mod endpoint_table;
mod feed;
mod json;
mod node;
mod node_watch;
mod open_watch;
mod pod;
mod pod_watch;
mod proxy;
mod slice;
mod slice_watch;
mod timing;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tracing::error;

use self::{
    client::SharedClient,
    client_pods::ClientPod,
    endpoint_table::EndpointTable,
    feed::Feed,
    node_watch::{NodeWatch, NodeZones},
    pod::Pod,
    pod_watch::PodWatch,
    slice_watch::SliceWatch,
    timing::KubernetesTiming,
};
use super::{FollowedMember, SourceContext, supervise};
use crate::config::{KubernetesObjects, KubernetesSource, SourceQuery};

/// Follows the members of one Kubernetes source until the program stops.
///
/// Dropping the future stops every watch.
pub async fn run(settings: KubernetesSource, members: Vec<FollowedMember>, context: SourceContext) {
    follow(settings, members, context, KubernetesTiming::default()).await;
}

async fn follow(
    settings: KubernetesSource,
    members: Vec<FollowedMember>,
    context: SourceContext,
    timing: KubernetesTiming,
) {
    let source = settings.id.clone();
    let identify_clients = settings.identify_clients;
    let client = Arc::new(SharedClient::new(settings, timing.max_silence));
    let zones = NodeZones::default();
    let mut supervised = Vec::new();
    let groups: Vec<_> = groups(members).collect();
    let mut unsupervised = JoinSet::new();
    if identify_clients || groups.iter().any(|group| matches!(group.objects, KubernetesObjects::Pods(_))) {
        let nodes = NodeWatch::new(Arc::clone(&client), timing.clone(), zones.clone());
        unsupervised.spawn(nodes.run(source.clone()));
    }
    if identify_clients {
        let table = EndpointTable::new(vec![client_pods::member(source.clone())]);
        let subject = table.subject();
        let pods = Feed::<ClientPod>::new(Arc::clone(&client), client_pods::collection(), timing.clone());
        let watch = PodWatch::new(pods, table, zones.clone(), timing.zones);
        supervised.push(supervise(watch, "all pods".to_owned(), subject, context.clone()).boxed());
    }
    for MemberGroup { namespace, objects, members } in groups {
        let table = EndpointTable::new(members);
        let subject = table.subject();
        let context = context.clone();
        match objects {
            KubernetesObjects::Pods(selector) => {
                let name = format!("pods {selector} in {namespace}");
                let pods = Feed::<Pod>::new(
                    Arc::clone(&client),
                    pod_watch::collection(&namespace, &selector),
                    timing.clone(),
                );
                let watch = PodWatch::new(pods, table, zones.clone(), timing.zones);
                supervised.push(supervise(watch, name, subject, context).boxed());
            }
            KubernetesObjects::Service(service) => {
                let name = format!("service {service} in {namespace}");
                let slices = Feed::new(
                    Arc::clone(&client),
                    slice_watch::collection(&namespace, &service),
                    timing.clone(),
                );
                let watch = SliceWatch::new(slices, table);
                supervised.push(supervise(watch, name, subject, context).boxed());
            }
        }
    }
    // Every watch is in the status before the first one runs: the source is not ready when only
    // that one has synced.
    let mut watches: JoinSet<()> = supervised.into_iter().collect();
    while let Some(ended) = watches.join_next().await {
        if let Err(failure) = ended {
            error!(%source, "a watch task failed; its state is frozen: {failure}");
        }
    }
}

/// The members that share a watch.
struct MemberGroup {
    namespace: String,
    objects: KubernetesObjects,
    members: Vec<FollowedMember>,
}

/// Groups members that follow the same objects.
fn groups(members: Vec<FollowedMember>) -> impl Iterator<Item = MemberGroup> {
    let mut groups = BTreeMap::<_, MemberGroup>::new();
    for followed in members {
        let SourceQuery::Kubernetes(query) = &followed.rule.query else {
            debug_assert!(false, "a member of a Kubernetes source has a Kubernetes query");
            continue;
        };
        let (namespace, objects) = (query.namespace.clone(), query.objects.clone());
        let key = match &objects {
            KubernetesObjects::Pods(selector) => (namespace.clone(), "pods", selector.to_string()),
            KubernetesObjects::Service(service) => (namespace.clone(), "service", service.clone()),
        };
        let group =
            groups.entry(key).or_insert_with(|| MemberGroup { namespace, objects, members: Vec::new() });
        group.members.push(followed);
    }
    groups.into_values()
}
