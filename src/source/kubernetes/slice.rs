//! EndpointSlices: what is read of one, and what several say together.
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

/// A slice: endpoints of one address family and the ports that all of them have.
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
    /// The name of the pod behind it, or its address where nothing is behind it.
    id: Arc<str>,
    /// The UID of the pod.
    uid: Option<Arc<str>>,
    place: Place,
    health: Health,
    zone: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
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
    /// Returns `None` where there is no address that can be used.
    ///
    /// Of several addresses the first one counts: the API lets clients take them for interchangeable. A condition that
    /// is left out is read as the API says: ready, not terminating.
    fn convert(self, is_host: bool) -> Option<SliceEndpoint> {
        let address = self.addresses?.into_iter().next()?;
        let place = match is_host {
            true => address.parse().map(Place::Host).ok(),
            false => address.parse().map(Place::Address).ok(),
        };
        let Some(place) = place else {
            debug!("not an address of an endpoint: {}", excerpt(&address));
            return None;
        };
        let Conditions { ready, terminating } = self.conditions.unwrap_or_default();
        let health = match (terminating, ready) {
            (Some(true), _) => Health::Draining,
            (_, Some(false)) => Health::Unhealthy,
            _ => Health::Healthy,
        };
        let TargetRef { name, uid } = self.target_ref.unwrap_or_default();
        let name = name.filter(|name| !name.is_empty());
        Some(SliceEndpoint {
            uid: uid.filter(|_| name.is_some()).map(Into::into),
            id: name.unwrap_or(address).into(),
            place,
            health,
            zone: self.zone.filter(|zone| !zone.is_empty()).map(Into::into),
        })
    }
}

/// What all slices say of one pod.
#[derive(Debug)]
struct Merged<'a> {
    addresses: Vec<IpAddr>,
    host: Option<&'a Name>,
    ports: &'a Ports,
    health: Health,
    zone: Option<&'a Arc<str>>,
    namespace: Option<&'a Arc<str>>,
}

