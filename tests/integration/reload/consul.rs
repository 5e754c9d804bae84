//! A Consul with one service of one instance, which counts connections and requests.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

const BODY: &str = r#"[{ "Node": { "Node": "n1", "Address": "10.9.9.9", "Datacenter": "dc1" },
    "Service": { "ID": "web-1", "Service": "web", "Address": "10.0.0.1", "Port": 80, "Weights": { "Passing": 1, "Warning": 1 } },
    "Checks": [{ "Node": "n1", "CheckID": "http", "Name": "HTTP", "Status": "passing", "Output": "" }] }]"#;

/// The first query is answered at once; blocking queries wait forever.
pub struct FakeConsul {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    silent: AtomicBool,
}

impl FakeConsul {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        // Ends with the test process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                thread::spawn(move || converse(stream, &shared));
            }
        });
        Self { address, seen }
    }

    /// Connections and requests so far.
    pub fn counts(&self) -> (usize, usize) {
        (self.seen.connections.load(Ordering::SeqCst), self.seen.requests.load(Ordering::SeqCst))
    }

    /// Stops answering.
    pub fn fall_silent(&self) {
        self.seen.silent.store(true, Ordering::SeqCst);
    }
}

fn converse(mut stream: TcpStream, seen: &Seen) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut request = String::new();
        if !matches!(reader.read_line(&mut request), Ok(1..)) {
            return;
        }
        let mut line = String::new();
        while matches!(reader.read_line(&mut line), Ok(3..)) {
            line.clear();
        }
        seen.requests.fetch_add(1, Ordering::SeqCst);
        if seen.silent.load(Ordering::SeqCst) || request.contains("index=") {
            continue; // reading shows when the client is gone
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Consul-Index: 7\r\nX-Consul-LastContact: 0\r\n";
        let length = BODY.len();
        if write!(stream, "{head}X-Consul-KnownLeader: true\r\nContent-Length: {length}\r\n\r\n{BODY}")
            .is_err()
        {
            return;
        }
    }
}
