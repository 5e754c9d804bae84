//! All pods of the cluster, as the clients that may send queries.
//!
//! Only what identifies a client is kept: addresses, namespace, labels and zone. Health is not: a
//! pod that is not ready sends queries too, and so does one that is being deleted, until it ends
//! and its address can go to another pod. So readiness, which is most of what changes about pods,
//! causes no update.

use super::{
    endpoint::{Endpoint, Ports},
    endpoint_table::EndpointTable,
};
use crate::{
    config::{GuardRule, KubernetesObjects, KubernetesQuery, MemberRule, SourceQuery},
    model::{Health, Instance, Labels, Member, Selector, SourceId},
    source::FollowedMember,
};

/// The table of all pods of the cluster as clients.
pub(super) fn table(source: SourceId) -> EndpointTable {
    let objects = KubernetesObjects::Pods(Selector::default());
    let query = SourceQuery::Kubernetes(KubernetesQuery { namespace: String::new(), objects, port: None });
    let rule = MemberRule {
        source: source.clone(),
        labels: Labels::default(),
        port_name: None,
        guard: GuardRule::default(),
        query,
    };
    EndpointTable::new(vec![FollowedMember { member: Member::clients(source), rule }])
}

/// A pod's endpoint as a client. Its id has the namespace in front, since pod names are unique only
/// within one.
pub(super) fn client(namespace: &str, endpoint: &Endpoint) -> Endpoint {
    Endpoint {
        id: id(namespace, &endpoint.id).into(),
        ports: Ports::default(),
        health: Health::Healthy,
        reason: None,
        weight: Instance::DEFAULT_WEIGHT,
        ..endpoint.clone()
    }
}

/// A pod's id as a client.
pub(super) fn id(namespace: &str, pod: &str) -> String {
    format!("{namespace}/{pod}")
}
