//! DNS over TCP and TLS: one connection, reused, with many queries in flight at once (RFC 7766
//! sections 6.2.1.1 and 6.2.2).

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::{
    super::upstream_query::{QueryForm, UpstreamQuery},
    matching::is_answer,
};
use crate::wire::u16_at;

/// How long a connection without a query is kept (RFC 7766 section 6.2.3 wants the client to close
/// it).
const IDLE: Duration = Duration::from_secs(10);

/// How long a peer that owes answers may send nothing before a new connection is tried as well: a
/// firewall in between may have dropped this one without telling either side.
const STALLED_AFTER: Duration = Duration::from_millis(1500);

/// How long it may send nothing before the connection counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(5);

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(2);

/// Queries in flight on one connection. With more, another one is opened.
const MAX_PENDING: usize = 1000;

/// How to connect.
pub(super) struct StreamEndpoint {
    pub(super) address: SocketAddr,
    /// For TLS: the settings, and the name that the certificate must have.
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for StreamEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.address, if self.tls.is_some() { "TLS" } else { "TCP" })
    }
}

/// The client of an upstream over TCP or TLS, with its current connection, if there is one.
#[derive(Debug)]
pub(super) struct StreamClient {
    endpoint: Arc<StreamEndpoint>,
    current: Mutex<Option<SharedConnection>>,
}

/// A connection, which a task serves. It is closed when the last clone is dropped.
#[derive(Clone, Debug)]
struct SharedConnection {
    queries: mpsc::Sender<PendingQuery>,
    /// Whether its peer owes answers and sends nothing.
    stalled: watch::Receiver<bool>,
    task: Arc<AbortOnDropHandle<io::Result<()>>>,
}

/// A query to send, and the way back for its answer.
#[derive(Debug)]
struct PendingQuery {
    query: UpstreamQuery,
    form: QueryForm,
    answer: oneshot::Sender<Vec<u8>>,
}

/// Queries that were sent, by ID, each with its message.
type Unanswered = HashMap<u16, (Vec<u8>, PendingQuery)>;

impl StreamClient {
    pub(super) fn new(endpoint: StreamEndpoint) -> Self {
        Self { endpoint: Arc::new(endpoint), current: Mutex::default() }
    }

    /// Queries on the current connection; on a new one if there is none or it ends first; on both
    /// if it stalls.
    ///
    /// Waits without a limit: the caller has one.
    ///
    /// # Errors
    /// When a new connection cannot be made, or ends without an answer.
    pub(super) async fn exchange(&self, query: &UpstreamQuery, form: QueryForm) -> io::Result<Vec<u8>> {
        let ended = || io::Error::new(io::ErrorKind::ConnectionAborted, "the connection ended");
        let kept = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(kept) = kept else {
            return self.replacement_for(None).query(query, form).await.ok_or_else(ended);
        };
        let first = kept.query(query, form);
        tokio::pin!(first);
        tokio::select! {
            biased;
            answer = &mut first => {
                if let Some(answer) = answer {
                    return Ok(answer);
                }
                // "clients … MUST … retry" (RFC 7766 section 6.2.4): servers close idle connections
                // at any time.
                return self.replacement_for(Some(&kept)).query(query, form).await.ok_or_else(ended);
            }
            () = kept.stalls() => {}
        }
        let newer = self.replacement_for(Some(&kept));
        tokio::select! {
            Some(answer) = first => Ok(answer),
            Some(answer) = newer.query(query, form) => Ok(answer),
            else => Err(ended()),
        }
    }

    /// The current connection if it is not `old`, otherwise a new one. All queries that waited on
    /// the old one share it.
    fn replacement_for(&self, old: Option<&SharedConnection>) -> SharedConnection {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &*current
            && old.is_none_or(|old| !Arc::ptr_eq(&old.task, &current.task))
        {
            return current.clone();
        }
        let connection = self.connect();
        *current = Some(connection.clone());
        connection
    }

    /// Starts a connection. If it cannot be made it ends, which its queries see.
    fn connect(&self) -> SharedConnection {
        let (queries, inbox) = mpsc::channel(MAX_PENDING);
        let (stall, stalled) = watch::channel(false);
        let endpoint = Arc::clone(&self.endpoint);
        let task = tokio::spawn(async move {
            let tcp = timeout(CONNECT, TcpStream::connect(endpoint.address)).await??;
            tcp.set_nodelay(true)?;
            match &endpoint.tls {
                None => serve(tcp, inbox, &stall).await,
                Some((connector, name)) => {
                    let tls = timeout(CONNECT, connector.connect(name.clone(), tcp)).await??;
                    serve(tls, inbox, &stall).await
                }
            }
        });
        SharedConnection { queries, stalled, task: Arc::new(AbortOnDropHandle::new(task)) }
    }
}

impl SharedConnection {
    /// `None` if the connection has ended, or has [`MAX_PENDING`] queries in its queue.
    async fn query(&self, query: &UpstreamQuery, form: QueryForm) -> Option<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        let pending = PendingQuery { query: query.clone(), form, answer };
        self.queries.try_send(pending).ok()?;
        answered.await.ok()
    }

    /// Returns when its peer stalls; never, if the connection ends first.
    async fn stalls(&self) {
        if self.stalled.clone().wait_for(|stalled| *stalled).await.is_err() {
            std::future::pending().await
        }
    }
}

