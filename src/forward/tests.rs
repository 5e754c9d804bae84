//! The whole forwarder, against upstreams on loopback.

mod caching;
mod changing;
mod encrypted;
mod failing;
mod passing;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_proto::op::Message;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    sync::oneshot,
    task::{AbortHandle, JoinHandle},
    time::timeout,
};

use super::{
    ClientQuery, Forwarder, Forwarding,
    engine::{Job, admit, fetch},
    forwarder::QUEUE,
    rules::{Rule, RuleTable},
    shares::Requester,
    testing::query,
    upstream_query::UpstreamQuery,
    waiting_client::{AnswerCallback, WaitingClient},
};
use crate::{
    config::Config,
    telemetry::Metrics,
    wire::{WireName, question},
};

/// Long enough for a busy machine; no test waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// The type A.
const A: u16 = 1;

/// An upstream on loopback, UDP and TCP.
struct Fake {
    address: SocketAddr,
    /// The queries that it received, without our own probes.
    received: Arc<Mutex<Vec<ReceivedQuery>>>,
    tasks: Vec<AbortHandle>,
}

#[derive(Clone, Debug)]
struct ReceivedQuery {
    query: Vec<u8>,
    tcp: bool,
}

impl ReceivedQuery {
    /// The name with its type and class.
    fn question(&self) -> &[u8] {
        question(&self.query).unwrap()
    }
}

impl Fake {
    /// Answers each query with all messages that `handler` returns.
    async fn start(handler: impl Fn(&ReceivedQuery) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (socket, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
                break (socket, listener);
            }
        };
        let address = socket.local_addr().unwrap();
        let received: Arc<Mutex<Vec<ReceivedQuery>>> = Arc::default();
        let note = Arc::clone(&received);
        let handle = Arc::new(move |query: &[u8], tcp: bool| {
            let received = ReceivedQuery { query: query.to_vec(), tcp };
            if query.windows(12).any(|part| part.eq_ignore_ascii_case(b"muster-loop-")) {
                return vec![reply_to(query, 0x8183)];
            }
            note.lock().unwrap().push(received.clone());
            handler(&received)
        });
        let udp = tokio::spawn(serve_udp(socket, Arc::clone(&handle)));
        let tcp = tokio::spawn(serve_tcp(listener, handle));
        Self { address, received, tasks: vec![udp.abort_handle(), tcp.abort_handle()] }
    }

    /// Answers every query with one A record with this TTL.
    async fn with_ttl(ttl: u32) -> Self {
        Self::start(move |received| vec![answer_to(&received.query, ttl)]).await
    }

    /// Receives queries and never answers.
    async fn silent() -> Self {
        Self::start(|_| Vec::new()).await
    }

    fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    fn stop(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve_udp(socket: UdpSocket, handle: Arc<impl Fn(&[u8], bool) -> Vec<Vec<u8>>>) {
    let mut room = [0; 4096];
    loop {
        let (length, peer) = socket.recv_from(&mut room).await.unwrap();
        for answer in handle(&room[..length], false) {
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}

async fn serve_tcp(
    listener: TcpListener,
    handle: Arc<impl Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync + 'static>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve_stream(stream, Arc::clone(&handle)));
    }
}

/// Answers the queries of one stream.
async fn serve_stream(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    handle: Arc<impl Fn(&[u8], bool) -> Vec<Vec<u8>>>,
) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; length.into()];
        stream.read_exact(&mut query).await.unwrap();
        for answer in handle(&query, true) {
            stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    }
}

/// An empty answer with these flags.
fn reply_to(query: &[u8], flags: u16) -> Vec<u8> {
    let mut answer = vec![query[0], query[1]];
    answer.extend(flags.to_be_bytes());
    answer.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    answer.extend_from_slice(question(query).unwrap());
    answer
}

/// The answer with one more record, whose owner is the queried name.
fn with_record(mut answer: Vec<u8>, rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    answer[7] += 1;
    answer.extend([0xc0, 12]);
    answer.extend(rtype.to_be_bytes());
    answer.extend([0, 1]);
    answer.extend(ttl.to_be_bytes());
    answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    answer.extend_from_slice(data);
    answer
}

