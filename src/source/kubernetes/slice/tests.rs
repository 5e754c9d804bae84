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

fn pod_endpoint(address: &str, pod: &str, uid: &str, conditions: Value) -> Value {
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

/// All endpoints, by id.
fn merged(slices: &[Slice]) -> BTreeMap<Arc<str>, Endpoint> {
    let mut slices: Vec<_> = slices.iter().collect();
    slices.sort_by(|one, other| one.name.cmp(&other.name));
    let ids = slices.iter().flat_map(|slice| slice.ids()).cloned();
    ids.map(|id| (Arc::clone(&id), merge(&id, slices.iter().copied()).unwrap())).collect()
}

fn instances(slices: &[Slice]) -> Vec<Instance> {
    merged(slices).values().map(|endpoint| endpoint.instance(&member(None))).collect()
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
        slice("web-6", "IPv6", json!([pod_endpoint("fd00::1", "a", "1", ready())])),
        slice(
            "web-4",
            "IPv4",
            json!([pod_endpoint("10.0.0.1", "a", "1", ready()), pod_endpoint("10.0.0.2", "b", "2", ready())]),
        ),
    ];
    let all = instances(&slices);
    assert_eq!(all.iter().map(|instance| &*instance.id).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(addresses(&all[0]), ["10.0.0.1", "fd00::1"]);
    assert_eq!(addresses(&all[1]), ["10.0.0.2"]);
    assert_eq!((all[0].port, all[0].locality.as_deref()), (8080, Some("zone-a")));
    assert_eq!(&*all[0].named_ports[0].name, "http");
    slices.reverse();
    assert_eq!(instances(&slices), all, "in any order of the slices");
}

#[test]
fn conditions_become_health() {
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
        (
            json!({ "ready": false, "serving": false, "terminating": true }),
            Health::Draining,
            Some("terminating"),
        ),
        (json!({ "ready": true, "serving": false, "terminating": true }), Health::Healthy, None),
        (json!({ "terminating": true }), Health::Healthy, None),
    ];
    for (conditions, health, reason) in table {
        let all = instances(&[slice(
            "web",
            "IPv4",
            json!([pod_endpoint("10.0.0.1", "a", "1", conditions.clone())]),
        )]);
        assert_eq!((all[0].health, all[0].reason.as_deref()), (health, reason), "{conditions}");
    }
}

#[test]
fn a_pod_in_two_slices_of_a_family_has_the_worse_health() {
    let ending = json!({ "ready": false, "terminating": true });
    let mut slices = [
        slice("old", "IPv4", json!([pod_endpoint("10.0.0.1", "a", "1", ready())])),
        slice("new", "IPv4", json!([pod_endpoint("10.0.0.1", "a", "1", ending)])),
    ];
    for _ in 0..2 {
        let all = instances(&slices);
        assert_eq!(all.len(), 1);
        assert_eq!((addresses(&all[0]), all[0].health), (vec!["10.0.0.1".to_owned()], Health::Draining));
        slices.reverse();
    }
}

#[test]
fn slices_with_different_ports_have_their_own_readiness() {
    let both = |ready: bool| {
        json!([
            { "addresses": ["10.0.0.9"], "conditions": { "ready": ready } },
            { "addresses": ["10.0.0.10"], "conditions": { "ready": true } },
        ])
    };
    let ports = |name: &str, port: u16| json!([{ "name": name, "port": port }]);
    let slices = |a: bool, b: bool| {
        [
            with_ports("web-a", "IPv4", both(a), ports("port80", 8090)),
            with_ports("web-b", "IPv4", both(b), ports("port81", 9090)),
        ]
    };
    let with_port = |instances: &[Instance], name: &str| {
        let has = |i: &&Instance| i.named_ports.iter().any(|port| &*port.name == name);
        instances.iter().filter(|i| i.health == Health::Healthy).filter(has).count()
    };
    let ids = |instances: &[Instance]| instances.iter().map(|i| i.id.to_string()).collect::<Vec<_>>();

    let all = instances(&slices(true, true));
    assert_eq!(ids(&all), ["10.0.0.10", "10.0.0.9"]);
    assert_eq!((with_port(&all, "port80"), with_port(&all, "port81")), (2, 2));
    assert!(all.iter().all(|instance| instance.port == 8090), "the first slice's port: {all:?}");

    let some = slices(true, false);
    let all = instances(&some);
    assert_eq!(ids(&all), ["10.0.0.10", "10.0.0.9"], "ids stay");
    assert_eq!((with_port(&all, "port80"), with_port(&all, "port81")), (2, 1));
    for wanted in [PortRef::Name("port81".to_owned()), PortRef::Number(9090)] {
        let instance = merged(&some)["10.0.0.9"].instance(&member(Some(wanted)));
        assert_eq!((instance.port, instance.health), (9090, Health::Unhealthy));
        assert_eq!(instance.reason.as_deref(), Some("not ready"));
    }
    let all = instances(&slices(false, false));
    assert_eq!((all[1].health, all[1].named_ports.len()), (Health::Unhealthy, 2));
}

#[test]
fn a_new_pod_replaces_the_old_one_of_its_name() {
    let ending = json!({ "ready": false, "terminating": true });
    let mut slices = [
        slice("old", "IPv4", json!([pod_endpoint("10.0.0.1", "web-0", "9", ending)])),
        slice("new", "IPv4", json!([pod_endpoint("10.0.0.2", "web-0", "5", ready())])),
    ];
    for _ in 0..2 {
        let all = instances(&slices);
        assert_eq!(all.len(), 1);
        assert_eq!((addresses(&all[0]), all[0].health), (vec!["10.0.0.2".to_owned()], Health::Healthy));
        slices.reverse();
    }
}

#[test]
fn an_endpoint_without_a_pod_has_its_address_as_id() {
    let endpoints = json!([{ "addresses": ["192.0.2.7", "192.0.2.8"] }, { "addresses": ["not an address"] }]);
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
fn ports_can_lack_a_name_or_number() {
    let endpoints = || json!([pod_endpoint("10.0.0.1", "a", "1", ready())]);
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
        let all = instances(&[with_ports("web", "IPv4", endpoints(), ports.clone())]);
        assert_eq!((all[0].port, all[0].named_ports.len()), (main, named), "{ports}");
    }
    let wanted = member(Some(PortRef::Name("grpc".to_owned())));
    let lacking = merged(&[slice("web", "IPv4", endpoints())])["a"].instance(&wanted);
    assert_eq!((lacking.health, lacking.port), (Health::Unhealthy, 0));
}

#[test]
fn missing_fields_are_no_endpoints() {
    for json in ["{}", r#"{"metadata":{},"addressType":"IPv4","endpoints":null,"ports":null}"#] {
        assert_eq!(Slice::from_json(serde_json::from_str(json).unwrap()).endpoints, []);
    }
    assert_eq!(
        instances(&[slice("web", "IPv4", json!([{ "addresses": [] }, { "addresses": null }, {}]))]),
        []
    );
}
