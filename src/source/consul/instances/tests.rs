use std::net::IpAddr;

use serde_json::{Value, json};

use super::*;

fn query() -> ConsulQuery {
    ConsulQuery { service: "web".into(), tags: Vec::new(), filter: None, datacenter: None, port: None }
}

fn parse_entries(entries: &Value, query: &ConsulQuery) -> ServiceInstances {
    parse(entries.to_string().as_bytes(), query).unwrap()
}

fn only(entry: Value) -> Instance {
    let mut parsed = parse_entries(&json!([entry]), &query());
    assert_eq!(parsed.instances.len(), 1, "{parsed:?}");
    parsed.instances.remove(0)
}

fn addresses(node: Value, service: Value) -> Option<Vec<String>> {
    let parsed = parse_entries(&json!([{ "Node": node, "Service": service }]), &query());
    let instance = parsed.instances.first()?;
    Some(match &instance.target {
        Target::Addresses(addresses) => addresses.iter().map(IpAddr::to_string).collect(),
        Target::Host(name) => vec![name.to_string()],
    })
}

#[test]
fn the_worst_check_is_the_health_and_the_reason() {
    let check = |id: &str, status: &str| json!({ "CheckID": id, "Name": "", "Status": status, "Output": "" });
    for (checks, health, reason) in [
        (json!(null), Health::Healthy, None),
        (json!([check("a", "passing"), check("b", "passing")]), Health::Healthy, None),
        (json!([check("a", "passing"), check("b", "warning")]), Health::Warning, Some("b")),
        (json!([check("a", "critical"), check("b", "warning")]), Health::Unhealthy, Some("a")),
        (json!([check("a", "nonsense")]), Health::Unhealthy, Some("a")),
        (json!([check("a", "critical"), check("b", "maintenance")]), Health::Draining, Some("b")),
        (
            json!([check("a", "critical"), check("_node_maintenance", "critical")]),
            Health::Draining,
            Some("_node_maintenance"),
        ),
        (
            json!([check("_service_maintenance:web-1", "critical")]),
            Health::Draining,
            Some("_service_maintenance:web-1"),
        ),
    ] {
        let instance = only(json!({ "Service": { "ID": "w", "Address": "10.0.0.1" }, "Checks": checks }));
        assert_eq!((instance.health, instance.reason.as_deref()), (health, reason), "{checks}");
    }
}

#[test]
fn a_reason_is_one_line_of_bounded_length() {
    let reason = |check: Value| {
        only(json!({ "Service": { "ID": "w", "Address": "10.0.0.1" }, "Checks": [check] })).reason.unwrap()
    };
    let text =
        reason(json!({ "Name": "HTTP", "Status": "critical", "Output": "HTTP GET\n\t503 \u{0} gone" }));
    assert_eq!(&*text, "HTTP: HTTP GET 503 gone");
    let long = reason(json!({ "Name": "x".repeat(5000), "Status": "critical", "Output": "ä ".repeat(5000) }));
    assert!(long.chars().count() <= 302, "{}", long.chars().count());
    let notes = reason(json!({ "CheckID": "_node_maintenance", "Name": "Node Maintenance Mode",
                               "Status": "critical", "Notes": "disk swap", "Output": "" }));
    assert_eq!(&*notes, "Node Maintenance Mode: disk swap");
}

#[test]
fn the_services_address_overrides_the_nodes() {
    let one = |text: &str| Some(vec![text.to_owned()]);
    for (node, service, expected) in [
        ("10.0.0.1", "10.0.0.2", one("10.0.0.2")),
        ("10.0.0.1", "", one("10.0.0.1")),
        ("10.0.0.1", "fd00::1", one("fd00::1")),
        ("10.0.0.1", "::ffff:10.0.0.3", one("10.0.0.3")),
        ("10.0.0.1", "DB.corp.example", one("db.corp.example")),
        ("node.corp.example", "", one("node.corp.example")),
        ("10.0.0.1", "10.0.0.300", None),
        ("10.0.0.1", "0.0.0.0", None),
        ("10.0.0.1", "/run/web.sock", None),
        ("10.0.0.1", ".", None),
        ("", "", None),
    ] {
        let found =
            addresses(json!({ "Node": "n", "Address": node }), json!({ "ID": "w", "Address": service }));
        assert_eq!(found, expected, "node {node:?}, service {service:?}");
    }
}

