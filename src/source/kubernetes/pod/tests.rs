use serde_json::{Value, json};

use super::*;
use crate::{config::PortRef, model::Protocol, source::kubernetes::endpoint::member};

/// A pod as the API server returns it, without the fields that are never read, with some values
/// replaced.
fn pod(changes: &[(&str, Value)]) -> Pod {
    let mut pod = json!({
        "metadata": {
            "name": "web-5d4f-x7k2p",
            "namespace": "shop",
            "resourceVersion": "12",
            "uid": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "app": "web", "pod-template-hash": "5d4f" },
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{
                "name": "web",
                "image": "web:1",
                "ports": [
                    { "name": "http", "containerPort": 8080, "protocol": "TCP" },
                    { "name": "DNS", "containerPort": 53, "protocol": "UDP" },
                ],
            }],
        },
        "status": {
            "phase": "Running",
            "conditions": [
                { "type": "Initialized", "status": "True" },
                { "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" },
            ],
            "podIP": "10.0.0.1",
            "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }],
        },
    });
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[key] = value.clone();
    }
    Pod::from_json(serde_json::from_value(pod).unwrap())
}

fn instance(port: Option<PortRef>, changes: &[(&str, Value)]) -> Option<Instance> {
    Some(pod(changes).endpoint?.instance(&member(port)))
}

#[test]
fn a_ready_pod_is_a_healthy_instance() {
    let instance = instance(None, &[]).unwrap();
    assert_eq!(&*instance.id, "web-5d4f-x7k2p");
    let addresses = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    assert_eq!(instance.target, Target::Addresses(addresses.into()));
    assert_eq!((instance.health, instance.reason), (Health::Healthy, None));
    assert_eq!(instance.labels.get("pod-template-hash"), Some("5d4f"));
    let named: Vec<_> =
        instance.named_ports.iter().map(|port| (&*port.name, port.protocol, port.port)).collect();
    assert_eq!(named, [("http", Protocol::Tcp, 8080), ("dns", Protocol::Udp, 53)]);
    assert_eq!((instance.port, instance.weight), (8080, 1));
    assert_eq!((instance.kube_namespace.as_deref(), instance.shares_address), (Some("shop"), false));
}

#[test]
fn a_pod_in_its_nodes_network_shares_its_address() {
    assert!(instance(None, &[("/spec/hostNetwork", json!(true))]).unwrap().shares_address);
    assert!(!instance(None, &[("/spec/hostNetwork", json!(false))]).unwrap().shares_address);
}

#[test]
fn health_follows_phase_readiness_and_deletion() {
    let ready = |status: &str, reason: Value| {
        ("/status/conditions", json!([{ "type": "Ready", "status": status, "reason": reason }]))
    };
    let deleted = ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    let table = [
        (vec![ready("True", Value::Null)], Health::Healthy, None),
        (
            vec![ready("False", json!("ContainersNotReady"))],
            Health::Unhealthy,
            Some("Ready=False: ContainersNotReady"),
        ),
        (vec![ready("Unknown", Value::Null)], Health::Unhealthy, Some("Ready=Unknown")),
        (vec![("/status/conditions", Value::Null)], Health::Unhealthy, Some("no Ready condition yet")),
        (vec![("/status/phase", json!("Pending"))], Health::Unhealthy, Some("phase Pending")),
        (vec![("/status/phase", Value::Null)], Health::Unhealthy, Some("phase Unknown")),
        (vec![deleted.clone()], Health::Draining, Some("being deleted")),
        (vec![deleted, ready("False", Value::Null)], Health::Draining, Some("being deleted")),
        (vec![("/metadata/deletionTimestamp", Value::Null)], Health::Healthy, None),
    ];
    for (changes, health, reason) in table {
        let instance = instance(None, &changes).unwrap();
        assert_eq!((instance.health, instance.reason.as_deref()), (health, reason), "{changes:?}");
    }
}

#[test]
fn a_pod_without_its_own_address_is_no_instance() {
    let gone = [
        vec![("/status/phase", json!("Succeeded"))],
        vec![("/status/phase", json!("Failed"))],
        vec![("/status/podIP", Value::Null), ("/status/podIPs", Value::Null)],
        vec![("/status/podIP", json!("")), ("/status/podIPs", json!([{ "ip": "rubbish" }]))],
    ];
    for changes in gone {
        assert_eq!(instance(None, &changes), None, "{changes:?}");
    }
    let old = instance(None, &[("/status/podIPs", Value::Null)]).unwrap();
    assert_eq!(old.target, Target::Addresses(["10.0.0.1".parse().unwrap()].into()), "podIP alone is enough");
}

