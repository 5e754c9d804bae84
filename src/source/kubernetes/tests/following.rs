//! Lists and watches without failures.

use super::*;

#[tokio::test]
async fn pods_are_listed_in_pages_and_then_watched() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());

    let first = server.list(PODS).await;
    assert_eq!(first.query("limit"), Some("500"));
    assert_eq!(first.query("labelSelector"), Some("app=web"));
    assert_eq!(first.query("resourceVersion"), None, "the most recent list, not any version");
    assert_eq!(first.headers["authorization"], "Bearer first");
    let mut page = list(7, json!([pod("a", 3, 1)]));
    page["metadata"]["continue"] = json!("more/of+it=");
    first.json(200, &page).await;

    let second = server.list(PODS).await;
    assert_eq!(second.query("continue"), Some("more/of+it="));
    second.json(200, &list(7, json!([pod("b", 4, 2)]))).await;
    assert_eq!(source.reset_ids().await, ["a", "b"]);

    let watch = server.watch(PODS, 7).await;
    assert_eq!(watch.query("labelSelector"), Some("app=web"));
    assert_eq!(watch.query("allowWatchBookmarks"), Some("true"));
    assert_eq!(watch.query("timeoutSeconds"), Some("200"));
    assert!(source.status.report().is_ready());
}

#[tokio::test]
async fn changes_of_pods_become_updates() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let mut watch = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1)])).await;
    let [instance] = source.reset().await.try_into().unwrap();
    assert_eq!((instance.port, instance.health), (80, Health::Healthy));
    assert_eq!(instance.target, Target::Addresses(["10.0.0.1".parse().unwrap()].into()));

    watch.event("ADDED", pod("b", 2, 2)).await;
    assert_eq!(&*source.upsert().await.id, "b");
    watch.event("MODIFIED", pod("b", 3, 2)).await; // nothing that muster keeps has changed
    watch.event("MODIFIED", not_ready(pod("b", 4, 2))).await;
    assert_eq!(source.upsert().await.health, Health::Unhealthy);
    watch
        .event("MODIFIED", with(pod("a", 5, 1), "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z")))
        .await;
    assert_eq!(source.upsert().await.health, Health::Draining);
    watch.event("MODIFIED", with(pod("a", 6, 1), "/status/phase", json!("Succeeded"))).await;
    assert_eq!(source.removed().await, "a", "its address may belong to another pod by now");
    watch.event("DELETED", pod("a", 7, 1)).await; // already removed
    watch.event("DELETED", pod("b", 8, 2)).await; // deleted, or no longer matched by the selector
    assert_eq!(source.removed().await, "b");
    assert_eq!(source.failures(), 0);
}

#[tokio::test]
async fn a_pod_is_reported_once_it_has_an_address() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let pending = with(pod("a", 1, 1), "/status", json!({ "phase": "Pending" }));
    let mut watch = server.list_and_watch(PODS, 1, json!([pending.clone()])).await;
    assert_eq!(source.reset().await, []);
    watch.event("MODIFIED", pending).await;
    watch.event("MODIFIED", pod("a", 2, 1)).await;
    assert_eq!(&*source.upsert().await.id, "a");
}

#[tokio::test]
async fn the_next_watch_starts_at_the_last_event_or_bookmark() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let mut watch = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1)])).await;
    source.reset().await;
    watch.event("ADDED", pod("b", 5, 2)).await;
    source.upsert().await;
    watch.end().await;

    let mut watch = server.watch(PODS, 5).await.begin().await;
    watch.event("BOOKMARK", bookmark(9)).await;
    watch.end().await;

    let watch = server.watch(PODS, 9).await.begin().await;
    watch.end().await;
    let mut watch = server.watch(PODS, 9).await.begin().await;
    watch.event("DELETED", pod("a", 10, 1)).await;
    assert_eq!(source.removed().await, "a");
    assert_eq!(source.failures(), 0);
}

#[tokio::test]
async fn a_gone_event_brings_a_new_list_and_no_failure() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let mut watch = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1), pod("b", 1, 2)])).await;
    source.reset().await;
    watch.event("ERROR", gone()).await;
    let _watch = server.list_and_watch(PODS, 20, json!([pod("b", 1, 2), pod("c", 15, 3)])).await;
    assert_eq!(source.reset_ids().await, ["b", "c"]);
    assert_eq!(source.failures(), 0);
}

