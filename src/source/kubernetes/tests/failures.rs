//! Connections, credentials and responses that fail.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn after_a_cut_connection_the_watch_goes_on() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let mut watch = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1)])).await;
    source.reset().await;
    watch.event("ADDED", pod("b", 4, 2)).await;
    source.upsert().await;
    let event = line("ADDED", pod("c", 5, 3));
    watch.cut(&event.as_bytes()[..event.len() / 2]).await;
    let mut watch = server.watch(PODS, 4).await.begin().await;
    assert_eq!(source.reset_ids().await, ["a", "b"], "what is known, without a list");
    watch.event("DELETED", pod("a", 6, 1)).await;
    assert_eq!(source.removed().await, "a");
    assert!(source.failure("connect").await.contains("the connection broke"));
    assert!(source.status.report().is_ready());
}

#[tokio::test]
async fn refused_watches_are_tried_again_without_a_list() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    server.list(PODS).await.json(200, &list(3, json!([pod("a", 1, 1)]))).await;
    source.reset().await;
    server.watch(PODS, 3).await.fail(500, "etcdserver: request timed out").await;
    server.watch(PODS, 3).await.fail(429, "too many requests").await;
    let mut watch = server.watch(PODS, 3).await.begin().await;
    assert_eq!(source.reset_ids().await, ["a"]);
    // A version that expired in the meantime, and an account that may not watch: both list.
    watch.event("ERROR", gone()).await;
    server.list(PODS).await.json(200, &list(9, json!([]))).await;
    source.reset().await;
    server.watch(PODS, 9).await.fail(403, "pods is forbidden").await;
    server.list(PODS).await;
}

#[tokio::test]
async fn an_old_version_is_listed_again() {
    let mut server = ApiServer::start().await;
    let timing = KubernetesTiming { resume: Duration::ZERO, ..quick() };
    let mut source = Source::start_as(web(), timing, |path| write_kubeconfig(path, &server, json!({})));
    server.list(PODS).await.json(200, &list(3, json!([]))).await;
    source.reset().await;
    server.watch(PODS, 3).await.fail(500, "no").await;
    server.list(PODS).await;
}

#[tokio::test]
async fn retry_after_is_honored() {
    let mut server = ApiServer::start().await;
    let start = Instant::now();
    let _source = Source::start(&server, web());
    server.list(PODS).await.too_many(1).await;
    server.list(PODS).await;
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn versions_that_expire_forever_are_a_failure() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    for version in 1..=5 {
        let mut watch = server.list_and_watch(PODS, version, json!([])).await;
        source.reset().await;
        watch.event("ERROR", gone()).await;
    }
    assert!(source.failure("refused").await.contains("5 times in a row"));
}

#[tokio::test]
async fn the_head_of_a_watch_is_not_waited_for_long() {
    let mut server = ApiServer::start().await;
    let timing = KubernetesTiming { head: Duration::from_millis(100), ..quick() };
    let mut source = Source::start_as(web(), timing, |path| write_kubeconfig(path, &server, json!({})));
    server.list(PODS).await.json(200, &list(1, json!([]))).await;
    source.reset().await;
    server.watch(PODS, 1).await.closed().await;
    source.failure("timeout").await;
    server.watch(PODS, 1).await;
}

#[tokio::test]
async fn connections_have_keepalive() {
    let mut server = ApiServer::start().await;
    let _source = Source::start(&server, web());
    let _request = server.list(PODS).await;
    // Columns of proc_net_tcp(5): the remote address, the state (01: established), the timer (02:
    // keepalive).
    let port = format!(":{:04X}", server.address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let timers = table.lines().filter_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        (columns.get(2)?.ends_with(&port) && columns.get(3)? == &"01").then(|| columns[5][..2].to_owned())
    });
    let timers: Vec<_> = timers.collect();
    assert!(!timers.is_empty() && timers.iter().all(|timer| timer == "02"), "{timers:?}");
}

#[tokio::test]
async fn the_kubeconfigs_proxy_is_used() {
    let mut proxy = ApiServer::start().await;
    let cluster = json!({
        "server": "http://api.invalid:6443",
        "proxy-url": format!("http://me:p%40ss@{}", proxy.address),
    });
    let mut source = Source::start_as(web(), quick(), |path| write_cluster(path, cluster, json!({})));
    // One connection for pods, one for nodes.
    for connect in [proxy.request("api.invalid:6443").await, proxy.request("api.invalid:6443").await] {
        assert_eq!(connect.headers["proxy-authorization"], "Basic bWU6cEBzcw==");
        connect.tunnel().await;
    }
    proxy.list(PODS).await.json(200, &list(1, json!([pod("a", 1, 1)]))).await;
    assert_eq!(source.reset_ids().await, ["a"]);
}

