//! Small loopback servers for the tests of probes.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

/// Longest wait for something that must happen; only a broken test waits that long.
pub(in crate::source) const DEADLINE: Duration = Duration::from_secs(30);

/// A server that stops when dropped, and keeps the heads of its requests.
pub(in crate::source) struct FakeServer {
    /// The listening address.
    pub(in crate::source) address: SocketAddr,
    heads: mpsc::UnboundedReceiver<String>,
    connections: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl FakeServer {
    /// Answers each connection with `answer`, called with the stream once the request's head has
    /// been read.
    pub(in crate::source) async fn new<A, F>(answer: A) -> Self
    where
        A: Fn(TcpStream) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (send_head, heads) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (answer, send_head) = (answer.clone(), send_head.clone());
                open.spawn(async move {
                    if let Some(head) = read_head(&mut stream).await {
                        let _ = send_head.send(head);
                        answer(stream).await;
                    }
                });
                while open.try_join_next().is_some() {}
            }
        });
        Self { address, heads, connections, _task: task }
    }

    /// Accepts connections and never responds.
    pub(in crate::source) async fn silent() -> Self {
        Self::new(async |stream| {
            std::future::pending::<()>().await;
            drop(stream);
        })
        .await
    }

    /// Responds with these pieces and closes the connection.
    pub(in crate::source) async fn raw<const N: usize>(pieces: [&str; N]) -> Self {
        let pieces = Arc::new(pieces.map(str::to_owned));
        Self::new(move |mut stream| {
            let pieces = Arc::clone(&pieces);
            async move {
                for piece in pieces.iter() {
                    let _ = stream.write_all(piece.as_bytes()).await;
                    tokio::task::yield_now().await;
                }
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    /// Responds with a status and a body.
    pub(in crate::source) async fn http(status: u16, body: &str) -> Self {
        Self::raw([&format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())]).await
    }

    /// Responds with the current value of `status`.
    pub(in crate::source) async fn switched(status: Arc<AtomicU16>) -> Self {
        Self::new(move |mut stream| {
            let status = status.load(Ordering::Relaxed);
            async move {
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
            }
        })
        .await
    }

    /// Responds with 200 and keeps the connection open for the next request.
    pub(in crate::source) async fn keeping_alive() -> Self {
        Self::new(async |mut stream| {
            loop {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                if read_head(&mut stream).await.is_none() {
                    return;
                }
            }
        })
        .await
    }

    /// Responds with 200 and a body that goes on until the client closes the connection.
    pub(in crate::source) async fn endless() -> Self {
        Self::new(async |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'-'; 1000]).await.is_ok() {}
        })
        .await
    }

    /// An address that refuses connections: the server's port, which no other process gets, at
    /// another loopback address.
    pub(in crate::source) fn refused(&self) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), self.address.port())
    }

    /// Number of connections so far.
    pub(in crate::source) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The head of the next request.
    pub(in crate::source) async fn request(&mut self) -> String {
        timeout(DEADLINE, self.heads.recv()).await.expect("a request within the deadline").unwrap()
    }

    /// The value of a header of the next request.
    pub(in crate::source) async fn header(&mut self, name: &str) -> String {
        let head = self.request().await;
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let found =
            lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned());
        found.collect::<Vec<_>>().join(" and ")
    }

    /// Whether every request has been looked at.
    pub(in crate::source) fn no_more_requests(&mut self) -> bool {
        self.heads.try_recv().is_err()
    }
}

/// Reads up to the empty line; `None` when the client closes the connection before.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}
