//! Members that share watches, and watches that outlive a reload.

use super::*;

const ALL_PODS: &str = "/api/v1/pods";
const ALL_SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

fn by_app(namespace: &str, app: &str) -> FollowedMember {
    let objects = KubernetesObjects::Pods(format!("app={app},tier=front").parse().unwrap());
    followed_in(namespace, &format!("{app}.pods.test"), objects, Some(PortRef::Number(80)))
}

fn by_service(namespace: &str, service: &str) -> FollowedMember {
    let objects = KubernetesObjects::Service(service.to_owned());
    followed_in(namespace, &format!("{service}.slices.test"), objects, None)
}

fn app_pod(namespace: &str, app: &str, version: u64, host: u8) -> Value {
    let labelled = with(
        pod(&format!("{app}-0"), version, host),
        "/metadata/labels",
        json!({ "app": app, "tier": "front" }),
    );
    with(labelled, "/metadata/namespace", json!(namespace))
}

fn slice_of(namespace: &str, service: &str, version: u64, endpoints: Value) -> Value {
    let labels = json!({ "kubernetes.io/service-name": service });
    let labelled = with(slice(&format!("{service}-x"), version, endpoints), "/metadata/labels", labels);
    with(labelled, "/metadata/namespace", json!(namespace))
}

/// Five members of namespace `shop`, which share a watch of pods.
fn five() -> Vec<FollowedMember> {
    (0..5).map(|number| by_app("shop", &format!("web-{number}"))).collect()
}

impl Source {
    /// Returns the ids of the next `count` updates by the first label of the member's service; all
    /// of them must be resets.
    async fn resets(&mut self, count: usize) -> Vec<(String, Vec<String>)> {
        let mut all = Vec::new();
        for _ in 0..count {
            let Update::Reset { member, instances } = self.next().await else { panic!("not a reset") };
            all.push((first_label(&member), instances.iter().map(|i| i.id.to_string()).collect()));
        }
        all.sort();
        all
    }

    /// Returns the next change as the first label of the member's service and the instance's id.
    async fn change(&mut self) -> (String, String) {
        match self.next().await {
            Update::Upsert { member, instance } => (first_label(&member), instance.id.to_string()),
            Update::Remove { member, id } => (first_label(&member), format!("-{id}")),
            other => panic!("expected one change, got {other:?}"),
        }
    }
}

fn first_label(member: &Member) -> String {
    member.service.to_string().split('.').next().unwrap().to_owned()
}

fn pair(member: &str, id: &str) -> (String, String) {
    (member.to_owned(), id.to_owned())
}

#[tokio::test]
async fn a_thousand_members_of_a_namespace_need_three_connections() {
    let mut server = ApiServer::start().await;
    let names: Vec<_> = (0..500).map(|number| format!("web-{number}")).collect();
    let of_pods = names.iter().map(|name| by_app("shop", name));
    let of_services = names.iter().map(|name| by_service("shop", name));
    let mut source = Source::start(&server, of_pods.chain(of_services).collect());
    let _nodes = server.list_and_watch(NODES, 1, json!([node("node-1", 1, "zone-a")])).await;
    let pods: Vec<_> = names.iter().map(|name| app_pod("shop", name, 1, 1)).collect();
    let mut pods = server.list_and_watch(PODS, 1, json!(pods)).await;
    for (member, ids) in source.resets(500).await {
        assert_eq!(ids, [format!("{member}-0")]);
    }
    let slices: Vec<_> =
        names.iter().map(|name| slice_of("shop", name, 1, json!([endpoint(name, 1, true)]))).collect();
    let mut slices = server.list_and_watch(SLICES, 1, json!(slices)).await;
    for (member, ids) in source.resets(500).await {
        assert_eq!(ids, [member]);
    }
    assert_eq!(source.status.report().synced, 2, "one watch of pods, one of EndpointSlices");
    assert!(server.waiting().is_empty());
    assert_eq!(server.connections(), 3);

    // What changes reaches only the members that it concerns.
    pods.event("MODIFIED", not_ready(app_pod("shop", "web-7", 2, 1))).await;
    assert_eq!(source.change().await, pair("web-7", "web-7-0"));
    let changed = slice_of("shop", "web-8", 2, json!([endpoint("web-8", 1, false)]));
    slices.event("MODIFIED", changed).await;
    assert_eq!(source.change().await, pair("web-8", "web-8"));
    pods.event("ADDED", app_pod("shop", "unknown", 3, 9)).await;
    slices.event("ADDED", slice_of("shop", "unknown", 3, json!([endpoint("x", 9, true)]))).await;
    slices.event("DELETED", slice_of("shop", "web-8", 4, Value::Null)).await;
    assert_eq!(source.change().await, pair("web-8", "-web-8"));
    pods.event("DELETED", app_pod("shop", "web-7", 4, 1)).await;
    assert_eq!(source.change().await, pair("web-7", "-web-7-0"));
}