/// Sends queries and delivers their answers, until the peer closes, sends nothing for too long, or
/// there is no query for too long.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    mut inbox: mpsc::Receiver<PendingQuery>,
    stall: &watch::Sender<bool>,
) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut unanswered = Unanswered::new();
    let mut received = Vec::with_capacity(4096);
    // When the peer last sent something, or began to owe an answer.
    let mut since = Instant::now();
    loop {
        let is_stalled = *stall.borrow();
        let patience = if unanswered.is_empty() { IDLE } else { DEAD_AFTER };
        tokio::select! {
            pending = inbox.recv(), if unanswered.len() < MAX_PENDING => {
                let Some(pending) = pending else { return Ok(()) };
                let id = free_id(&unanswered);
                let message = pending.query.encode(id, pending.form);
                // In one piece: length and message in two segments cost a round trip with some
                // servers.
                let length = u16::try_from(message.len()).map_err(io::Error::other)?;
                let framed = [&length.to_be_bytes(), message.as_slice()].concat();
                timeout(DEAD_AFTER, async { writer.write_all(&framed).await?; writer.flush().await }).await??;
                if unanswered.is_empty() {
                    since = Instant::now();
                }
                unanswered.insert(id, (message, pending));
            }
            () = sleep_until(since + STALLED_AFTER), if !unanswered.is_empty() && !is_stalled => {
                stall.send_replace(true);
            }
            read = timeout_at(since + patience, reader.read_buf(&mut received)) => {
                if read?? == 0 {
                    return Ok(());
                }
                let used = deliver(&received, &mut unanswered);
                received.drain(..used);
                // Queries that were given up do not make the peer look stalled.
                unanswered.retain(|_, (_, pending)| !pending.answer.is_closed());
                since = Instant::now();
                stall.send_replace(false);
            }
        }
    }
}

/// A random ID that no query in flight has.
fn free_id(unanswered: &Unanswered) -> u16 {
    debug_assert!(unanswered.len() <= MAX_PENDING, "most IDs are free, so one is found soon");
    loop {
        let id = rand::random();
        if !unanswered.contains_key(&id) {
            return id;
        }
    }
}

/// Delivers whole messages to the queries that they answer. Returns how many bytes those messages
/// took.
fn deliver(received: &[u8], unanswered: &mut Unanswered) -> usize {
    let mut rest = received;
    while let Some((length, after)) = rest.split_first_chunk()
        && let Some((message, next)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
    {
        rest = next;
        let Some(id) = u16_at(message, 0) else { continue };
        let matches = |(sent, pending): &(Vec<u8>, PendingQuery)| is_answer(sent, message, pending.form);
        if unanswered.get(&id).is_some_and(matches)
            && let Some((_, pending)) = unanswered.remove(&id)
        {
            let _ = pending.answer.send(message.to_vec());
        }
    }
    received.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{forward::cache_key::CacheKey, wire::WireName};

    /// Long enough for a busy machine.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A client of a server that counts its connections. On the first one, which has been used, the
    /// server answers one query and closes after `ends_after` more; on later ones it answers all.
    async fn start(ends_after: usize) -> (StreamClient, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = StreamEndpoint { address: listener.local_addr().unwrap(), tls: None };
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
                tokio::spawn(async move {
                    let mut at = 0;
                    while let Ok(length) = stream.read_u16().await {
                        let mut message = vec![0; length.into()];
                        stream.read_exact(&mut message).await.unwrap();
                        if !is_first || at == 0 {
                            message[2] |= 0x80;
                            stream.write_u16(length).await.unwrap();
                            stream.write_all(&message).await.unwrap();
                        } else if at == ends_after {
                            return;
                        }
                        at += 1;
                    }
                });
            }
        });
        let stream = StreamClient::new(endpoint);
        query(&stream, 25).await.unwrap();
        (stream, count)
    }

    async fn query(stream: &StreamClient, at: u8) -> io::Result<Vec<u8>> {
        let name = [1, b'a' + at, 0];
        let query = UpstreamQuery::new(CacheKey::new(WireName::trusted(&name), 1, false, false));
        let form = QueryForm { mixed_case: false, edns: true };
        timeout(PATIENCE, stream.exchange(&query, form)).await.unwrap()
    }

    #[tokio::test]
    async fn one_connection_replaces_one_that_ends() {
        let (stream, count) = start(20).await;
        for answer in join_all((0..20).map(|at| query(&stream, at))).await {
            answer.unwrap();
        }
        assert_eq!(count.load(Ordering::Relaxed), 2, "not one for each query");
    }

    #[tokio::test]
    async fn a_stalled_connection_is_replaced_while_clients_wait() {
        let (stream, count) = start(usize::MAX).await;
        let began = Instant::now();
        for answer in join_all((0..20).map(|at| query(&stream, at))).await {
            answer.unwrap();
        }
        assert!(began.elapsed() < DEAD_AFTER, "answered before the first connection counts as dead");
        query(&stream, 20).await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
