use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::{
    catalog::SnapshotCell,
    dns::Responder,
    model::{ReloadDiagnostic, ReloadResult, Reloaded, SourceId, SourceKind},
    telemetry::{QueryOutcome, SourceStatus, StatusBoard, Transport},
};

const DEADLINE: Duration = Duration::from_secs(30);

/// A server with two sources, `consul.vms` and `static`.
struct Admin {
    address: SocketAddr,
    vms: Arc<SourceStatus>,
    files: Arc<SourceStatus>,
    metrics: Arc<Metrics>,
    reload_requests: mpsc::Receiver<ReloadRequest>,
    board: Arc<StatusBoard>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// A complete response.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Admin {
    async fn start() -> Self {
        let mut board = StatusBoard::default();
        let vms = board.add(SourceId { kind: SourceKind::Consul, name: "vms".into() });
        let files = board.add(SourceId { kind: SourceKind::Static, name: "static".into() });
        let metrics = Arc::new(Metrics::new().unwrap());
        let (reloads, reload_requests) = mpsc::channel(1);
        let cell: Arc<SnapshotCell> = Arc::default();
        let responder = Arc::new(Responder::new(Arc::clone(&cell), Arc::clone(&metrics), None));
        let catalog = mpsc::channel(1).0;
        let board = Arc::new(board);
        let state = ApiState {
            board: Arc::clone(&board),
            metrics: Arc::clone(&metrics),
            catalog,
            cell,
            responder,
            reloads,
            hosts: ["dns1.corp.example".to_owned()].into(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, state, async {
            let _ = stopped.await;
        }));
        Self { address, vms, files, metrics, reload_requests, stop, task, board }
    }

    async fn get(&self, path: &str, headers: &str) -> Answer {
        send(self.address, "GET", path, headers).await
    }
}

/// Sends one request and reads the answer.
async fn send(address: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    send_to(address, "admin", (method, path), headers).await
}

async fn send_to(address: SocketAddr, host: &str, (method, path): (&str, &str), headers: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// Requests a reload, and plays a reloader with this result.
async fn post_reload(admin: &mut Admin, headers: &str, result: ReloadResult) -> Answer {
    let reloader = async {
        let done = admin.reload_requests.recv().await.unwrap();
        let diagnostic = ReloadDiagnostic {
            severity: "error".into(),
            file: "zones/shop.toml".into(),
            line: 3,
            column: 7,
            message: "wrong".into(),
            found: String::new(),
            help: None,
        };
        let text = "all of it in words\n".to_owned();
        done.send(Reloaded { result, text, diagnostics: vec![diagnostic], notes: Vec::new() }).unwrap();
    };
    let (answer, ()) = tokio::join!(send(admin.address, "POST", "/v1/reload", headers), reloader);
    answer
}

#[tokio::test]
async fn a_reload_responds_with_its_result() {
    let mut admin = Admin::start().await;
    for (result, status) in
        [(ReloadResult::Applied, 200), (ReloadResult::Unchanged, 200), (ReloadResult::Rejected, 422)]
    {
        let answer = post_reload(&mut admin, "X-Muster: reload\r\n", result).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, "all of it in words\n"));
    }
    let headers = "Content-Type: application/json; charset=utf-8\r\nAccept: application/json\r\n";
    let answer = post_reload(&mut admin, headers, ReloadResult::Rejected).await;
    let expected = serde_json::json!({
        "result": "rejected",
        "diagnostics": [{
            "severity": "error", "file": "zones/shop.toml", "line": 3, "column": 7,
            "message": "wrong", "found": "", "help": null,
        }],
        "notes": [],
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&answer.body).unwrap(), expected);
}

#[tokio::test]
async fn pages_of_other_sites_cannot_reload() {
    let mut admin = Admin::start().await;
    // What a form on another site's page can send.
    for headers in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"]
    {
        let answer = send(admin.address, "POST", "/v1/reload", headers).await;
        assert_eq!(answer.status, 403, "{headers}");
    }
    // A preflight request (CORS) is not granted, and GET changes nothing.
    let preflight = send(admin.address, "OPTIONS", "/v1/reload", "Origin: http://elsewhere\r\n").await;
    assert!(!preflight.head.contains("access-control-allow"), "{}", preflight.head);
    assert_eq!(admin.get("/v1/reload", "X-Muster: reload\r\n").await.status, 405);
    assert!(admin.reload_requests.try_recv().is_err(), "no reload was requested");
}

