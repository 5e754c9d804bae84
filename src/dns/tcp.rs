//! TCP: pipelined queries, an idle timeout, a cap on connections (RFC 7766).

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::WriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout, timeout_at},
};
use tracing::{debug, warn};

use super::{
    access::subnet,
    exchange::Context,
    responder::{Responder, Response},
    rotation::Rotation,
};
use crate::telemetry::{Metrics, Restriction, Transport};

/// Answers that are gathered before they are written, when many queries wait: bounds what a connection can hold.
const MAX_GATHERED: usize = 64 << 10;

/// Queries of one connection whose answers may come from elsewhere at one time; with more, it is not read on.
const MAX_DEFERRED: usize = 256;

/// By when answers from elsewhere have come, or will never.
const DEFERRED_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The share of all connections that one client may have.
const CLIENT_SHARE: usize = 4;

/// What one client may always have.
const CLIENT_MINIMUM: usize = 8;

/// What all TCP listeners share.
#[derive(Debug)]
pub struct Limits {
    idle: Duration,
    connections: Arc<Semaphore>,
    /// Most connections of one client.
    per_client: usize,
    /// Connections by client: an address, or a network of v6 that one may have for itself.
    clients: Mutex<HashMap<u128, usize>>,
}

impl Limits {
    /// Allows `connections` at one time and each to be silent for `idle`. One client may have a quarter of them, but always eight.
    pub fn new(idle: Duration, connections: usize) -> Self {
        Self {
            idle,
            connections: Arc::new(Semaphore::new(connections)),
            per_client: (connections / CLIENT_SHARE).max(CLIENT_MINIMUM),
            clients: Mutex::default(),
        }
    }

    /// A slot for a connection of this client, if it may have one more.
    fn reserve(self: &Arc<Self>, client: IpAddr) -> Option<ConnectionSlot> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        let client = subnet(client, 32, 64);
        let mut clients = self.clients();
        let count = clients.entry(client).or_default();
        // Whoever has none may have one, so no entry without a connection is left.
        if *count >= self.per_client {
            return None;
        }
        *count += 1;
        Some(ConnectionSlot { limits: Arc::clone(self), client, _permit: permit })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<u128, usize>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's slot among all and among those of its client.
#[derive(Debug)]
struct ConnectionSlot {
    limits: Arc<Limits>,
    client: u128,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.limits.clients().entry(self.client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// Binds a listener.
///
/// # Errors
/// Those of the system's calls, such as an address in use or a port that needs privileges.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?; // connections in TIME_WAIT must not stop a restart
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Accepts and answers until dropped.
///
/// A connection beyond the cap, or its client's, is closed at once: clients fall back or come again, and those that are open go on. So
/// is one of a client that gets no answer anyway, which takes no slot.
pub async fn serve(listener: TcpListener, responder: Arc<Responder>, limits: Arc<Limits>) {
    let rotation = Arc::new(Mutex::new(Rotation::default()));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to be closed.
                warn!("TCP: cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if responder.is_denied(client.ip()) {
            responder.metrics().restricted(Restriction::Denied);
            continue;
        }
        let Some(slot) = limits.reserve(client.ip()) else {
            responder.metrics().tcp_refused();
            continue;
        };
        let (responder, rotation, idle) = (Arc::clone(&responder), Arc::clone(&rotation), limits.idle);
        connections.spawn(async move {
            let _open = OpenConnection::new(responder.metrics(), slot);
            if let Err(error) = serve_connection(stream, &responder, &rotation, idle).await {
                debug!("TCP: connection ended: {error}");
            }
        });
    }
}

/// A connection's slot under the cap, counted while it is taken, however the connection ends.
struct OpenConnection<'m> {
    metrics: &'m Metrics,
    _slot: ConnectionSlot,
}

impl<'m> OpenConnection<'m> {
    fn new(metrics: &'m Metrics, slot: ConnectionSlot) -> Self {
        metrics.tcp_opened();
        Self { metrics, _slot: slot }
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.metrics.tcp_closed();
    }
}

/// Answers the queries of one connection until its client closes it, falls silent, or talks is_invalid.
///
/// What must be asked elsewhere is answered when its answer comes, whatever else is answered meanwhile (RFC 7766 section 7).
async fn serve_connection(
    mut stream: TcpStream,
    responder: &Responder,
    rotation: &Mutex<Rotation>,
    idle: Duration,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let context = Context {
        transport: Transport::Tcp,
        local_addr: Some(stream.local_addr()?.ip()),
        client: stream.peer_addr()?.ip(),
    };
    let (deferred, mut deferred_replies) = mpsc::channel(MAX_DEFERRED);
    let mut session = Session { responder, rotation, context, deferred, pending: 0, answer: Vec::new() };
    let (mut reader, mut writer) = stream.split();
    let mut received: Vec<u8> = Vec::with_capacity(4096);
    let mut answers = Vec::new();
    let mut is_open = true;
    // Only whole messages keep a connection open: single bytes now and then must not hold a slot for ever.
    let mut deadline = Instant::now() + idle;
    while is_open || session.pending > 0 {
        let until = if session.pending > 0 { Instant::now() + DEFERRED_TIMEOUT } else { deadline };
        tokio::select! {
            read = timeout_at(until, reader.read_buf(&mut received)), if is_open && session.has_room() => {
                is_open = read?? > 0;
            }
            Some(answer) = deferred_replies.recv(), if session.pending > 0 => {
                session.pending -= 1;
                frame(&answer, &mut answers)?;
                deadline = Instant::now() + idle;
            }
        }
        while let Some(progress) = session.answer_received(&received, &mut answers)? {
            received.drain(..progress.bytes);
            // Nothing that a client would send; what it asked before is answered still.
            is_open &= !progress.is_invalid;
            deadline = Instant::now() + idle;
            flush(&mut writer, &mut answers, idle).await?;
        }
        flush(&mut writer, &mut answers, idle).await?;
    }
    Ok(())
}

/// What one connection's queries are answered with.
struct Session<'r> {
    responder: &'r Responder,
    rotation: &'r Mutex<Rotation>,
    context: Context,
    /// Where answers from elsewhere come in.
    deferred: mpsc::Sender<Vec<u8>>,
    /// Queries whose answer is still to come from elsewhere.
    pending: usize,
    answer: Vec<u8>,
}