#[tokio::test]
async fn errors_quote_no_credentials() {
    let broken = "apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user:\n    token: secret-1\n   bad: x\n";
    let source = Source::start_as(web(), quick(), |path| std::fs::write(path, broken).unwrap());
    let message = source.failure("setup").await;
    assert!(message.contains("line ") && !message.contains("secret"), "{message}");

    let server = ApiServer::start().await;
    for output in ["{ secret-2", r#"{ "status": { "token": ["secret-2"] } }"#] {
        let exec = json!({ "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/echo", "args": [output],
            "env": [{ "name": "KEY", "value": "secret-3" }], "interactiveMode": "Never",
        } });
        let source = Source::start_as(web(), quick(), |path| write_kubeconfig(path, &server, exec));
        let message = source.failure("setup").await;
        assert!(message.contains("credential plugin") && !message.contains("secret"), "{message}");
    }
}

#[tokio::test]
async fn a_failed_connection_runs_no_plugin_again() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let script = format!(
        r#"echo >> {}; echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"t"}}}}'"#,
        runs.display()
    );
    let exec = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", script],
        "interactiveMode": "Never",
    } });
    let mut server = ApiServer::start().await;
    let source = Source::start_as(web(), quick(), |path| write_kubeconfig(path, &server, exec.clone()));
    let count = || std::fs::read_to_string(&runs).unwrap().lines().count();
    let request = server.list(PODS).await;
    let first = count();
    // Longer than a suspect client is kept.
    let until = Instant::now() + Duration::from_secs(3);
    drop(request);
    while Instant::now() < until {
        drop(server.list(PODS).await);
    }
    source.failure("connect").await;
    assert_eq!(count(), first);
}

#[tokio::test]
async fn a_watch_that_ends_within_an_event_is_malformed() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let mut watch = server.list_and_watch(PODS, 1, json!([])).await;
    source.reset().await;
    watch.chunk(br#"{"type":"ADDED","object":{"metadata""#).await;
    watch.end().await;
    let _watch = server.list_and_watch(PODS, 5, json!([])).await;
    assert!(source.failure("malformed").await.contains("in the middle of an event"));
}

#[tokio::test]
async fn a_watch_that_is_never_ended_times_out() {
    let mut server = ApiServer::start().await;
    let timing = KubernetesTiming { watch_seconds: 0..=0, grace: Duration::from_secs(1), ..quick() };
    let user = json!({});
    let mut source = Source::start_as(web(), timing, |path| write_kubeconfig(path, &server, user));
    let silent = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1)])).await;
    assert_eq!(source.reset_ids().await, ["a"]);
    source.failure("timeout").await;
    silent.closed().await;
    // The same for a server that accepts the request and never begins to respond.
    let mute = server.watch(PODS, 1).await;
    mute.closed().await;
}

#[tokio::test]
async fn denied_permissions_carry_the_servers_message() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    server.list(PODS).await.fail(403, "pods is forbidden: User \"dns\" cannot list resource \"pods\"").await;
    let message = source.failure("denied").await;
    assert!(message.contains("cannot list resource"), "{message}");
    assert!(!source.status.report().is_ready(), "denied is not empty");
    let _watch = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1)])).await;
    assert_eq!(source.reset_ids().await, ["a"], "the watch retries");
}

#[tokio::test]
async fn refused_credentials_are_read_again() {
    let mut server = ApiServer::start().await;
    // Longer than the test, so that no other failure makes the client suspect.
    let timing = KubernetesTiming { page: 10 * DEADLINE, ..quick() };
    let user = json!({ "token": "first" });
    let mut source = Source::start_as(web(), timing, |path| write_kubeconfig(path, &server, user));
    let request = server.list(PODS).await;
    assert_eq!(request.headers["authorization"], "Bearer first");
    write_kubeconfig(&source.kubeconfig(), &server, json!({ "token": "second" }));
    request.fail(401, "Unauthorized").await;
    let accepted = async {
        loop {
            let request = server.list(PODS).await;
            if request.headers["authorization"] == "Bearer second" {
                return request;
            }
            request.fail(401, "Unauthorized").await;
        }
    };
    let request = timeout(DEADLINE, accepted).await.expect("the old credentials are kept");
    request.json(200, &list(1, json!([]))).await;
    assert_eq!(source.reset().await, []);
    assert!(source.failure("denied").await.contains("401"));
}

#[tokio::test]
async fn garbage_is_malformed_and_not_logged() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    server.list(PODS).await.text(200, "<html>secret</html>").await;
    let message = source.failure("malformed").await;
    assert!(!message.contains("secret"), "{message}");
    server.list(PODS).await.json(200, &json!({ "items": [] })).await; // no version for the watch
    let mut watch = server.list_and_watch(PODS, 1, json!([])).await;
    source.reset().await;
    watch.chunk(b"{\"type\":\"SURPRISE\",\"object\":{}}\n").await;
    let mut watch = server.list_and_watch(PODS, 2, json!([])).await;
    source.reset().await;
    watch.event("ADDED", json!({ "metadata": { "name": "a" } })).await; // no version for the next watch
    server.list(PODS).await.json(200, &list(3, json!([]))).await;
    source.reset().await;
    server.watch(PODS, 3).await.fail(500, "etcdserver: request timed out").await;
    assert!(source.failure("refused").await.contains("500: etcdserver"));
}