#[test]
fn tagged_addresses_count_only_with_the_main_one_among_them() {
    let tagged = |v4: &str, v6: &str, port: u16| {
        json!({ "lan_ipv4": { "Address": v4, "Port": port }, "lan_ipv6": { "Address": v6, "Port": port },
                "wan": { "Address": "203.0.113.1", "Port": 80 } })
    };
    let service =
        |tagged: Value| json!({ "ID": "w", "Address": "10.0.0.2", "Port": 80, "TaggedAddresses": tagged });
    let both = Some(vec!["10.0.0.2".to_owned(), "fd00::2".to_owned()]);
    let main = Some(vec!["10.0.0.2".to_owned()]);
    for (tagged, expected) in [
        (tagged("10.0.0.2", "fd00::2", 80), &both),
        (tagged("10.0.0.9", "fd00::2", 80), &main),
        (tagged("10.0.0.2", "fd00::2", 81), &main),
        (tagged("10.0.0.2", "nonsense", 80), &main),
        (tagged("fd00::2", "10.0.0.2", 80), &main),
        (json!({ "lan_ipv4": { "Address": "10.0.0.2", "Port": 80 } }), &main),
        (json!(null), &main),
    ] {
        assert_eq!(&addresses(json!(null), service(tagged.clone())), expected, "{tagged}");
    }
    let node = json!({ "Address": "fd00::2", "TaggedAddresses": { "lan": "10.0.0.2", "lan_ipv4": "10.0.0.2", "lan_ipv6": "fd00::2" } });
    assert_eq!(addresses(node, json!({ "ID": "w", "Address": "" })), both);
}

#[test]
fn an_id_used_on_two_nodes_gets_the_node_in_front() {
    let entry = |node: &str, id: &str, address: &str| json!({ "Node": { "Node": node }, "Service": { "ID": id, "Address": address } });
    let entries = json!([
        entry("a", "web", "10.0.0.1"),
        entry("b", "web", "10.0.0.2"),
        entry("b", "web-2", "10.0.0.3"),
        entry("c", "", "10.0.0.4"),
    ]);
    let parsed = parse_entries(&entries, &query());
    let ids: Vec<_> = parsed.instances.iter().map(|instance| &*instance.id).collect();
    assert_eq!(ids, ["a/web", "b/web", "web-2", "c/"]);
}

#[test]
fn instances_without_an_address_are_unusable() {
    let entries = json!([
        { "Service": { "ID": "a", "Address": "10.0.0.1" } },
        { "Service": { "ID": "b", "Address": "unix:///x" } },
    ]);
    let parsed = parse_entries(&entries, &query());
    assert_eq!((parsed.instances.len(), parsed.unusable), (1, vec!["b".to_owned()]));
}

#[test]
fn tags_and_meta_become_labels_and_meta_wins() {
    let instance = only(json!({ "Service": { "ID": "w", "Address": "10.0.0.1",
        "Tags": ["primary", "version=v1", "zone=x", "=odd", "", "a=b=c"], "Meta": { "version": "v2", "team": "" } } }));
    let labels: Vec<_> = instance.labels.iter().collect();
    assert_eq!(labels, [("a", "b=c"), ("primary", "true"), ("team", ""), ("version", "v2"), ("zone", "x")]);
}

#[test]
fn weights_follow_health_and_stay_in_bounds() {
    let weight = |status: &str, weights: Value| {
        only(json!({ "Service": { "ID": "w", "Address": "10.0.0.1", "Weights": weights },
                     "Checks": [{ "CheckID": "c", "Status": status }] }))
        .weight
    };
    assert_eq!(weight("passing", json!({ "Passing": 10, "Warning": 2 })), 10);
    assert_eq!(weight("warning", json!({ "Passing": 10, "Warning": 2 })), 2);
    assert_eq!(weight("critical", json!({ "Passing": 10, "Warning": 2 })), 10);
    assert_eq!(weight("passing", json!({ "Passing": 0, "Warning": 0 })), 0);
    assert_eq!(weight("passing", json!({ "Passing": 70_000 })), u16::MAX);
    assert_eq!(weight("passing", json!({ "Passing": -1 })), 0);
    assert_eq!(weight("passing", json!(null)), 1);
    assert_eq!(weight("warning", json!({})), 1);
}

