//! EndpointSlices: the fields that are read, and the endpoint that several slices make together.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde::Deserialize;
use tracing::debug;

use super::{
    collection::Object,
    endpoint::{Endpoint, OtherPorts, Ports},
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
    pub(super) namespace: Option<Arc<str>>,
    /// The name of the Service.
    pub(super) service: Option<Arc<str>>,
    /// Sorted by id; of one id, in the slice's order.
    endpoints: Vec<SliceEndpoint>,
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
        let endpoints = json.endpoints.unwrap_or_default().into_iter();
        let mut endpoints: Vec<_> = endpoints.filter_map(|endpoint| endpoint.convert(is_host)).collect();
        endpoints.sort_by(|one, other| one.id.cmp(&other.id));
        let ports = json.ports.iter().flatten();
        let labels = json.metadata.labels.unwrap_or_default();
        Self {
            name: json.metadata.name.into(),
            namespace: json.metadata.namespace.filter(|namespace| !namespace.is_empty()).map(Into::into),
            service: labels.get(Self::SERVICE).map(|service| service.as_str().into()),
            endpoints,
            ports: Ports::collect(
                ports.map(|port| (port.name.as_deref(), port.protocol.as_deref(), port.port)),
            ),
        }
    }
}

impl Slice {
    /// The label that names the Service.
    ///
    /// <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#ownership>
    const SERVICE: &str = "kubernetes.io/service-name";

    /// Iterates over the ids of the slice's endpoints, each once.
    pub(super) fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.endpoints.chunk_by(|one, other| one.id == other.id).filter_map(|same| Some(&same.first()?.id))
    }

    /// How much of the memory limit the slice counts for.
    pub(super) fn size(&self) -> usize {
        self.endpoints.len() + 1
    }

    /// The ids whose endpoints differ between two states of a slice.
    pub(super) fn changed_ids(&self, other: &Self) -> Vec<Arc<str>> {
        let is_equal = (&self.ports, &self.namespace) == (&other.ports, &other.namespace);
        let differs = |id: &&Arc<str>| !is_equal || self.with_id(id) != other.with_id(id);
        let added = other.ids().filter(|id| self.with_id(id).is_empty());
        self.ids().filter(differs).chain(added).cloned().collect()
    }

    fn with_id(&self, id: &str) -> &[SliceEndpoint] {
        let start = self.endpoints.partition_point(|endpoint| *endpoint.id < *id);
        let end = self.endpoints.partition_point(|endpoint| *endpoint.id <= *id);
        debug_assert!(start <= end, "sorted by id");
        self.endpoints.get(start..end).unwrap_or_default()
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
    /// The pod as the slices with equal ports have it; in the order of the first slice of each.
    parts: Vec<MergedPart<'a>>,
    zone: Option<&'a Arc<str>>,
    namespace: Option<&'a Arc<str>>,
}

/// One pod, merged from the slices that have the same ports.
#[derive(Debug)]
struct MergedPart<'a> {
    ports: &'a Ports,
    addresses: Vec<IpAddr>,
    host: Option<&'a Name>,
    health: Health,
}

/// Merges what `slices`, in the order of their names, have of one id; `None`: nothing.
///
/// A pod of a dual-stack Service is in one slice of each address family: one endpoint with both
/// addresses.
///
/// Readiness belongs to the ports of a slice: the same address may be in another slice with other
/// ports, and be ready there. The endpoint is as healthy as at its best ports and has these ports;
/// the others stay for members that name one of them.
///
/// While a pod moves between slices, it can be in two slices of one family with the same ports. No
/// field tells which one is newer, so the worse health counts: a pod that ends is ended at once,
/// and a pod that becomes ready is ready once both slices say so.
///
/// Two pods of one name (a StatefulSet's old and new one) differ by their UIDs. The one with the
/// better health counts, since only one of them can be alive.
pub(super) fn merge<'a>(id: &Arc<str>, slices: impl Iterator<Item = &'a Slice>) -> Option<Endpoint> {
    let mut pods = BTreeMap::<Option<&Arc<str>>, MergedPod<'a>>::new();
    for slice in slices {
        for endpoint in slice.with_id(id) {
            let pod = pods.entry(endpoint.uid.as_ref()).or_insert_with(|| MergedPod {
                parts: Vec::new(),
                zone: None,
                // Only pods have UIDs.
                namespace: slice.namespace.as_ref().filter(|_| endpoint.uid.is_some()),
            });
            pod.add(endpoint, &slice.ports);
        }
    }
    // The last one of equal health: as `min_by_key` of the reverse.
    pods.into_values().rev().map(|pod| pod.endpoint(id)).min_by_key(|endpoint| endpoint.health)
}

impl<'a> MergedPod<'a> {
    fn add(&mut self, endpoint: &'a SliceEndpoint, ports: &'a Ports) {
        match self.parts.iter_mut().find(|part| part.ports == ports) {
            Some(part) => part.health = part.health.max(endpoint.health),
            None => self.parts.push(MergedPart {
                ports,
                addresses: Vec::new(),
                host: None,
                health: endpoint.health,
            }),
        }
        if let Some(part) = self.parts.iter_mut().find(|part| part.ports == ports) {
            part.locate(&endpoint.location);
        }
        self.zone = self.zone.or(endpoint.zone.as_ref());
    }

    fn endpoint(self, id: &Arc<str>) -> Endpoint {
        let health = self.parts.iter().map(|part| part.health).min().unwrap_or_default();
        let (best, worse): (Vec<_>, Vec<_>) = self.parts.into_iter().partition(|part| part.health == health);
        let mut addresses: Vec<_> = best.iter().flat_map(|part| part.addresses.iter().copied()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let target = match best.iter().find_map(|part| part.host) {
            Some(host) if addresses.is_empty() => Target::Host(host.clone()),
            _ => Target::Addresses(addresses.into()),
        };
        let worse = worse.into_iter().map(|part| OtherPorts {
            ports: part.ports.clone(),
            health: part.health,
            reason: reason(part.health),
        });
        Endpoint {
            id: Arc::clone(id),
            target,
            ports: Ports::union(best.iter().map(|part| part.ports)),
            other_ports: worse.collect(),
            health,
            reason: reason(health),
            weight: Instance::DEFAULT_WEIGHT,
            labels: Labels::default(),
            node: None,
            zone: self.zone.cloned(),
            namespace: self.namespace.cloned(),
            shares_address: false,
        }
    }
}

impl<'a> MergedPart<'a> {
    fn locate(&mut self, location: &'a EndpointLocation) {
        match location {
            EndpointLocation::Address(address) if !self.addresses.contains(address) => {
                self.addresses.push(*address);
            }
            EndpointLocation::Address(_) => {}
            EndpointLocation::Host(name) => self.host = Some(name),
        }
    }
}

fn reason(health: Health) -> Option<Arc<str>> {
    match health {
        Health::Unhealthy => Some("not ready".into()),
        Health::Draining => Some("terminating".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