#[test]
fn the_member_selects_the_main_port() {
    let name = |name: &str| Some(PortRef::Name(name.to_owned()));
    let table = [
        (Some(PortRef::Number(80)), 80, Health::Healthy),
        (name("http"), 8080, Health::Healthy),
        (name("Dns"), 53, Health::Healthy),
        (None, 8080, Health::Healthy),
        (name("grpc"), 0, Health::Unhealthy),
    ];
    for (port, number, health) in table {
        let instance = instance(port.clone(), &[]).unwrap();
        assert_eq!((instance.port, instance.health), (number, health), "{port:?}");
    }
    let lacking = instance(name("grpc"), &[]).unwrap();
    assert_eq!(lacking.reason.as_deref(), Some("no port named \"grpc\""));
    let deleted = [("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))];
    assert_eq!(instance(name("grpc"), &deleted).unwrap().health, Health::Draining, "the worse health stays");
    let bare = [("/spec/containers", json!([{ "name": "web" }]))];
    assert_eq!(instance(None, &bare).unwrap().port, 0);
}

#[test]
fn ports_come_from_containers_and_sidecars() {
    let containers = json!([
        { "ports": [
            { "name": "sctp", "containerPort": 1, "protocol": "SCTP" },
            { "name": "big", "containerPort": 70000 },
            { "name": "zero", "containerPort": 0 },
        ] },
        { "ports": [{ "containerPort": 9000 }, { "name": "http", "containerPort": 9001 }] },
        { "ports": null },
    ]);
    let init = json!([
        { "ports": [{ "name": "once", "containerPort": 1 }] },
        { "restartPolicy": "Always", "ports": [{ "name": "admin", "containerPort": 15000 }] },
    ]);
    let changes = [("/spec/containers", containers), ("/spec/initContainers", init)];
    let instance = instance(None, &changes).unwrap();
    let named: Vec<_> = instance.named_ports.iter().map(|port| (&*port.name, port.port)).collect();
    assert_eq!(named, [("http", 9001), ("admin", 15000)]);
    assert_eq!(instance.port, 9000, "the first one, though it is unnamed");
}

#[test]
fn the_weight_is_the_annotation_if_it_is_a_number() {
    for (text, weight) in [("5", 5), (" 0 ", 0), ("65535", 65535), ("65536", 1), ("-1", 1), ("many", 1)] {
        let changes = [("/metadata/annotations", json!({ "muster.dev/weight": text }))];
        assert_eq!(instance(None, &changes).unwrap().weight, weight, "{text:?}");
    }
    assert_eq!(instance(None, &[("/metadata/annotations", Value::Null)]).unwrap().weight, 1);
}

#[test]
fn labels_and_port_name_of_the_member_are_added() {
    let mut member = member(Some(PortRef::Number(80)));
    member.rule.labels = [("app", "shop"), ("tier", "front")].into_iter().collect();
    member.rule.port_name = Some(("web".into(), Protocol::Tcp));
    let instance = pod(&[]).endpoint.unwrap().instance(&member);
    assert_eq!((instance.labels.get("app"), instance.labels.get("tier")), (Some("shop"), Some("front")));
    assert!(instance.named_ports.iter().any(|port| &*port.name == "web" && port.port == 80));
}

#[test]
fn an_empty_object_is_no_instance() {
    for json in ["{}", r#"{"metadata":{"labels":null,"annotations":null},"spec":{},"status":{}}"#] {
        assert_eq!(Pod::from_json(serde_json::from_str(json).unwrap()).endpoint, None);
    }
}

/// The memory of 1,000 pods of one ReplicaSet: their sizes and the heap behind them, unless it is
/// shared.
#[test]
fn a_pod_takes_at_most_300_bytes() {
    let mut interner = super::super::endpoint::EndpointInterner::default();
    let pods = (0..1000).map(|number| {
        let name = format!("web-5d4f8c7b9-x{number:04}");
        let mut endpoint = pod(&[("/metadata/name", json!(name))]).endpoint.unwrap();
        interner.share(&mut endpoint);
        endpoint
    });
    let pods: Vec<_> = pods.collect();
    let mut shared = std::collections::HashSet::new();
    let mut once = |start: *const u8, size: usize| if shared.insert(start) { size } else { 0 };
    let total: usize = pods
        .iter()
        .map(|pod| {
            let Target::Addresses(addresses) = &pod.target else { panic!("{:?}", pod.target) };
            let node = pod.node.as_ref().unwrap();
            size_of_val(pod)
                + size_of::<Arc<str>>() // its key in the table
                + (16 + pod.id.len()).next_multiple_of(16)
                + size_of_val(&**addresses).next_multiple_of(16)
                + once(node.as_ptr(), 16 + node.len())
                + once(pod.ports.named.as_ptr().cast(), 16 + size_of_val(&*pod.ports.named))
        })
        .sum();
    println!("{} bytes a pod, of which {} in the table", total / 1000, size_of::<Endpoint>());
    assert!(total / 1000 <= 300, "{} bytes a pod", total / 1000);
    let labels = |pod: &Endpoint| pod.labels.iter().next().map(|(key, _)| key.as_ptr());
    assert!(pods.iter().all(|pod| labels(pod) == labels(&pods[0])), "labels are shared");
}