#[test]
fn the_zone_comes_from_locality_then_meta() {
    let zone = |node: Value, service: Value| {
        let mut service = service;
        service["ID"] = json!("w");
        service["Address"] = json!("10.0.0.1");
        only(json!({ "Node": node, "Service": service })).locality
    };
    let meta = |zone: &str| json!({ "Meta": { "availability-zone": zone } });
    let full =
        |zone: &str| json!({ "Locality": { "Region": "r", "Zone": zone }, "Meta": { "zone": "meta" } });
    assert_eq!(zone(full("n"), full("s")).as_deref(), Some("s"));
    assert_eq!(zone(full("n"), meta("s")).as_deref(), Some("n"));
    assert_eq!(zone(meta("n"), meta("s")).as_deref(), Some("s"));
    assert_eq!(zone(meta("n"), json!({})).as_deref(), Some("n"));
    assert_eq!(zone(full(""), json!({ "Locality": null })).as_deref(), Some("meta"));
    assert_eq!(zone(json!({}), json!({})), None);
}

#[test]
fn ports_can_be_missing_invalid_or_overridden() {
    let port =
        |port: Value| only(json!({ "Service": { "ID": "w", "Address": "10.0.0.1", "Port": port } })).port;
    assert_eq!(port(json!(8080)), 8080);
    assert_eq!(port(json!(null)), 0);
    assert_eq!(port(json!(70_000)), 0);
    assert_eq!(port(json!(-1)), 0);
    let entries = json!([{ "Service": { "ID": "w", "Address": "10.0.0.1", "Port": 80 } }]);
    let overridden = parse_entries(&entries, &ConsulQuery { port: Some(9000), ..query() });
    assert_eq!(overridden.instances[0].port, 9000);
}

#[test]
fn every_wanted_tag_must_match_in_any_case() {
    let entries = json!([
        { "Service": { "ID": "a", "Address": "10.0.0.1", "Tags": ["Prod", "v1"] } },
        { "Service": { "ID": "b", "Address": "10.0.0.2", "Tags": ["prod"] } },
        { "Service": { "ID": "c", "Address": "10.0.0.3", "Tags": null } },
    ]);
    let found = parse_entries(&entries, &ConsulQuery { tags: vec!["prod".into(), "V1".into()], ..query() });
    let ids: Vec<_> = found.instances.iter().map(|instance| &*instance.id).collect();
    assert_eq!(ids, ["a"]);
}

#[test]
fn null_is_empty_and_other_shapes_are_errors() {
    for body in ["null", "[]"] {
        assert!(parse(body.as_bytes(), &query()).unwrap().instances.is_empty());
    }
    let nulls = r#"[{"Node":null,"Service":null,"Checks":null},{}]"#;
    assert_eq!(parse(nulls.as_bytes(), &query()).unwrap().unusable.len(), 2);
    for body in ["", "{}", "[1]", "<html>", r#"[{"Service":{"Port":"80"}}]"#, "[] []", "\u{0}"] {
        assert!(matches!(parse(body.as_bytes(), &query()), Err(WatchError::Malformed(_))), "{body:?}");
    }
}

#[test]
fn escapes_in_strings_are_resolved() {
    let body = r#"[{"Node":{"Datacenter":"dc\u0031"},"Service":{"ID":"w\u002d1","Address":"10.0.0.1","Tags":["k=\u00e4"]}}]"#;
    let parsed = parse(body.as_bytes(), &query()).unwrap();
    let instance = &parsed.instances[0];
    assert_eq!((&*instance.id, instance.datacenter.as_deref()), ("w-1", Some("dc1")));
    assert_eq!(instance.labels.get("k"), Some("ä"));
}
