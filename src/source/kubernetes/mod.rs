//! Kubernetes: pods by label selector, or the EndpointSlices of a Service.
//!
//! One watch for each (namespace, objects) that members ask for, however many members do; one client for them all; and
//! one more watch, of nodes, that knows which zone a pod is in. With `identify_clients` there is also one of all pods of
//! the cluster ([`client_pods`]), so that routes know who asks. The way of the data: [`client`] sends requests,
//! [`feed`] turns list and watch into [`feed::Change`]s of small types ([`pod`], [`slice`](mod@slice), [`node`]), [`endpoint_table`] keeps
//! what is there now and says what changed.
//!
//! The loop over list and watch is our own, over kube's client (kubeconfig, exec plugins, TLS, tokens) and its request
//! builder. `kube::runtime::watcher` was rejected: after an HTTP 410 at the start of a watch it asks for the same
//! version for ever, it retries inside where [`supervise`](super::supervise()) should see the failure, and the body of a
//! list and a line of a watch have no limit. `kube::Api` was rejected for the same lack of limits, and because its
//! `Resource` trait wants an `ObjectMeta` of several maps in every object.
//!
//! When a watch ends as it should (the server closes it after `timeoutSeconds`) it goes on from the version it has
//! reached, without a gap and without a list. When the version is gone (410) it lists anew, while what was said
//! before still serves. Any other end is a failure, after which everything is listed again.
//!
//! Imports [`crate::model`], the settings in [`crate::config`], and the supervision of [`super`].
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

mod client;
mod client_pods;
mod collection;
mod endpoint;
mod endpoint_table;
mod feed;
mod json;
mod node;
mod node_watch;
mod pod;
mod pod_watch;
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
    timing::Timing,
};
use super::{FollowedMember, SourceContext, supervise};
use crate::config::{KubernetesObjects, KubernetesSource, SourceQuery};

/// Follows everything that `members` ask a Kubernetes source for, until the program stops.
///
/// Members that do not ask a Kubernetes source are left out. Dropping the future ends all watches.
pub async fn run(settings: KubernetesSource, members: Vec<FollowedMember>, context: SourceContext) {
    follow(settings, members, context, Timing::default()).await;
}

async fn follow(
    settings: KubernetesSource,
    members: Vec<FollowedMember>,
    context: SourceContext,
    timing: Timing,
) {
    let source = settings.id.clone();
    let identify_clients = settings.identify_clients;
    let clients = Arc::new(SharedClient::new(settings, timing.silence));
    let zones = NodeZones::default();
    let mut supervised = Vec::new();
    let groups: Vec<_> = groups(members).collect();
    let mut aside = JoinSet::new();
    if identify_clients || groups.iter().any(|group| matches!(group.objects, KubernetesObjects::Pods(_))) {
        let nodes = NodeWatch::new(Arc::clone(&clients), timing.clone(), zones.clone());
        aside.spawn(nodes.run(source.clone()));
    }
    if identify_clients {
        let table = EndpointTable::new(vec![client_pods::member(source.clone())]);
        let subject = table.subject();
        let pods = Feed::<ClientPod>::new(Arc::clone(&clients), client_pods::collection(), timing.clone());
        let watch = PodWatch::new(pods, table, &zones);
        supervised.push(supervise(watch, "all pods".to_owned(), subject, context.clone()).boxed());
    }
    for Group { namespace, objects, members } in groups {
        let table = EndpointTable::new(members);
        let subject = table.subject();
        let context = context.clone();
        match objects {
            KubernetesObjects::Pods(selector) => {
                let name = format!("pods {selector} in {namespace}");
                let pods = Feed::<Pod>::new(
                    Arc::clone(&clients),
                    pod_watch::collection(&namespace, &selector),
                    timing.clone(),
                );
                let watch = PodWatch::new(pods, table, &zones);
                supervised.push(supervise(watch, name, subject, context).boxed());
            }
            KubernetesObjects::Service(service) => {
                let name = format!("service {service} in {namespace}");
                let slices = Feed::new(
                    Arc::clone(&clients),
                    slice_watch::collection(&namespace, &service),
                    timing.clone(),
                );
                let watch = SliceWatch::new(slices, table);
                supervised.push(supervise(watch, name, subject, context).boxed());
            }
        }
    }
    // All are in the status before any runs: the source is not ready when the first of them is.
    let mut watches: JoinSet<()> = supervised.into_iter().collect();
    while let Some(ended) = watches.join_next().await {
        if let Err(failure) = ended {
            error!(%source, "a watch has stopped for good: {failure}");
        }
    }
}

/// Members that one watch feeds.
struct Group {
    namespace: String,
    objects: KubernetesObjects,
    members: Vec<FollowedMember>,
}

/// Puts members that ask for the same objects together.
fn groups(members: Vec<FollowedMember>) -> impl Iterator<Item = Group> {
    let mut groups = BTreeMap::<_, Group>::new();
    for followed in members {
        let SourceQuery::Kubernetes(query) = &followed.rule.query else { continue };
        let (namespace, objects) = (query.namespace.clone(), query.objects.clone());
        let key = match &objects {
            KubernetesObjects::Pods(selector) => (namespace.clone(), "pods", selector.to_string()),
            KubernetesObjects::Service(service) => (namespace.clone(), "service", service.clone()),
        };
        let group = groups.entry(key).or_insert_with(|| Group { namespace, objects, members: Vec::new() });
        group.members.push(followed);
    }
    groups.into_values()
}
