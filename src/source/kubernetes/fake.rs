//! A fake API server: real sockets and HTTP/1.1, with every byte of an answer in the hands of the test.
//!
//! An HTTP library on this side would decide where chunks end and what a broken connection looks like, which is what
//! the tests are about. Writing to a client that has gone is no failure of the test: a client that gives up may do so at
//! any time when the machine is slow, and what it does next is what counts.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

/// How long tests wait for what must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The server; requests that nobody takes stay unanswered.
pub(super) struct ApiServer {
    pub(super) address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Request>,
    passed_over: Vec<Request>,
    _tasks: JoinSet<()>,
}

/// A request, and the connection to answer on.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: BTreeMap<String, String>,
    stream: TcpStream,
    next: mpsc::UnboundedSender<Request>,
}

/// An answer to a watch that has begun.
#[derive(Debug)]
pub(super) struct OpenWatch {
    stream: TcpStream,
    next: mpsc::UnboundedSender<Request>,
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
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(read(stream, sender.clone()));
            }
        });
        Self { address, requests, passed_over: Vec::new(), _tasks: tasks }
    }

    /// Returns the next request for `path`; those for other paths wait.
    pub(super) async fn request(&mut self, path: &str) -> Request {
        if let Some(at) = self.passed_over.iter().position(|request| request.path == path) {
            return self.passed_over.remove(at);
        }
        loop {
            let request = timeout(PATIENCE, self.requests.recv()).await;
            let request = request.unwrap_or_else(|_| panic!("no request for {path}")).unwrap();
            if request.path == path {
                return request;
            }
            self.passed_over.push(request);
        }
    }

    /// Answers the next list with `items` at `version`, then begins to answer the watch from there.
    pub(super) async fn list_and_watch(&mut self, path: &str, version: u64, items: Value) -> OpenWatch {
        self.list(path).await.json(200, &list(version, items)).await;
        self.watch(path, version).await.begin().await
    }

    /// Returns the next request, which must be a list.
    pub(super) async fn list(&mut self, path: &str) -> Request {
        let request = self.request(path).await;
        assert_eq!(request.query("watch"), None, "expected a list: {request:?}");
        request
    }

    /// Returns the next request, which must be a watch from `version` on.
    pub(super) async fn watch(&mut self, path: &str, version: u64) -> Request {
        let request = self.request(path).await;
        assert_eq!(request.query("watch"), Some("true"), "expected a watch: {request:?}");
        assert_eq!(request.query("resourceVersion"), Some(version.to_string().as_str()));
        request
    }
}

impl Request {
    pub(super) fn query(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }

    /// Answers; the connection goes on with the next request.
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

    /// Answers with a failure, as the API server writes it.
    pub(super) async fn fail(self, status: u16, message: &str) {
        let body = json!({ "kind": "Status", "status": "Failure", "message": message, "code": status });
        self.json(status, &body).await;
    }

    /// Begins to answer a watch.
    pub(super) async fn begin(mut self) -> OpenWatch {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        write(&mut self.stream, head.as_bytes()).await;
        OpenWatch { stream: self.stream, next: self.next }
    }

    /// Waits until the client closes the connection.
    pub(super) async fn closed(mut self) {
        wait_for_end(&mut self.stream).await;
    }
}

impl OpenWatch {
    /// Sends one event in a chunk of its own.
    pub(super) async fn event(&mut self, kind: &str, object: Value) {
        self.chunk(line(kind, object).as_bytes()).await;
    }

    /// Sends one chunk as its own write.
    pub(super) async fn chunk(&mut self, bytes: &[u8]) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        write(&mut self.stream, &chunk).await;
    }

    /// Ends the answer as the server does after `timeoutSeconds`; the connection goes on.
    pub(super) async fn end(mut self) {
        write(&mut self.stream, b"0\r\n\r\n").await;
        tokio::spawn(read(self.stream, self.next));
    }

    /// Promises a longer chunk than it sends, and closes the connection.
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

/// Writes one event as a line of a watch.
pub(super) fn line(kind: &str, object: Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

/// Writes the whole of a list.
pub(super) fn list(version: u64, items: Value) -> Value {
    json!({ "kind": "List", "metadata": { "resourceVersion": version.to_string() }, "items": items })
}

/// Writes to a client, if it is still there.
async fn write(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
}

async fn wait_for_end(stream: &mut TcpStream) {
    let mut rest = [0; 64];
    let end = async { while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {} };
    timeout(PATIENCE, end).await.expect("the client keeps the connection");
}

/// Reads the head of one request (none has a body) and hands it over.
async fn read(mut stream: TcpStream, next: mpsc::UnboundedSender<Request>) {
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
    let request = Request {
        path: path.to_owned(),
        query: query.collect(),
        headers: headers.map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned())).collect(),
        stream,
        next: next.clone(),
    };
    let _ = next.send(request);
}

/// Undoes the escapes of a form.
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
