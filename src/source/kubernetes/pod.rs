//! Pods: the fields that are read, and the endpoint that follows from them.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>

use std::{net::IpAddr, sync::Arc};

use serde::Deserialize;
use tracing::debug;

use super::{
    collection::Object,
    endpoint::{Endpoint, Ports},
    json::Metadata,
};
use crate::{
    model::{Health, Instance, Target},
    source::watch_error::excerpt,
};

/// A pod: its name and its endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) namespace: Option<Arc<str>>,
    pub(super) name: Arc<str>,
    /// `None`: the pod has no address (yet), or it has ended and its address may belong to another
    /// pod by now.
    pub(super) endpoint: Option<Endpoint>,
}

/// The fields of a pod that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PodJson {
    metadata: Metadata,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: Option<String>,
    host_network: bool,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    restart_policy: Option<String>,
    ports: Option<Vec<ContainerPort>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerPort {
    name: Option<String>,
    container_port: i64,
    protocol: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: Option<String>,
    conditions: Option<Vec<PodCondition>>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodCondition {
    r#type: String,
    status: String,
    reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodIp {
    ip: String,
}

impl Object for Pod {
    type Json = PodJson;

    fn version(json: &PodJson) -> &str {
        &json.metadata.resource_version
    }

    fn from_json(json: PodJson) -> Self {
        let PodJson { metadata, spec, status } = json;
        let name: Arc<str> = metadata.name.as_str().into();
        let namespace: Option<Arc<str>> =
            metadata.namespace.as_deref().filter(|name| !name.is_empty()).map(Into::into);
        let addresses = status.addresses();
        if addresses.is_empty() || name.is_empty() || status.has_ended() {
            return Self { namespace, name, endpoint: None };
        }
        let (health, reason) = match metadata.deletion_timestamp {
            Some(_) => (Health::Draining, Some("being deleted".into())),
            None => status.health(),
        };
        let endpoint = Endpoint {
            id: Arc::clone(&name),
            target: Target::Addresses(addresses.into()),
            ports: spec.ports(),
            other_ports: Box::default(),
            health,
            reason,
            weight: weight(&metadata),
            labels: metadata.labels.unwrap_or_default().into_iter().collect(),
            node: spec.node_name.filter(|node| !node.is_empty()).map(Into::into),
            zone: None,
            namespace: namespace.clone(),
            shares_address: spec.host_network,
        };
        Self { namespace, name, endpoint: Some(endpoint) }
    }
}

impl PodStatus {
    /// All addresses, in the pod's order: one for each address family of the cluster.
    fn addresses(&self) -> Vec<IpAddr> {
        const LIMIT: usize = 8;
        let all = self.pod_ips.iter().flatten().map(|pod_ip| pod_ip.ip.as_str());
        let mut addresses = Vec::new();
        for address in all.chain(self.pod_ip.as_deref()).filter_map(|ip| ip.parse().ok()) {
            if !addresses.contains(&address) && addresses.len() < LIMIT {
                addresses.push(address);
            }
        }
        addresses
    }

    /// Whether the pod has ended, so that its address may go to another pod.
    fn has_ended(&self) -> bool {
        matches!(self.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Healthy if the pod is running and ready; otherwise unhealthy, with the reason.
    fn health(&self) -> (Health, Option<Arc<str>>) {
        let phase = self.phase.as_deref().unwrap_or("Unknown");
        if phase != "Running" {
            return (Health::Unhealthy, Some(excerpt(&format!("phase {phase}")).into()));
        }
        let ready = self.conditions.iter().flatten().find(|condition| condition.r#type == "Ready");
        let reason = match ready {
            None => "no Ready condition yet".to_owned(),
            Some(condition) if condition.status == "True" => return (Health::Healthy, None),
            Some(PodCondition { status, reason: Some(reason), .. }) => format!("Ready={status}: {reason}"),
            Some(PodCondition { status, reason: None, .. }) => format!("Ready={status}"),
        };
        (Health::Unhealthy, Some(excerpt(&reason).into()))
    }
}

impl PodSpec {
    /// The TCP and UDP ports of the containers, then those of the sidecars: init containers that
    /// keep running.
    fn ports(&self) -> Ports {
        let sidecars = self.init_containers.iter().flatten();
        let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let containers = self.containers.iter().flatten().chain(sidecars);
        let ports = containers.flat_map(|container| container.ports.iter().flatten());
        Ports::collect(
            ports.map(|port| (port.name.as_deref(), port.protocol.as_deref(), Some(port.container_port))),
        )
    }
}

/// The weight from the pod's annotation; the default if there is none, or if it is not a number.
fn weight(metadata: &Metadata) -> u16 {
    let Some(text) = metadata.annotations.as_ref().and_then(|annotations| annotations.weight.as_deref())
    else {
        return Instance::DEFAULT_WEIGHT;
    };
    text.trim().parse().unwrap_or_else(|_| {
        debug!(
            pod = metadata.name,
            "annotation muster.dev/weight is not a number from 0 to 65535: {}",
            excerpt(text)
        );
        Instance::DEFAULT_WEIGHT
    })
}

#[cfg(test)]
mod tests;
