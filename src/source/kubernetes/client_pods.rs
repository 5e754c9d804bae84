//! All pods of the cluster, as the clients that may send queries.
//!
//! Only what identifies a client is kept: addresses, namespace, labels and zone. Health is not: a
//! pod that is not ready sends queries too, and so does one that is being deleted, until it ends
//! and its address can go to another pod. So readiness, which is most of what changes about pods,
//! causes no update.

use std::sync::Arc;

use super::{
    collection::{Collection, Object},
    endpoint::{Endpoint, Ports},
    pod::{Pod, PodJson},
};
use crate::{
    config::{KubernetesObjects, KubernetesQuery, MemberRule, SourceQuery},
    model::{Health, Instance, Labels, Member, Selector, SourceId},
    source::FollowedMember,
};

/// The pods of all namespaces.
pub(super) fn collection() -> Collection {
    Collection::everywhere("/api/v1", "pods")
}

/// The member that all of these pods belong to.
pub(super) fn member(source: SourceId) -> FollowedMember {
    let objects = KubernetesObjects::Pods(Selector::default());
    let query = SourceQuery::Kubernetes(KubernetesQuery { namespace: String::new(), objects, port: None });
    let rule = MemberRule { source: source.clone(), labels: Labels::default(), port_name: None, query };
    FollowedMember { member: Member::clients(source), rule }
}

/// A pod as a client. Its name has the namespace in front, since pod names are unique only within
/// one.
#[derive(Debug)]
pub(super) struct ClientPod(Pod);

impl Object for ClientPod {
    type Json = PodJson;

    fn version(json: &PodJson) -> &str {
        Pod::version(json)
    }

    fn from_json(json: PodJson) -> Self {
        let namespace = json.namespace().to_owned();
        let Pod { name, endpoint } = Pod::from_json(json);
        let name: Arc<str> = format!("{namespace}/{name}").into();
        let endpoint = endpoint.map(|endpoint| Endpoint {
            id: Arc::clone(&name),
            ports: Ports::default(),
            health: Health::Healthy,
            reason: None,
            weight: Instance::DEFAULT_WEIGHT,
            ..endpoint
        });
        Self(Pod { name, endpoint })
    }
}

impl From<ClientPod> for Pod {
    fn from(pod: ClientPod) -> Self {
        pod.0
    }
}