#[tokio::test]
async fn http_410_at_the_start_of_a_watch_brings_a_new_list() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let watch = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1)])).await;
    source.reset().await;
    watch.end().await;
    server.watch(PODS, 1).await.fail(410, "too old resource version: 1 (20)").await;
    let mut watch = server.list_and_watch(PODS, 20, json!([pod("b", 15, 2)])).await;
    assert_eq!(source.reset_ids().await, ["b"]);
    watch.event("DELETED", pod("b", 21, 2)).await;
    assert_eq!(source.removed().await, "b");
    assert_eq!(source.failures(), 0);
}

#[tokio::test]
async fn a_list_that_expires_between_pages_starts_over() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let mut page = list(1, json!([pod("a", 1, 1)]));
    page["metadata"]["continue"] = json!("x");
    server.list(PODS).await.json(200, &page).await;
    server.list(PODS).await.fail(410, "The provided continue parameter is too old").await;
    let again = server.list(PODS).await;
    assert_eq!(again.query("continue"), None);
    again.json(200, &list(9, json!([pod("b", 8, 2)]))).await;
    assert_eq!(source.reset_ids().await, ["b"], "nothing is left of the expired list");
}

#[tokio::test]
async fn events_are_whole_wherever_their_chunks_end() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let mut watch = server.list_and_watch(PODS, 1, json!([])).await;
    source.reset().await;
    let named = with(pod("a", 2, 1), "/metadata/labels/app", json!("w\u{e9}b"));
    for chunk in line("ADDED", named).as_bytes().chunks(7) {
        watch.chunk(chunk).await;
    }
    assert_eq!(source.upsert().await.labels.get("app"), Some("w\u{e9}b"));
    let events =
        [line("ADDED", pod("b", 3, 2)), line("ADDED", pod("c", 4, 3)), line("DELETED", pod("a", 5, 1))];
    watch.chunk(events.concat().as_bytes()).await;
    assert_eq!(&*source.upsert().await.id, "b");
    assert_eq!(&*source.upsert().await.id, "c");
    assert_eq!(source.removed().await, "a");
}

#[tokio::test]
async fn members_with_the_same_objects_share_a_watch() {
    let mut server = ApiServer::start().await;
    let second = followed("other.test", pods(), Some(PortRef::Number(8080)));
    let mut source = Source::start(&server, [web(), vec![second]].concat());
    let mut watch = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1)])).await;
    assert_eq!(source.reset().await[0].port, 80);
    assert_eq!(source.reset().await[0].port, 8080);
    watch.event("DELETED", pod("a", 2, 1)).await;
    assert_eq!(source.removed().await, "a");
    assert_eq!(source.removed().await, "a");
    assert_eq!(source.status.report().synced, 1, "one watch");
}

#[tokio::test]
async fn the_first_list_of_pods_waits_for_zones() {
    let mut server = ApiServer::start().await;
    let timing = KubernetesTiming { zones: DEADLINE, ..quick() };
    let mut source = Source::start_as(web(), timing, |path| write_kubeconfig(path, &server, json!({})));
    server.list(PODS).await.json(200, &list(1, json!([pod("a", 1, 1)]))).await;
    let nodes = server.list(NODES).await;
    assert!(source.inbox.try_recv().is_err(), "no pods before the nodes");
    nodes.json(200, &list(5, json!([node("node-1", 1, "zone-a")]))).await;
    assert_eq!(source.reset().await[0].locality.as_deref(), Some("zone-a"));
}

#[tokio::test]
async fn denied_nodes_release_the_pods_at_once() {
    let mut server = ApiServer::start().await;
    let timing = KubernetesTiming { zones: 10 * DEADLINE, ..quick() };
    let mut source = Source::start_as(web(), timing, |path| write_kubeconfig(path, &server, json!({})));
    server.list(PODS).await.json(200, &list(1, json!([pod("a", 1, 1)]))).await;
    server.list(NODES).await.fail(403, "nodes is forbidden").await;
    assert_eq!(source.reset().await[0].locality, None);
}