/// An answer with one A record.
fn answer_to(query: &[u8], ttl: u32) -> Vec<u8> {
    with_record(reply_to(query, 0x8180), A, ttl, &[192, 0, 2, 1])
}

/// A running forwarder.
struct Bed {
    forwarder: Arc<Forwarder>,
    metrics: Arc<Metrics>,
    engine: JoinHandle<()>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.engine.abort();
    }
}

impl Bed {
    /// Forwards everything to these upstreams.
    fn to(upstreams: &[&Fake]) -> Self {
        Self::with(upstreams, "", "")
    }

    /// The same, with more keys in the rule and in `[cache]`.
    fn with(upstreams: &[&Fake], keys: &str, cache: &str) -> Self {
        let to: Vec<_> = upstreams.iter().map(|fake| fake.address.to_string()).collect();
        Self::new(&format!("\".\" = {{ to = {to:?}, {keys} }}"), cache)
    }

    fn new(forward: &str, cache: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (config, metrics) = (settings(forward, cache), Arc::new(Metrics::new().unwrap()));
        let (forwarder, engine) = Forwarder::new(&config, &metrics).unwrap();
        Self { forwarder, metrics, engine: tokio::spawn(engine.run()) }
    }

    /// Queries as over TCP; `None`: REFUSED.
    async fn ask(&self, packet: &[u8]) -> Option<Vec<u8>> {
        self.ask_within(packet, 65_535).await
    }

    async fn ask_within(&self, packet: &[u8], limit: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let name = lower_name(packet);
        let ask = read(packet, &name, limit);
        match self.forwarder.answer(&ask, &mut out) {
            Forwarding::Answered(_) => Some(out),
            Forwarding::Refused => None,
            Forwarding::QueryUpstream => {
                let (sender, receiver) = oneshot::channel();
                let reply = move |answer: &[u8], _| drop(sender.send(answer.to_vec()));
                self.forwarder.forward(&ask, Requester::default(), Box::new(reply));
                Some(timeout(PATIENCE, receiver).await.expect("an answer in time").expect("an answer"))
            }
        }
    }

    async fn message(&self, packet: &[u8]) -> Message {
        Message::from_vec(&self.ask(packet).await.expect("not refused")).unwrap()
    }

    fn rule(&self, name: &[u8]) -> Arc<Rule> {
        rule(&self.forwarder, name)
    }

    /// A metric's value.
    fn metric(&self, line: &str) -> Option<f64> {
        let text = self.metrics.render(&[]).unwrap();
        text.lines().find_map(|text| text.strip_prefix(line)?.trim().parse().ok())
    }
}

/// The rule for a name.
fn rule(forwarder: &Forwarder, name: &[u8]) -> Arc<Rule> {
    Arc::clone(forwarder.shared.rules.load().find(WireName::trusted(name)).unwrap())
}

fn settings(forward: &str, cache: &str) -> Config {
    let text = format!("[cache]\n{cache}\n[forward]\n{forward}\n");
    let loaded = crate::config::load_from(&[("muster.toml".into(), text)]);
    loaded.unwrap_or_else(|report| panic!("{report}")).config
}

fn lower_name(packet: &[u8]) -> Vec<u8> {
    let question = question(packet).unwrap();
    question[..question.len() - 4].to_ascii_lowercase()
}

/// Parses a query made by [`query`].
fn read<'a>(packet: &'a [u8], name: &'a [u8], limit: usize) -> ClientQuery<'a> {
    let question = question(packet).unwrap();
    let opt = packet.get(12 + question.len()..).filter(|opt| !opt.is_empty());
    ClientQuery {
        id: [packet[0], packet[1]],
        question,
        name: WireName::trusted(name),
        qtype: u16::from_be_bytes([question[name.len()], question[name.len() + 1]]),
        recursion_desired: packet[2] & 1 != 0,
        authentic_data: packet[3] & 0x20 != 0,
        checking_disabled: packet[3] & 0x10 != 0,
        edns: opt.map(|opt| opt[7] & 0x80 != 0),
        own_options: &[],
        limit,
    }
}

/// Advances the clock.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "no such state in time: {what}");
}
