//! TCP: pipelined queries, an idle timeout, and a limit on connections (RFC 7766).
//!
//! ```text
//!  serve ─▶ reserve a slot ─▶ serve_connection ─▶ Session ─┬─▶ gathered answers ─▶ flush
//!  (accept) (Limits)          (one task each)              └─▶ DeferredReply ─▶ channel ─▶ flush
//! ```
//!
//! Rejected: hickory-server's TCP loop, which answers one query after the other, so a forwarded
//! query would hold up all later ones.

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
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{self, error::TrySendError},
    },
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

/// Bytes of answers to gather before writing them, if many queries wait. Bounds a connection's
/// memory.
const MAX_GATHERED: usize = 64 << 10;

/// Maximum number of deferred queries of one connection. Beyond it, muster stops reading.
const MAX_DEFERRED: usize = 256;

/// How long to wait for a deferred reply before the connection is closed.
const DEFERRED_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// One client may have one in this many of all connections.
const CLIENT_SHARE: usize = 4;

/// Number of connections that one client may always have.
const CLIENT_MINIMUM: usize = 8;

/// Limits that all TCP listeners share.
#[derive(Debug)]
pub struct Limits {
    idle: Duration,
    connections: Arc<Semaphore>,
    /// Maximum number of connections of one client.
    per_client: usize,
    /// Number of connections of each client: an IPv4 address or an IPv6 /64.
    clients: Mutex<HashMap<u128, usize>>,
}

impl Limits {
    /// Allows `connections` at once, each of which may be idle for `idle`. One client may have a
    /// quarter of them, but always eight.
    pub fn new(idle: Duration, connections: usize) -> Self {
        Self {
            idle,
            connections: Arc::new(Semaphore::new(connections)),
            per_client: (connections / CLIENT_SHARE).max(CLIENT_MINIMUM),
            clients: Mutex::default(),
        }
    }

    /// Reserves a slot for a connection of this client. `None` if all, or all of the client's, are
    /// taken.
    fn reserve(self: &Arc<Self>, client: IpAddr) -> Option<ConnectionSlot> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        let client = subnet(client, 32, 64);
        let mut clients = self.clients();
        let count = clients.entry(client).or_default();
        // A client without connections always gets one here, so no entry with a count of 0 stays.
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

/// A connection's slot, freed on drop.
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
/// A system call fails, for example because the address is in use or the port needs privileges.
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

/// Accepts connections and answers their queries, until dropped.
///
/// A connection over a limit is closed at once; its client falls back to UDP or retries, and open
/// connections stay open. A connection from a denied client is closed too, and takes no slot.
pub async fn serve(listener: TcpListener, responder: Arc<Responder>, limits: Arc<Limits>) {
    let rotation = Arc::new(Mutex::new(Rotation::default()));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely the process is out of file descriptors: wait until some are closed.
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

/// A slot in use, counted in the metrics until it is dropped.
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

/// Answers the queries of one connection, until its client closes it, is idle, or sends an invalid
/// message.
///
/// A deferred query is answered when its reply arrives, and later queries are answered meanwhile
/// (RFC 7766 section 7).
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
    // Only whole messages reset the timeout, so single bytes cannot hold a slot.
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
            // The message was no query. Stop reading, but still send the answers to earlier ones.
            is_open &= !progress.is_invalid;
            deadline = Instant::now() + idle;
            flush(&mut writer, &mut answers, idle).await?;
        }
        flush(&mut writer, &mut answers, idle).await?;
    }
    Ok(())
}

/// One connection's queries and answers.
struct Session<'r> {
    responder: &'r Responder,
    rotation: &'r Mutex<Rotation>,
    context: Context,
    /// Where deferred replies arrive.
    deferred: mpsc::Sender<Vec<u8>>,
    /// Number of deferred replies that have not arrived.
    pending: usize,
    answer: Vec<u8>,
}

/// The result of one call of [`Session::answer_received`].
struct Progress {
    bytes: usize,
    /// Whether the last message was no query.
    is_invalid: bool,
}

impl Session<'_> {
    fn has_room(&self) -> bool {
        self.pending < MAX_DEFERRED
    }

    /// Answers whole messages until there are no more, enough answers are gathered, or too many are
    /// deferred. `None` if it consumed nothing.
    fn answer_received(&mut self, received: &[u8], answers: &mut Vec<u8>) -> io::Result<Option<Progress>> {
        let mut rest = received;
        let mut is_invalid = false;
        while !is_invalid
            && answers.len() < MAX_GATHERED
            && self.has_room()
            && let Some((query, after)) = split_message(rest)
        {
            rest = after;
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

/// Sends one deferred reply to its session. Sends an empty one on drop, so that the session does
/// not wait for a reply that never comes.
struct DeferredReply(Option<mpsc::Sender<Vec<u8>>>);

impl DeferredReply {
    fn send(&mut self, answer: Vec<u8>) {
        if let Some(sender) = self.0.take() {
            // The channel has room for all pending replies. Sending fails only if the connection is
            // closed.
            let sent = sender.try_send(answer);
            debug_assert!(!matches!(sent, Err(TrySendError::Full(_))), "MAX_DEFERRED replies fit");
        }
    }
}

impl Drop for DeferredReply {
    fn drop(&mut self) {
        self.send(Vec::new());
    }
}

/// Appends an answer with its length in front (RFC 1035 section 4.2.2).
fn frame(answer: &[u8], answers: &mut Vec<u8>) -> io::Result<()> {
    if !answer.is_empty() {
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        answers.extend(length.to_be_bytes());
        answers.extend_from_slice(answer);
    }
    Ok(())
}

/// Splits off the first message, which has its length in front (RFC 1035 section 4.2.2). `None` if
/// it is incomplete.
fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Writes the gathered answers. A client that does not read them in time is disconnected, like an
/// idle one.
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

    fn reserve(limits: &Arc<Limits>, client: &str) -> Option<ConnectionSlot> {
        limits.reserve(client.parse().unwrap())
    }

    #[test]
    fn one_client_leaves_slots_for_others_and_frees_its_own() {
        for (all, share) in [(400, 100), (40, 10), (12, 8), (2, 2)] {
            let limits = limits(all);
            let mut slots: Vec<_> = std::iter::from_fn(|| reserve(&limits, "192.0.2.1")).collect();
            assert_eq!(slots.len(), share, "of {all}");
            assert_eq!(reserve(&limits, "192.0.2.2").is_some(), share < all);
            slots.pop();
            assert!(reserve(&limits, "::ffff:192.0.2.1").is_some());
            slots.clear();
            assert!(limits.clients().is_empty());
            assert_eq!(limits.connections.available_permits(), all);
        }
    }

    #[test]
    fn an_ipv6_64_counts_as_one_client() {
        let limits = limits(40);
        let slots: Vec<_> = (0..20).filter_map(|at| reserve(&limits, &format!("2001:db8::{at}"))).collect();
        assert_eq!(slots.len(), 10);
        assert!(reserve(&limits, "2001:db8:0:1::1").is_some());
    }
}
