//! EndpointSlices: the fields that are read, and the endpoints that several slices make together.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde::Deserialize;
use tracing::debug;

use super::{
    collection::Object,
    endpoint::{Endpoint, Ports},
    json::Metadata,
};
use crate::{
    model::{Health, Instance, Labels, Name, Target},
    source::watch_error::excerpt,
};

/// A slice: endpoints of one address family, and the ports that all of them have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) name: Arc<str>,
    namespace: Option<Arc<str>>,
    pub(super) endpoints: Vec<SliceEndpoint>,
    ports: Ports,
}

/// One endpoint of a slice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SliceEndpoint {
    /// The name of the endpoint's pod, or its address if it has none.
    id: Arc<str>,
    /// The UID of the pod.
    uid: Option<Arc<str>>,
    location: EndpointLocation,
    health: Health,
    zone: Option<Arc<str>>,
}

/// The address or host name of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
enum EndpointLocation {
    Address(IpAddr),
    Host(Name),
}

/// The fields of a slice that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SliceJson {
    metadata: Metadata,
    address_type: String,
    endpoints: Option<Vec<EndpointJson>>,
    ports: Option<Vec<PortJson>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EndpointJson {
    addresses: Option<Vec<String>>,
    conditions: Option<Conditions>,
    target_ref: Option<TargetRef>,
    zone: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TargetRef {
    name: Option<String>,
    uid: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PortJson {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<i64>,
}

impl Object for Slice {
    type Json = SliceJson;

    fn version(json: &SliceJson) -> &str {
        &json.metadata.resource_version
    }

    fn from_json(json: SliceJson) -> Self {
        let is_host = json.address_type == "FQDN";
        let endpoints = json.endpoints.unwrap_or_default();
        let ports = json.ports.iter().flatten();
        Self {
            name: json.metadata.name.into(),
            namespace: json.metadata.namespace.map(Into::into),
            endpoints: endpoints.into_iter().filter_map(|endpoint| endpoint.convert(is_host)).collect(),
            ports: Ports::collect(
                ports.map(|port| (port.name.as_deref(), port.protocol.as_deref(), port.port)),
            ),
        }
    }
}

impl EndpointJson {
    /// Converts an endpoint; `None` if it has no usable address.
    ///
    /// Of several addresses the first one is used: the API treats them as interchangeable. Missing
    /// conditions mean what the API specifies: ready, not terminating. An endpoint that is both
    /// ready and terminating belongs to a Service with `publishNotReadyAddresses`: such a Service
    /// lists its pods until they are gone.
    fn convert(self, is_host: bool) -> Option<SliceEndpoint> {
        let address = self.addresses?.into_iter().next()?;
        let location = match is_host {
            true => address.parse().map(EndpointLocation::Host).ok(),
            false => address.parse().map(EndpointLocation::Address).ok(),
        };
        let Some(location) = location else {
            debug!("an endpoint's address cannot be parsed: {}", excerpt(&address));
            return None;
        };
        let Conditions { ready, terminating } = self.conditions.unwrap_or_default();
        let health = match (ready.unwrap_or(true), terminating.unwrap_or(false)) {
            (true, _) => Health::Healthy,
            (false, true) => Health::Draining,
            (false, false) => Health::Unhealthy,
        };
        let TargetRef { name, uid } = self.target_ref.unwrap_or_default();
        let name = name.filter(|name| !name.is_empty());
        Some(SliceEndpoint {
            uid: uid.filter(|_| name.is_some()).map(Into::into),
            id: name.unwrap_or(address).into(),
            location,
            health,
            zone: self.zone.filter(|zone| !zone.is_empty()).map(Into::into),
        })
    }
}

/// One pod, merged from all slices.
#[derive(Debug)]
struct MergedPod<'a> {
    addresses: Vec<IpAddr>,
    host: Option<&'a Name>,
    ports: &'a Ports,
    health: Health,
    zone: Option<&'a Arc<str>>,
    namespace: Option<&'a Arc<str>>,
}

/// Merges slices, given in the order of their names, into endpoints by id.
///
/// A pod of a dual-stack Service is in one slice of each address family: one endpoint with both
/// addresses.
///
/// While a pod moves between slices, it can be in two slices of one family. No field tells which
/// one is newer, so the worse health counts: a pod that ends is ended at once, and a pod that
/// becomes ready is ready once both slices say so.
///
/// Two pods of one name (a StatefulSet's old and new one) differ by their UIDs. The one with the
/// better health counts, since only one of them can be alive.
pub(super) fn merge<'a>(slices: impl Iterator<Item = &'a Slice>) -> BTreeMap<Arc<str>, Endpoint> {
    let mut pods = BTreeMap::<(&Arc<str>, Option<&Arc<str>>), MergedPod<'a>>::new();
    for slice in slices {
        for endpoint in &slice.endpoints {
            let pod = pods.entry((&endpoint.id, endpoint.uid.as_ref())).or_insert_with(|| MergedPod {
                addresses: Vec::new(),
                host: None,
                ports: &slice.ports,
                health: endpoint.health,
                zone: None,
                // Only pods have UIDs.
                namespace: slice.namespace.as_ref().filter(|_| endpoint.uid.is_some()),
            });
            pod.add(endpoint);
        }
    }
    let mut endpoints = BTreeMap::<Arc<str>, Endpoint>::new();
    for ((id, _), pod) in pods {
        let endpoint = pod.endpoint(id);
        match endpoints.get(id) {
            Some(other) if other.health < endpoint.health => {}
            _ => {
                endpoints.insert(Arc::clone(id), endpoint);
            }
        }
    }
    endpoints
}

impl<'a> MergedPod<'a> {
    fn add(&mut self, endpoint: &'a SliceEndpoint) {
        match &endpoint.location {
            EndpointLocation::Address(address) if !self.addresses.contains(address) => {
                self.addresses.push(*address)
            }
            EndpointLocation::Address(_) => {}
            EndpointLocation::Host(name) => self.host = Some(name),
        }
        self.health = self.health.max(endpoint.health);
        self.zone = self.zone.or(endpoint.zone.as_ref());
    }

    fn endpoint(mut self, id: &Arc<str>) -> Endpoint {
        self.addresses.sort_unstable();
        let target = match self.host {
            Some(host) if self.addresses.is_empty() => Target::Host(host.clone()),
            _ => Target::Addresses(self.addresses.into()),
        };
        let reason = match self.health {
            Health::Unhealthy => Some("not ready".into()),
            Health::Draining => Some("terminating".into()),
            _ => None,
        };
        Endpoint {
            id: Arc::clone(id),
            target,
            ports: self.ports.clone(),
            health: self.health,
            reason,
            weight: Instance::DEFAULT_WEIGHT,
            labels: Labels::default(),
            node: None,
            zone: self.zone.cloned(),
            namespace: self.namespace.cloned(),
            shares_address: false,
        }
    }
}

#[cfg(test)]
mod tests;
