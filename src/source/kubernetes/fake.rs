//! A fake API server: real sockets and HTTP/1.1, where the test controls every byte of a response.
//!
//! An HTTP library on this side would decide where chunks end and how a connection breaks, which
//! the tests are about. Writing to a client that has closed its connection is no failure: on a slow
//! machine a client may give up at any time, and the test is about what it does next.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

use crate::{
    config::{GuardRule, KubernetesSource},
    model::{SourceId, SourceKind},
};

/// The id of the source.
pub(super) fn id() -> SourceId {
    SourceId { kind: SourceKind::Kubernetes, name: "eks".into() }
}

/// The settings of the source.
pub(super) fn settings(kubeconfig: Option<PathBuf>) -> KubernetesSource {
    KubernetesSource {
        id: id(),
        kubeconfig,
        context: None,
        identify_clients: false,
        guard: GuardRule::default(),
    }
}

/// How long tests wait for something that must happen.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// The server; requests that the test does not take get no response.
pub(super) struct ApiServer {
    pub(super) address: SocketAddr,
    requests: mpsc::UnboundedReceiver<FakeRequest>,
    skipped: Vec<FakeRequest>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// A request, and the connection for its response.
#[derive(Debug)]
pub(super) struct FakeRequest {
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: BTreeMap<String, String>,
    stream: TcpStream,
    next: mpsc::UnboundedSender<FakeRequest>,
}

/// The response to a watch, begun.
#[derive(Debug)]
pub(super) struct WatchResponse {
    stream: TcpStream,
    next: mpsc::UnboundedSender<FakeRequest>,
}

impl ApiServer {
    pub(super) async fn start() -> Self {
        Self::on("127.0.0.1:0".parse().unwrap()).await
    }

    pub(super) async fn on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                connections.spawn(read(stream, sender.clone()));
            }
        });
        Self { address, requests, skipped: Vec::new(), connections, _tasks: tasks }
    }

    /// How many connections were opened so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The paths of requests that came and were not taken.
    pub(super) fn waiting(&mut self) -> Vec<&str> {
        while let Ok(request) = self.requests.try_recv() {
            self.skipped.push(request);
        }
        self.skipped.iter().map(|request| request.path.as_str()).collect()
    }

    /// Returns the next request for `path`; requests for other paths wait.
    pub(super) async fn request(&mut self, path: &str) -> FakeRequest {
        if let Some(index) = self.skipped.iter().position(|request| request.path == path) {
            return self.skipped.remove(index);
        }
        loop {
            let request = timeout(DEADLINE, self.requests.recv()).await;
            let request = request.unwrap_or_else(|_| panic!("no request for {path}")).unwrap();
            if request.path == path {
                return request;
            }
            self.skipped.push(request);
        }
    }

    /// Responds to the next list with `items` at `version`, then begins the response to the watch
    /// at it.
    pub(super) async fn list_and_watch(&mut self, path: &str, version: u64, items: Value) -> WatchResponse {
        self.list(path).await.json(200, &list(version, items)).await;
        self.watch(path, version).await.begin().await
    }

    /// Returns the next request, which must be a list.
    pub(super) async fn list(&mut self, path: &str) -> FakeRequest {
        let request = self.request(path).await;
        assert_eq!(request.query("watch"), None, "expected a list: {request:?}");
        request
    }

    /// Returns the next request, which must be a watch at `version`.
    pub(super) async fn watch(&mut self, path: &str, version: u64) -> FakeRequest {
        let request = self.request(path).await;
        assert_eq!(request.query("watch"), Some("true"), "expected a watch: {request:?}");
        assert_eq!(request.query("resourceVersion"), Some(version.to_string().as_str()));
        request
    }
}

impl FakeRequest {
    pub(super) fn query(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }

    /// Responds; the connection continues with the next request.
    pub(super) async fn json(self, status: u16, body: &Value) {
        self.text(status, &body.to_string()).await;
    }

    pub(super) async fn text(mut self, status: u16, body: &str) {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        write(&mut self.stream, head.as_bytes()).await;
        write(&mut self.stream, body.as_bytes()).await;
        tokio::spawn(read(self.stream, self.next));
    }

    /// Responds to CONNECT; the request inside the tunnel comes next.
    pub(super) async fn tunnel(mut self) {
        write(&mut self.stream, b"HTTP/1.1 200 OK\r\n\r\n").await;
        tokio::spawn(read(self.stream, self.next));
    }

    /// Responds with 429 and `Retry-After`.
    pub(super) async fn too_many(mut self, seconds: u64) {
        let head = format!("HTTP/1.1 429 X\r\nretry-after: {seconds}\r\ncontent-length: 0\r\n\r\n");
        write(&mut self.stream, head.as_bytes()).await;
        tokio::spawn(read(self.stream, self.next));
    }

    /// Responds with a failure in the API server's format.
    pub(super) async fn fail(self, status: u16, message: &str) {
        let body = json!({ "kind": "Status", "status": "Failure", "message": message, "code": status });
        self.json(status, &body).await;
    }

    /// Begins the response to a watch.
    pub(super) async fn begin(mut self) -> WatchResponse {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        write(&mut self.stream, head.as_bytes()).await;
        WatchResponse { stream: self.stream, next: self.next }
    }

    /// Waits until the client closes the connection.
    pub(super) async fn closed(mut self) {
        wait_for_end(&mut self.stream).await;
    }
}

impl WatchResponse {
    /// Sends one event in its own chunk.
    pub(super) async fn event(&mut self, kind: &str, object: Value) {
        self.chunk(line(kind, object).as_bytes()).await;
    }

    /// Sends one chunk in its own write.
    pub(super) async fn chunk(&mut self, bytes: &[u8]) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        write(&mut self.stream, &chunk).await;
    }

    /// Ends the response as the server does after `timeoutSeconds`; the connection continues.
    pub(super) async fn end(mut self) {
        write(&mut self.stream, b"0\r\n\r\n").await;
        tokio::spawn(read(self.stream, self.next));
    }

    /// Announces a longer chunk than it sends, and closes the connection.
    pub(super) async fn cut(mut self, bytes: &[u8]) {
        let head = format!("{:x}\r\n", bytes.len() + 100);
        write(&mut self.stream, head.as_bytes()).await;
        write(&mut self.stream, bytes).await;
        let _ = self.stream.shutdown().await;
    }

    /// Waits until the client closes the connection.
    pub(super) async fn closed(mut self) {
        wait_for_end(&mut self.stream).await;
    }
}

/// One event as a line of a watch.
pub(super) fn line(kind: &str, object: Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

/// A complete list.
pub(super) fn list(version: u64, items: Value) -> Value {
    json!({ "kind": "List", "metadata": { "resourceVersion": version.to_string() }, "items": items })
}

/// Writes to a client that may have closed the connection.
async fn write(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
}

async fn wait_for_end(stream: &mut TcpStream) {
    let mut rest = [0; 64];
    let end = async { while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {} };
    timeout(DEADLINE, end).await.expect("the client keeps the connection");
}

/// Reads the head of one request (none has a body) and passes it to the test.
async fn read(mut stream: TcpStream, next: mpsc::UnboundedSender<FakeRequest>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let target = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    });
    let headers = lines.filter_map(|line| line.split_once(": "));
    let request = FakeRequest {
        path: path.to_owned(),
        query: query.collect(),
        headers: headers.map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned())).collect(),
        stream,
        next: next.clone(),
    };
    let _ = next.send(request);
}

/// Decodes form escapes.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