/// Returns the endpoints that slices, in the order of their names, make together, by id.
///
/// A pod of a dual-stack Service is in one slice of each family: one endpoint with both addresses. For a moment a pod
/// may also be in two slices of one family, while it moves from one to the other; slices carry no order that tells
/// which is newer, so the worse word counts: what ends, ends at once, and what becomes ready does so when both slices
/// say it. Two pods of one name (a StatefulSet's, the old and the new one) are told apart by their UIDs; the fitter
/// one counts, since only one of them can be alive.
pub(super) fn merged<'a>(slices: impl Iterator<Item = &'a Slice>) -> BTreeMap<Arc<str>, Endpoint> {
    let mut pods = BTreeMap::<(&Arc<str>, Option<&Arc<str>>), Merged<'a>>::new();
    for slice in slices {
        for endpoint in &slice.endpoints {
            let pod = pods.entry((&endpoint.id, endpoint.uid.as_ref())).or_insert_with(|| Merged {
                addresses: Vec::new(),
                host: None,
                ports: &slice.ports,
                health: endpoint.health,
                zone: None,
                // Pods are told from other endpoints by their UIDs.
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

impl<'a> Merged<'a> {
    fn add(&mut self, endpoint: &'a SliceEndpoint) {
        match &endpoint.place {
            Place::Address(address) if !self.addresses.contains(address) => self.addresses.push(*address),
            Place::Address(_) => {}
            Place::Host(name) => self.host = Some(name),
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
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{config::PortRef, source::kubernetes::endpoint::member};

    fn slice(name: &str, kind: &str, endpoints: Value) -> Slice {
        let ports = json!([{ "name": "http", "protocol": "TCP", "port": 8080 }]);
        with_ports(name, kind, endpoints, ports)
    }

    fn with_ports(name: &str, kind: &str, endpoints: Value, ports: Value) -> Slice {
        let json = json!({
            "metadata": { "name": name, "resourceVersion": "1", "labels": { "kubernetes.io/service-name": "web" } },
            "addressType": kind,
            "endpoints": endpoints,
            "ports": ports,
        });
        Slice::from_json(serde_json::from_value(json).unwrap())
    }

    fn at(address: &str, pod: &str, uid: &str, conditions: Value) -> Value {
        json!({
            "addresses": [address],
            "conditions": conditions,
            "targetRef": { "kind": "Pod", "namespace": "shop", "name": pod, "uid": uid },
            "nodeName": "node-1",
            "zone": "zone-a",
        })
    }

    fn ready() -> Value {
        json!({ "ready": true, "serving": true, "terminating": false })
    }

    fn instances(slices: &[Slice]) -> Vec<Instance> {
        merged(slices.iter()).values().map(|endpoint| endpoint.instance(&member(None))).collect()
    }

    fn addresses(instance: &Instance) -> Vec<String> {
        match &instance.target {
            Target::Addresses(addresses) => addresses.iter().map(ToString::to_string).collect(),
            Target::Host(name) => panic!("{name:?} is not an address"),
        }
    }

    #[test]
    fn a_pod_in_a_slice_of_each_family_is_one_instance() {
        let mut slices = [
            slice("web-6", "IPv6", json!([at("fd00::1", "a", "1", ready())])),
            slice(
                "web-4",
                "IPv4",
                json!([at("10.0.0.1", "a", "1", ready()), at("10.0.0.2", "b", "2", ready())]),
            ),
        ];
        let all = instances(&slices);
        assert_eq!(all.iter().map(|instance| &*instance.id).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(addresses(&all[0]), ["10.0.0.1", "fd00::1"]);
        assert_eq!(addresses(&all[1]), ["10.0.0.2"]);
        assert_eq!((all[0].port, all[0].locality.as_deref()), (8080, Some("zone-a")));
        assert_eq!(&*all[0].named_ports[0].name, "http");
        slices.reverse();
        assert_eq!(instances(&slices), all, "whatever the slices' order");
    }

    #[test]
    fn conditions_are_health() {
        let table = [
            (ready(), Health::Healthy, None),
            (json!({}), Health::Healthy, None),
            (Value::Null, Health::Healthy, None),
            (json!({ "ready": false }), Health::Unhealthy, Some("not ready")),
            (
                json!({ "ready": false, "serving": true, "terminating": true }),
                Health::Draining,
                Some("terminating"),
            ),
            (json!({ "ready": true, "terminating": true }), Health::Draining, Some("terminating")),
        ];
        for (conditions, health, reason) in table {
            let all =
                instances(&[slice("web", "IPv4", json!([at("10.0.0.1", "a", "1", conditions.clone())]))]);
            assert_eq!((all[0].health, all[0].reason.as_deref()), (health, reason), "{conditions}");
        }
    }

    #[test]
    fn a_pod_in_two_slices_of_a_family_counts_as_the_worse_of_them() {
        let ending = json!({ "ready": false, "terminating": true });
        let mut slices = [
            slice("old", "IPv4", json!([at("10.0.0.1", "a", "1", ready())])),
            slice("new", "IPv4", json!([at("10.0.0.1", "a", "1", ending)])),
        ];
        for _ in 0..2 {
            let all = instances(&slices);
            assert_eq!(all.len(), 1);
            assert_eq!((addresses(&all[0]), all[0].health), (vec!["10.0.0.1".to_owned()], Health::Draining));
            slices.reverse();
        }
    }

    #[test]
    fn a_new_pod_of_the_same_name_takes_the_place_of_the_old_one() {
        let ending = json!({ "ready": false, "terminating": true });
        let mut slices = [
            slice("old", "IPv4", json!([at("10.0.0.1", "web-0", "9", ending)])),
            slice("new", "IPv4", json!([at("10.0.0.2", "web-0", "5", ready())])),
        ];
        for _ in 0..2 {
            let all = instances(&slices);
            assert_eq!(all.len(), 1);
            assert_eq!((addresses(&all[0]), all[0].health), (vec!["10.0.0.2".to_owned()], Health::Healthy));
            slices.reverse();
        }
    }

    #[test]
    fn an_endpoint_with_nothing_behind_it_is_called_by_its_address() {
        let endpoints =
            json!([{ "addresses": ["192.0.2.7", "192.0.2.8"] }, { "addresses": ["not an address"] }]);
        let all = instances(&[slice("manual", "IPv4", endpoints)]);
        assert_eq!(all.len(), 1);
        assert_eq!((&*all[0].id, addresses(&all[0])), ("192.0.2.7", vec!["192.0.2.7".to_owned()]));
    }

    #[test]
    fn a_host_name_is_a_host() {
        let endpoints = json!([{ "addresses": ["db.corp.example"] }, { "addresses": ["-"] }]);
        let all = instances(&[slice("manual", "FQDN", endpoints)]);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].target, Target::Host("db.corp.example".parse().unwrap()));
    }

    #[test]
    fn ports_may_be_without_name_or_number_or_missing() {
        let one = || json!([at("10.0.0.1", "a", "1", ready())]);
        let table = [
            (json!([{ "name": "", "port": 80 }]), 80, 0),
            (json!([{ "name": null, "port": null }]), 0, 0),
            (
                json!([{ "name": "s", "protocol": "SCTP", "port": 1 }, { "name": "u", "protocol": "UDP", "port": 2 }]),
                2,
                1,
            ),
            (Value::Null, 0, 0),
        ];
        for (ports, main, named) in table {
            let all = instances(&[with_ports("web", "IPv4", one(), ports.clone())]);
            assert_eq!((all[0].port, all[0].named_ports.len()), (main, named), "{ports}");
        }
        let wanted = member(Some(PortRef::Name("grpc".to_owned())));
        let lacking = merged([slice("web", "IPv4", one())].iter())["a"].instance(&wanted);
        assert_eq!((lacking.health, lacking.port), (Health::Unhealthy, 0));
    }

    #[test]
    fn nothing_said_is_nothing_there() {
        for json in ["{}", r#"{"metadata":{},"addressType":"IPv4","endpoints":null,"ports":null}"#] {
            assert_eq!(Slice::from_json(serde_json::from_str(json).unwrap()).endpoints, []);
        }
        assert_eq!(
            instances(&[slice("web", "IPv4", json!([{ "addresses": [] }, { "addresses": null }, {}]))]),
            []
        );
    }
}
