//! All pods of the cluster, as clients.

use super::*;

const ALL: &str = "/api/v1/pods";

/// A pod of a namespace, with a label that no member selects.
fn client(namespace: &str, name: &str, version: u64, host: u8) -> Value {
    let labelled = with(pod(name, version, host), "/metadata/labels", json!({ "team": "a" }));
    with(labelled, "/metadata/namespace", json!(namespace))
}

fn clients() -> Member {
    Member::clients(id())
}

#[tokio::test]
async fn all_pods_are_reported_without_health_and_ports() {
    let mut server = ApiServer::start().await;
    let mut source = Source::identifying(&server, Vec::new());
    let request = server.list(ALL).await;
    assert_eq!(request.query("labelSelector"), None);
    let host = with(client("kube-system", "proxy", 1, 3), "/spec/hostNetwork", json!(true));
    let ended = with(client("shop", "job", 1, 4), "/status/phase", json!("Succeeded"));
    let pods = json!([client("shop", "web", 1, 1), client("other", "web", 1, 2), host, ended]);
    request.json(200, &list(1, pods)).await;
    let Update::Reset { member, instances } = source.next().await else { panic!("not a reset") };
    assert_eq!(member, clients());
    let ids: Vec<_> = instances.iter().map(|pod| (&*pod.id, pod.shares_address)).collect();
    assert_eq!(ids, [("kube-system/proxy", true), ("other/web", false), ("shop/web", false)]);
    let [_, _, web] = instances.as_slice() else { panic!("{instances:?}") };
    let expected = Instance {
        health: Health::Healthy,
        labels: [("team", "a")].into_iter().collect(),
        kube_namespace: Some("shop".into()),
        ..Instance::at("shop/web", "10.0.0.1".parse().unwrap(), 0)
    };
    assert_eq!(*web, expected);
    assert!(source.status.report().is_ready());
}

#[tokio::test]
async fn readiness_causes_no_update() {
    let mut server = ApiServer::start().await;
    let mut source = Source::identifying(&server, Vec::new());
    let mut watch = server.list_and_watch(ALL, 1, json!([client("shop", "a", 1, 1)])).await;
    assert_eq!(source.reset_ids().await, ["shop/a"]);
    watch.event("MODIFIED", not_ready(client("shop", "a", 2, 1))).await;
    let deleted =
        with(client("shop", "a", 3, 1), "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    watch.event("MODIFIED", deleted).await;
    watch
        .event("MODIFIED", with(client("shop", "a", 4, 1), "/metadata/labels", json!({ "team": "b" })))
        .await;
    assert_eq!(source.upsert().await.labels.get("team"), Some("b"), "the first change that is kept");
    server.list(NODES).await.json(200, &list(5, json!([node("node-1", 1, "zone-a")]))).await;
    assert_eq!(source.upsert().await.locality.as_deref(), Some("zone-a"));
    watch.event("DELETED", client("other", "a", 5, 9)).await; // a pod of the same name in another namespace
    watch.event("MODIFIED", with(client("shop", "a", 6, 1), "/status/phase", json!("Failed"))).await;
    assert_eq!(source.removed().await, "shop/a", "its address may belong to another pod by now");
    watch.event("ADDED", client("shop", "b", 7, 1)).await;
    source.upsert().await;
    watch.event("DELETED", client("shop", "b", 8, 1)).await;
    assert_eq!(source.removed().await, "shop/b");
}

#[tokio::test]
async fn an_expired_version_brings_a_new_list() {
    let mut server = ApiServer::start().await;
    let mut source = Source::identifying(&server, Vec::new());
    let mut watch = server.list_and_watch(ALL, 1, json!([client("shop", "a", 1, 1)])).await;
    source.reset().await;
    watch.event("ERROR", gone()).await;
    let _watch = server.list_and_watch(ALL, 20, json!([client("shop", "b", 15, 2)])).await;
    assert_eq!(source.reset_ids().await, ["shop/b"]);
    assert_eq!(source.failures(), 0);
}

#[tokio::test]
async fn members_are_followed_by_the_same_watch() {
    let mut server = ApiServer::start().await;
    let mut source = Source::identifying(&server, web());
    let labelled = with(client("shop", "a", 1, 1), "/metadata/labels", json!({ "app": "web" }));
    let elsewhere = with(labelled.clone(), "/metadata/namespace", json!("other"));
    let pods = json!([labelled, elsewhere, client("shop", "b", 1, 2)]);
    let mut watch = server.list_and_watch(ALL, 1, pods).await;
    assert_eq!(source.reset_ids().await, ["other/a", "shop/a", "shop/b"]);
    let Update::Reset { member, instances } = source.next().await else { panic!("not a reset") };
    assert_eq!(member.place, 0);
    let [instance] = instances.as_slice() else { panic!("{instances:?}") };
    assert_eq!((&*instance.id, instance.port, instance.kube_namespace.as_deref()), ("a", 80, Some("shop")));
    assert_eq!(source.status.report().synced, 1, "one watch");
    // A member's pod is one of all clients, and has a health only as the member's.
    let unready = with(not_ready(pod("a", 5, 1)), "/metadata/namespace", json!("shop"));
    watch.event("MODIFIED", unready).await;
    assert_eq!(source.upsert().await.health, Health::Unhealthy);
    assert!(!server.waiting().contains(&PODS));
}

#[tokio::test]
async fn a_narrow_role_denies_clients_but_not_members() {
    let mut server = ApiServer::start().await;
    let mut source = Source::identifying(&server, web());
    server.list(ALL).await.fail(403, "pods is forbidden at the cluster scope").await;
    assert!(source.failure("denied").await.contains("at the cluster scope"));
    let _watch = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1)])).await;
    assert_eq!(source.reset_ids().await, ["a"]);
    assert!(!source.status.report().is_ready(), "clients are not identified");
}

#[tokio::test]
async fn without_identify_clients_all_pods_are_not_listed() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let _watch = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1)])).await;
    source.reset().await;
    assert_eq!(source.status.report().synced, 1);
    assert!(source.status.report().is_ready());
}