#[tokio::test]
async fn a_kubeconfig_that_appears_later_is_used() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start_as(web(), quick(), |_| ());
    let message = source.failure("setup").await;
    assert!(message.contains("kubeconfig of [kubernetes.eks]"), "{message}");
    write_kubeconfig(&source.kubeconfig(), &server, json!({}));
    let _watch = server.list_and_watch(PODS, 1, json!([pod("a", 1, 1)])).await;
    assert_eq!(source.reset_ids().await, ["a"]);
}

#[tokio::test]
async fn credential_plugins_are_run() {
    let mut server = ApiServer::start().await;
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": { "token": "from-plugin" },
    });
    let exec = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "/bin/echo",
        "args": [credential.to_string()],
        "interactiveMode": "Never",
    } });
    let _source = Source::start_as(web(), quick(), |path| write_kubeconfig(path, &server, exec));
    assert_eq!(server.list(PODS).await.headers["authorization"], "Bearer from-plugin");
}

#[tokio::test]
async fn a_credential_plugin_that_fails_is_a_setup_failure() {
    let mut server = ApiServer::start().await;
    let exec = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/false", "interactiveMode": "Never",
    } });
    let source = Source::start_as(web(), quick(), |path| write_kubeconfig(path, &server, exec));
    source.failure("setup").await;
    write_kubeconfig(&source.kubeconfig(), &server, json!({}));
    server.list(PODS).await;
}

#[tokio::test]
async fn dropping_the_source_closes_its_connections() {
    let mut server = ApiServer::start().await;
    let mut source = Source::start(&server, web());
    let watch = server.list_and_watch(PODS, 1, json!([])).await;
    source.reset().await;
    let nodes = server.list(NODES).await;
    drop(source);
    watch.closed().await;
    nodes.closed().await;
}

#[tokio::test]
async fn a_namespace_cannot_reach_another_path() {
    let mut server = ApiServer::start().await;
    let mut member = web().remove(0);
    if let SourceQuery::Kubernetes(query) = &mut member.rule.query {
        query.namespace = "../x?y".to_owned();
    }
    let _source = Source::start(&server, vec![member]);
    server.list("/api/v1/namespaces/%2E%2E%2Fx%3Fy/pods").await;
}

#[tokio::test]
async fn a_list_without_a_response_times_out() {
    let mut server = ApiServer::start().await;
    let timing = KubernetesTiming { page: Duration::from_millis(200), ..quick() };
    let source = Source::start_as(web(), timing, |path| write_kubeconfig(path, &server, json!({})));
    server.list(PODS).await.closed().await;
    source.failure("timeout").await;
}

#[tokio::test]
async fn a_server_that_ends_every_response_at_once_is_not_flooded() {
    const PAUSE: Duration = Duration::from_millis(200);
    let mut server = ApiServer::start().await;
    let timing = KubernetesTiming { pause: PAUSE, ..quick() };
    let start = Instant::now();
    let mut source = Source::start_as(web(), timing, |path| write_kubeconfig(path, &server, json!({})));
    for _ in 0..4 {
        let mut page = list(1, json!([]));
        page["metadata"]["continue"] = json!("x");
        server.list(PODS).await.json(200, &page).await;
        server.list(PODS).await.fail(410, "The provided continue parameter is too old").await;
    }
    let last = server.list(PODS).await;
    assert!(start.elapsed() >= 4 * PAUSE, "four more lists: {:?}", start.elapsed());
    last.json(200, &list(1, json!([]))).await;
    source.reset().await;
    for _ in 0..5 {
        server.watch(PODS, 1).await.begin().await.end().await;
    }
    // Counted from the start, since the test cannot tell when the first watch began.
    assert!(start.elapsed() >= 8 * PAUSE, "and four more watches: {:?}", start.elapsed());
}

#[tokio::test]
async fn nodes_that_cannot_be_watched_are_tried_with_backoff() {
    let mut server = ApiServer::start().await;
    let start = Instant::now();
    let _source = Source::start(&server, web());
    server.list(NODES).await.json(200, &list(1, json!([node("node-1", 1, "zone-a")]))).await;
    for _ in 0..5 {
        server.watch(NODES, 1).await.fail(500, "no").await;
    }
    server.watch(NODES, 1).await;
    // The shortest waits are 50, 100, 200, 400 and 800 ms; five first waits would be 500 ms at
    // most.
    assert!(start.elapsed() >= Duration::from_millis(1550), "{:?}", start.elapsed());
}