/// What was taken in at one time.
struct Progress {
    bytes: usize,
    /// Whether it ended with what is no query.
    is_invalid: bool,
}

impl Session<'_> {
    fn has_room(&self) -> bool {
        self.pending < MAX_DEFERRED
    }

    /// Answers whole messages, until there are none, enough is gathered, or too much is pending; `None`: nothing was done.
    fn answer_received(&mut self, received: &[u8], answers: &mut Vec<u8>) -> io::Result<Option<Progress>> {
        let mut rest = received;
        let mut is_invalid = false;
        while !is_invalid
            && answers.len() < MAX_GATHERED
            && self.has_room()
            && let Some((query, behind)) = split_message(rest)
        {
            rest = behind;
            let response = {
                let mut rotation = self.rotation.lock().unwrap_or_else(PoisonError::into_inner);
                self.responder.respond(query, self.context, &mut rotation, &mut self.answer)
            };
            match response {
                Response::Ready => frame(&self.answer, answers)?,
                Response::Dropped => {
                    is_invalid = true;
                    rest = &[];
                }
                Response::Deferred(pending) => {
                    self.pending += 1;
                    let mut reply = DeferredReply(Some(self.deferred.clone()));
                    pending.send(Box::new(move |answer| reply.send(answer.to_vec())));
                }
            }
        }
        let bytes = received.len() - rest.len();
        Ok((bytes > 0).then_some(Progress { bytes, is_invalid }))
    }
}

/// The way of one late answer; an empty one is sent if it is dropped, so that nobody waits for it.
struct DeferredReply(Option<mpsc::Sender<Vec<u8>>>);

impl DeferredReply {
    fn send(&mut self, answer: Vec<u8>) {
        if let Some(sender) = self.0.take() {
            // There is room: no more are pending than the channel holds. If nobody listens the connection is gone.
            let _ = sender.try_send(answer);
        }
    }
}

impl Drop for DeferredReply {
    fn drop(&mut self) {
        self.send(Vec::new());
    }
}

/// Puts an answer behind the others, with its length in front (RFC 1035 section 4.2.2).
fn frame(answer: &[u8], answers: &mut Vec<u8>) -> io::Result<()> {
    if !answer.is_empty() {
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        answers.extend(length.to_be_bytes());
        answers.extend_from_slice(answer);
    }
    Ok(())
}

/// Splits off the first message, which has its length in front (RFC 1035 section 4.2.2), if all of it is there.
fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// A client that does not read its answers is given the same time as one that does not ask.
async fn flush(stream: &mut WriteHalf<'_>, answers: &mut Vec<u8>, idle: Duration) -> io::Result<()> {
    if !answers.is_empty() {
        timeout(idle, stream.write_all(answers)).await??;
        answers.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: usize) -> Arc<Limits> {
        Arc::new(Limits::new(Duration::from_secs(1), connections))
    }

    fn take(limits: &Arc<Limits>, client: &str) -> Option<ConnectionSlot> {
        limits.reserve(client.parse().unwrap())
    }

    #[test]
    fn one_client_leaves_places_for_the_others_and_gives_them_back() {
        for (all, share) in [(400, 100), (40, 10), (12, 8), (2, 2)] {
            let limits = limits(all);
            let mut slots: Vec<_> = std::iter::from_fn(|| take(&limits, "192.0.2.1")).collect();
            assert_eq!(slots.len(), share, "of {all}");
            assert_eq!(take(&limits, "192.0.2.2").is_some(), share < all);
            slots.pop();
            assert!(take(&limits, "::ffff:192.0.2.1").is_some());
            slots.clear();
            assert!(limits.clients().is_empty());
            assert_eq!(limits.connections.available_permits(), all);
        }
    }

    #[test]
    fn a_network_that_one_may_have_for_itself_is_one_client() {
        let limits = limits(40);
        let slots: Vec<_> = (0..20).filter_map(|at| take(&limits, &format!("2001:db8::{at}"))).collect();
        assert_eq!(slots.len(), 10);
        assert!(take(&limits, "2001:db8:0:1::1").is_some());
    }
}