#[tokio::test]
async fn a_pod_whose_labels_change_moves_to_another_member() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, five());
    let mut watch = server.list_and_watch(PODS, 1, json!([app_pod("shop", "web-1", 1, 1)])).await;
    source.resets(5).await;
    let labels = json!({ "app": "web-2", "tier": "front" });
    watch.event("MODIFIED", with(app_pod("shop", "web-1", 2, 1), "/metadata/labels", labels)).await;
    let mut changes = [source.change().await, source.change().await];
    changes.sort();
    assert_eq!(changes, [pair("web-1", "-web-1-0"), pair("web-2", "web-1-0")]);
}

#[tokio::test]
async fn a_few_selectors_are_matched_by_the_server() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, five().split_off(2));
    for _ in 0..3 {
        let request = server.list(PODS).await;
        assert!(request.query("labelSelector").unwrap().ends_with(",tier=front"));
        request.json(200, &list(1, json!([]))).await;
        source.resets(1).await;
    }
}

#[tokio::test]
async fn a_member_added_on_reload_is_answered_without_a_list() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, five());
    let mut watch = server
        .list_and_watch(PODS, 1, json!([app_pod("shop", "web-1", 1, 1), app_pod("shop", "new", 1, 2)]))
        .await;
    source.resets(5).await;
    let members: Vec<_> = five().into_iter().chain([by_app("shop", "new")]).collect();
    source.reload(members.clone()).await;
    let resets = source.resets(6).await;
    assert_eq!(resets[0], ("new".to_owned(), vec!["new-0".to_owned()]));
    assert_eq!(resets[2], ("web-1".to_owned(), vec!["web-1-0".to_owned()]));
    watch.event("MODIFIED", not_ready(app_pod("shop", "new", 2, 2))).await;
    assert_eq!(source.change().await, pair("new", "new-0"));
    // What happens while no watch reads is not lost either.
    source.task.abort();
    watch.event("DELETED", app_pod("shop", "web-1", 3, 1)).await;
    source.reload(members).await;
    assert_eq!(source.resets(6).await.len(), 6);
    assert_eq!(source.change().await, pair("web-1", "-web-1-0"));
    assert!(!server.waiting().contains(&PODS), "nothing was requested again");
    assert_eq!(source.failures(), 0);
}

#[tokio::test]
async fn a_service_added_on_reload_is_answered_without_a_list() {
    let mut server = ApiServer::start().await;
    let members = |count| (0..count).map(|number| by_service("shop", &format!("web-{number}"))).collect();
    let mut source = Source::start(&server, members(4));
    let all = json!([slice_of("shop", "web-4", 1, json!([endpoint("a", 1, true)]))]);
    let mut watch = server.list_and_watch(SLICES, 1, all).await;
    source.resets(4).await;
    source.reload(members(5)).await;
    assert_eq!(source.resets(5).await[4], ("web-4".to_owned(), vec!["a".to_owned()]));
    // The slice becomes another Service's.
    let moved = json!({ "kubernetes.io/service-name": "web-1" });
    let moved =
        with(slice_of("shop", "web-4", 2, json!([endpoint("a", 1, true)])), "/metadata/labels", moved);
    watch.event("MODIFIED", moved).await;
    let mut changes = [source.change().await, source.change().await];
    changes.sort();
    assert_eq!(changes, [pair("web-1", "a"), pair("web-4", "-a")]);
    assert!(!server.waiting().contains(&SLICES));
}

