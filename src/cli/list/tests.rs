use super::*;

fn services() -> ServicePage {
    let json = r#"{ "services": [
        { "name": "nginx.shop", "service": "nginx.shop", "namespace": "shop", "imported": false,
          "sources": ["consul.vms", "kubernetes.eks"], "synced": true,
          "health": { "healthy": 3, "unhealthy": 1, "draining": 1 }, "alias": null },
        { "name": "v2.nginx.shop", "service": "nginx.shop", "namespace": "shop", "imported": false,
          "sources": ["consul.vms", "kubernetes.eks"], "synced": true,
          "health": { "healthy": 3, "unhealthy": 1, "draining": 1 }, "alias": null },
        { "name": "mail.shop", "service": "mail.shop", "namespace": "shop", "imported": false,
          "sources": [], "synced": true, "health": {}, "alias": "mail.example.net" },
        { "name": "db.shop", "service": "db.shop", "namespace": "shop", "imported": true,
          "sources": ["consul.vms"], "synced": false, "expired": true, "health": {}, "alias": null },
        { "name": "api.shop", "service": "api.shop", "namespace": "shop", "imported": false,
          "sources": ["static"], "synced": true, "stale_seconds": 90, "expires_in_seconds": 50,
          "health": { "unhealthy": 2 }, "alias": null }
      ], "next": null }"#;
    serde_json::from_str(json).unwrap()
}

fn instances() -> InstancePage {
    let json = r#"{ "service": "nginx.shop", "not_synced": ["kubernetes.eks #2"], "members": [
        { "source": "consul.vms", "member": 0, "query": "service \"nginx\"", "state": "synced",
          "instances": 2, "stale_seconds": 185, "expires_in_seconds": 86215 },
        { "source": "static", "member": 1, "query": "1 address", "state": "synced",
          "instances": 1, "stale_seconds": null },
        { "source": "kubernetes.eks", "member": 2, "query": "pods in \"shop\"", "state": "expired",
          "instances": 0, "stale_seconds": null } ], "instances": [
        { "label": "app-1", "health": "unhealthy", "weight": 1, "reports": [
          { "source": "consul.vms", "member": 0, "id": "app-1", "addresses": ["10.10.2.5", "fd00::5"],
            "host": null, "port": 80, "health": "healthy", "reason": null, "age_seconds": 4000, "weight": 1,
            "labels": {}, "zone": null, "datacenter": "dc1", "kube_namespace": null },
          { "source": "static", "member": 1, "id": "10.10.2.5:80", "addresses": ["10.10.2.5"],
            "host": null, "port": 80, "health": "unhealthy", "reason": "http: 500 Internal Server Error",
            "age_seconds": 7, "weight": 1, "labels": {}, "zone": null, "datacenter": null,
            "kube_namespace": null } ] },
        { "label": "far", "health": "warning", "weight": 10, "reports": [
          { "source": "consul.vms", "member": 0, "id": "far", "addresses": [], "host": "far.example.net",
            "port": 0, "health": "warning", "reason": "memory", "age_seconds": 400000, "weight": 10,
            "labels": {}, "zone": null, "datacenter": null, "kube_namespace": null } ] }
      ], "next": null }"#;
    serde_json::from_str(json).unwrap()
}

fn sources() -> SourceList {
    let watches = |synced: usize, connecting: usize, failing: usize| {
        format!(
            "{{ \"synced\": {synced}, \"connecting\": {connecting}, \"failing\": {failing}, \"with_data\": {synced} }}"
        )
    };
    let json = format!(
        r#"{{ "sources": [
        {{ "source": "consul.vms", "kind": "consul", "ready": true, "watches": {}, "updates": 41,
           "errors": {{ "connect": 3, "timeout": 1 }}, "stale_seconds": 185,
           "expires_in_seconds": 86215, "held": {{ "contradicted": 12 }}, "notes": ["services take turns"], "last_error": {{ "watch": "service nginx",
           "kind": "connect", "message": "cannot reach the source: Connection refused", "seconds_ago": 61 }} }},
        {{ "source": "kubernetes.eks", "kind": "kubernetes", "ready": false, "watches": {}, "updates": 0,
           "errors": {{}}, "last_error": null }},
        {{ "source": "static", "kind": "static", "ready": true, "watches": {}, "updates": 7,
           "errors": {{}}, "last_error": null }}
      ] }}"#,
        watches(2, 0, 1),
        watches(0, 2, 0),
        watches(1, 0, 0)
    );
    serde_json::from_str(&json).unwrap()
}

#[test]
fn lists_are_aligned_and_fit_100_columns() {
    let mut listed = services();
    listed.services.sort_by_cached_key(|service| hierarchical_order(&service.name));
    let texts = [
        render_services(&listed),
        render_services(&ServicePage::default()),
        render_instances(&instances()),
        render_instances(&InstancePage { instances: Vec::new(), ..instances() }),
        render_sources(&sources()),
        render_sources(&SourceList { sources: Vec::new() }),
    ];
    let text = anstream::adapter::strip_str(&texts.join("--------\n")).to_string();
    let wide: Vec<_> = text.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    insta::assert_snapshot!(text);
}

#[test]
fn colors_show_the_status() {
    let text = render_services(&services());
    assert!(text.contains("\x1b[33m3\x1b[0m"), "some of them are healthy: {text:?}");
    assert!(text.contains("\x1b[31m0\x1b[0m"), "none is: {text:?}");
    let text = render_sources(&sources());
    let states = [
        "\x1b[33mstale for 3m, answered for 23h more\x1b[0m",
        "\x1b[31mnot ready\x1b[0m",
        "\x1b[32mready\x1b[0m",
    ];
    assert!(states.iter().all(|state| text.contains(state)), "{text:?}");
    let text = render_instances(&instances());
    assert!(text.contains("\x1b[31munhealthy\x1b[0m"), "{text:?}");
}