#[tokio::test]
async fn a_page_whose_name_leads_here_reads_nothing() {
    let mut admin = Admin::start().await;
    for (host, status) in [
        ("attacker.example", 421),
        ("attacker.example:5380", 421),
        ("127.0.0.1:5380", 200),
        ("[::1]:5380", 200),
        ("localhost", 200),
        ("dns1.corp.example:5380", 200),
    ] {
        assert_eq!(send_to(admin.address, host, ("GET", "/v1/sources"), "").await.status, status, "{host}");
        assert_eq!(send_to(admin.address, host, ("GET", "/healthz"), "").await.status, 200, "{host}");
    }
    let reload =
        send_to(admin.address, "attacker.example", ("POST", "/v1/reload"), "X-Muster: reload\r\n").await;
    assert_eq!(reload.status, 421);
    assert!(admin.reload_requests.try_recv().is_err(), "no reload was requested");
}

#[tokio::test]
async fn readyz_is_not_ready_before_the_end() {
    let admin = Admin::start().await;
    admin.vms.watch("service nginx").synced();
    admin.files.watch("service db").synced();
    assert_eq!(admin.get("/readyz", "").await.status, 200);
    admin.board.announce_stop();
    let answer = admin.get("/readyz", "").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.starts_with("not ready: stopping\n"), "{}", answer.body);
    assert_eq!(admin.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn healthz_is_ok_whatever_the_sources_are() {
    let admin = Admin::start().await;
    let _watch = admin.vms.watch("service nginx");
    let answer = admin.get("/healthz", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
}

#[tokio::test]
async fn readyz_waits_for_first_tries_and_then_stays_ready() {
    let admin = Admin::start().await;
    let (nginx, files) = (admin.vms.watch("service nginx"), admin.files.watch("service db"));
    files.synced();
    let answer = admin.get("/readyz", "").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.body,
        "not ready: waiting for the first answer of a source\n\
         consul.vms: lacks data; watches: 0 synced, 1 connecting, 0 failing\n\
         static: has data; watches: 1 synced, 0 connecting, 0 failing\n"
    );
    nginx.failed("denied", "permission denied".into());
    let denied = admin.get("/readyz", "").await;
    assert_eq!(denied.status, 200, "a watch that fails costs its own names only");
    assert!(denied.body.starts_with("ready\nconsul.vms: lacks data; "), "{}", denied.body);
    nginx.synced();
    nginx.failed("connect", "cannot reach the source: refused\r\nstatic: ready".into());
    let stale = admin.get("/readyz", "").await;
    assert_eq!(stale.status, 200);
    let line = stale.body.lines().nth(1).unwrap();
    assert!(
        line.starts_with("consul.vms: has data; watches: 0 synced, 0 connecting, 1 failing; last error "),
        "{line}"
    );
    assert!(
        line.ends_with(" (service nginx, connect): cannot reach the source: refused static: ready"),
        "{line}"
    );
    assert_eq!(stale.body.lines().count(), 3, "one line a source, whatever an error says");
    nginx.expired();
    assert_eq!(admin.get("/readyz", "").await.status, 200, "once ready, ready");
    let _new = admin.vms.watch("service of a reload");
    assert_eq!(admin.get("/readyz", "").await.status, 200);
}

#[tokio::test]
async fn readyz_is_json_on_request() {
    let admin = Admin::start().await;
    let nginx = admin.vms.watch("service nginx");
    nginx.synced();
    nginx.sent(2);
    nginx.keep_stale_for(Duration::from_secs(3600));
    nginx.lost(Instant::now().checked_sub(Duration::from_secs(60)).unwrap());
    nginx.failed("timeout", "no answer within 1s".into());
    assert!(admin.vms.note("turns", Some("services take turns".into())), "a new note");
    let answer = admin.get("/readyz", "Accept: text/html;q=0.5, Application/JSON;q=0.9\r\n").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    let mut json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    json["sources"][0]["last_error"]["seconds_ago"] = 0.into();
    let mut take = |field: &str| json["sources"][0][field].take().as_u64().unwrap();
    let (stale, left) = (take("stale_seconds"), take("expires_in_seconds"));
    assert!(stale >= 60 && (3600 - stale - 1..=3600 - stale).contains(&left), "{stale} {left}");
    let expected = serde_json::json!({
        "ready": true,
        "sources": [
            {
                "source": "consul.vms", "kind": "consul", "ready": true, "updates": 2,
                "watches": { "connecting": 0, "synced": 0, "failing": 1, "with_data": 1 },
                "errors": { "timeout": 1 }, "stale_seconds": null, "expires_in_seconds": null,
                "held": {}, "notes": ["services take turns"],
                "last_error": {
                    "watch": "service nginx", "kind": "timeout",
                    "message": "no answer within 1s", "seconds_ago": 0,
                },
            },
            {
                "source": "static", "kind": "static", "ready": true, "updates": 0,
                "watches": { "connecting": 0, "synced": 0, "failing": 0, "with_data": 0 },
                "errors": {}, "stale_seconds": null, "expires_in_seconds": null, "held": {}, "notes": [], "last_error": null,
            },
        ],
    });
    assert_eq!(json, expected);
}

#[tokio::test]
async fn metrics_are_in_the_text_format() {
    let admin = Admin::start().await;
    let _watch = admin.vms.watch("service nginx");
    admin.metrics.count(Transport::Udp, QueryOutcome::NoError);
    let answer = admin.get("/metrics", "").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    for line in [
        "# TYPE muster_queries_total counter",
        "muster_queries_total{rcode=\"NOERROR\",transport=\"udp\"} 1",
        "muster_source_watches{kind=\"consul\",source=\"vms\",state=\"connecting\"} 1",
    ] {
        assert!(answer.body.lines().any(|found| found == line), "no {line:?} in {}", answer.body);
    }
}

#[tokio::test]
async fn the_index_lists_every_page() {
    let admin = Admin::start().await;
    let index = admin.get("/", "").await;
    assert_eq!(index.status, 200);
    let pages: Vec<_> = index.body.lines().filter_map(|line| line.split(' ').next()).collect();
    let pages: Vec<_> = pages.into_iter().filter(|page| page.starts_with('/')).collect();
    assert_eq!(pages.len(), 7);
    for page in pages {
        // This test has no catalog worker, so its pages are unavailable.
        let needs_catalog = ["/v1/explain", "/v1/services", "/v1/instances"];
        let needs_catalog = needs_catalog.iter().any(|path| page.starts_with(path));
        let answer = admin.get(page, "").await;
        assert_eq!(answer.status, if needs_catalog { 503 } else { 200 }, "{page}");
        assert!(!needs_catalog || answer.body == "{\"error\":\"muster is stopping\"}\n", "{}", answer.body);
    }
    let missing = admin.get("/metrix", "").await;
    assert_eq!((missing.status, missing.body.as_str()), (404, "no such page; / lists all pages\n"));
}

#[tokio::test]
async fn wrong_parameters_are_refused_as_json() {
    let admin = Admin::start().await;
    for (page, says) in [
        ("/v1/explain", "missing field `name`\",\"usage\":\"/v1/explain?name=web.shop"),
        ("/v1/explain?name=a..b", "name: \\\"a..b\\\": a label is empty"),
        ("/v1/explain?name=web.shop&type=WRONG", "type: \\\"WRONG\\\" is not a record type"),
        ("/v1/explain?name=web.shop&client=me", "client: \\\"me\\\": invalid IP address syntax"),
        ("/v1/explain?name=web.shop&limit=10001", "limit: must be a number from 1 to 10000"),
        ("/v1/explain?name=web.shop&name=web.shop", "duplicate field `name`"),
        ("/v1/services?limit=-1", "limit: invalid digit found in string"),
        ("/v1/services?before=web.shop", "unknown field `before`, expected `after` or `limit`"),
        ("/v1/instances", "missing field `service`"),
        ("/v1/sources?limit=1", "unknown field `limit`, there are no fields\",\"usage\":\"/v1/sources\""),
    ] {
        let answer = admin.get(page, "").await;
        assert_eq!(answer.status, 400, "{page}");
        assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
        assert!(answer.body.starts_with("{\"error\":") && answer.body.contains(says), "{}", answer.body);
    }
}

#[tokio::test]
async fn shutdown_does_not_wait_for_idle_connections() {
    let admin = Admin::start().await;
    let idle = TcpStream::connect(admin.address).await.unwrap();
    assert_eq!(admin.get("/healthz", "").await.status, 200);
    admin.stop.send(()).unwrap();
    timeout(DEADLINE, admin.task).await.expect("it ends").unwrap();
    drop(idle);
}