#[tokio::test]
async fn a_reload_closes_the_connections_that_are_not_needed() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, five());
    let watch = server.list_and_watch(PODS, 1, json!([])).await;
    source.resets(5).await;
    let nodes = server.list(NODES).await;
    source.reload(vec![by_service("shop", "web")]).await;
    watch.closed().await;
    nodes.closed().await;
    let _watch = server.list_and_watch(SLICES, 1, json!([])).await;
    source.resets(1).await;
}

/// A member of each of twelve namespaces, by pods and by Services.
fn twelve() -> Vec<FollowedMember> {
    let namespaces = (0..12).map(|number| format!("team-{number:02}"));
    namespaces
        .flat_map(|namespace| [by_app(&namespace, &namespace), by_service(&namespace, &namespace)])
        .collect()
}

#[tokio::test]
async fn many_namespaces_share_a_watch_of_the_cluster() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, twelve());
    let pods = json!([app_pod("team-03", "team-03", 1, 1), app_pod("team-04", "team-03", 1, 2)]);
    let _pods = server.list_and_watch(ALL_PODS, 1, pods).await;
    let resets = source.resets(12).await;
    assert_eq!(resets[3], ("team-03".to_owned(), vec!["team-03-0".to_owned()]), "of its own namespace");
    assert!(resets[4].1.is_empty());
    let slices = json!([
        slice_of("team-03", "team-03", 1, json!([endpoint("a", 1, true)])),
        slice_of("team-04", "team-03", 1, json!([endpoint("b", 2, true)])),
    ]);
    let _slices = server.list_and_watch(ALL_SLICES, 1, slices).await;
    let resets = source.resets(12).await;
    assert_eq!(resets[3], ("team-03".to_owned(), vec!["a".to_owned()]));
    assert!(resets[4].1.is_empty());
    assert_eq!(source.status.report().synced, 2);
}

#[tokio::test]
async fn a_token_that_may_not_read_the_cluster_follows_namespaces() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, twelve());
    server.list(ALL_PODS).await.fail(403, "pods is forbidden at the cluster scope").await;
    server.list(ALL_SLICES).await.fail(403, "endpointslices is forbidden at the cluster scope").await;
    for number in 0..12 {
        let path = format!("/api/v1/namespaces/team-{number:02}/pods");
        let request = server.list(&path).await;
        assert!(request.query("labelSelector").is_some());
        request.json(200, &list(1, json!([pod("a", 1, 1)]))).await;
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/team-{number:02}/endpointslices");
        server.list(&path).await.json(200, &list(1, json!([]))).await;
        source.resets(2).await;
    }
    let report = source.status.report();
    assert_eq!((report.synced, report.failing, source.failures()), (24, 0, 0));
    assert!(report.notes[0].contains("may not list"), "{:?}", report.notes);
    source.reload(twelve()).await;
    source.resets(24).await;
    assert!(!server.waiting().contains(&ALL_PODS), "the denial is remembered");
}

#[tokio::test]
async fn a_token_that_loses_the_cluster_keeps_what_is_known() {
    let mut server = ApiServer::start().await;
    let members: Vec<_> = twelve().into_iter().step_by(2).collect();
    let mut source = Source::start(&server, members);
    let mut watch = server.list_and_watch(ALL_PODS, 1, json!([])).await;
    source.resets(12).await;
    watch.event("ERROR", json!({ "kind": "Status", "message": "pods is forbidden", "code": 403 })).await;
    server.list("/api/v1/namespaces/team-00/pods").await;
    let report = source.status.report();
    assert_eq!((report.connecting, report.with_data), (12, 12), "stale data stays");
}

#[tokio::test]
async fn credentials_that_are_refused_are_no_reason_to_follow_namespaces() {
    let mut server = ApiServer::start().await;
    let source = Source::start(&server, twelve());
    for _ in 0..2 {
        server.list(ALL_PODS).await.fail(401, "Unauthorized").await;
        source.failure("denied").await;
    }
    server.list(ALL_PODS).await;
}