#[tokio::test]
async fn a_pod_is_reported_again_when_its_zone_becomes_known() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let elsewhere = with(pod("b", 1, 2), "/spec/nodeName", json!("node-2"));
    let mut pods = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1), elsewhere])).await;
    assert!(source.reset().await.iter().all(|instance| instance.locality.is_none()));

    let nodes = server.list(NODES).await;
    assert!(nodes.headers["accept"].contains("PartialObjectMetadataList"), "{nodes:?}");
    nodes.json(200, &list(5, json!([node("node-1", 1, "zone-a")]))).await;
    let moved = source.upsert().await;
    assert_eq!((&*moved.id, moved.locality.as_deref()), ("a", Some("zone-a")));

    let mut nodes = server.watch(NODES, 5).await.begin().await;
    nodes.event("ADDED", node("node-2", 6, "zone-b")).await;
    let moved = source.upsert().await;
    assert_eq!((&*moved.id, moved.locality.as_deref()), ("b", Some("zone-b")));
    pods.event("ADDED", pod("c", 7, 3)).await;
    assert_eq!(source.upsert().await.locality.as_deref(), Some("zone-a"));
    nodes.event("DELETED", node("node-2", 8, "zone-b")).await;
    assert_eq!(source.upsert().await.locality, None);
}

#[tokio::test]
async fn many_pods_whose_zone_becomes_known_are_one_reset() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let all: Vec<_> = (0..100).map(|number| pod(&format!("pod-{number}"), 1, number)).collect();
    let _watch = server.list_and_watch(PODS, 1, json!(all)).await;
    assert_eq!(source.reset().await.len(), 100);
    server.list(NODES).await.json(200, &list(5, json!([node("node-1", 1, "zone-a")]))).await;
    let moved = source.reset().await;
    assert_eq!(moved.len(), 100);
    assert!(moved.iter().all(|instance| instance.locality.as_deref() == Some("zone-a")));
}

#[tokio::test]
async fn without_access_to_nodes_pods_are_followed() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    server.list(NODES).await.fail(403, "nodes is forbidden").await;
    let mut watch = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1)])).await;
    assert_eq!(source.reset_ids().await, ["a"]);
    watch.event("DELETED", pod("a", 2, 1)).await;
    source.removed().await;
    assert!(source.status.report().is_ready());
    assert_eq!(source.failures(), 0);
}

#[tokio::test]
async fn changes_of_a_slice_are_sent_as_a_difference() {
    let mut server = ApiServer::start().await;
    let service = KubernetesObjects::Service("web".to_owned());
    let member = followed("web.test", service, Some(PortRef::Name("http".to_owned())));
    let mut source = Source::start(&server, vec![member]);
    let request = server.list(SLICES).await;
    assert_eq!(request.query("labelSelector"), Some("kubernetes.io/service-name=web"));
    let slices = json!([
        slice("web-1", 1, json!([endpoint("a", 1, true), endpoint("b", 2, true)])),
        slice("web-2", 1, json!([endpoint("c", 3, true)])),
    ]);
    request.json(200, &list(1, slices)).await;
    let all = source.reset().await;
    assert_eq!(all.iter().map(|instance| &*instance.id).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(all.iter().all(|i| i.port == 8080 && i.locality.as_deref() == Some("zone-a")));

    let mut watch = server.watch(SLICES, 1).await.begin().await;
    watch
        .event("MODIFIED", slice("web-1", 2, json!([endpoint("a", 1, true), endpoint("b", 2, false)])))
        .await;
    let changed = source.upsert().await;
    assert_eq!((&*changed.id, changed.health), ("b", Health::Unhealthy));
    watch.event("MODIFIED", slice("web-1", 3, json!([endpoint("b", 2, false)]))).await;
    assert_eq!(source.removed().await, "a");
    watch.event("DELETED", slice("web-2", 4, Value::Null)).await;
    assert_eq!(source.removed().await, "c");
    watch.event("ERROR", gone()).await;
    let _watch =
        server.list_and_watch(SLICES, 9, json!([slice("web-3", 9, json!([endpoint("d", 4, true)]))])).await;
    assert_eq!(source.reset_ids().await, ["d"]);
}
