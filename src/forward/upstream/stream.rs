//! Asking over TCP and TLS: one connection, used again, with many queries on their way at once (RFC 7766 sections 6.2.1.1 and
//! 6.2.2).

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
    task::AbortHandle,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{
    super::upstream_query::{QueryForm, UpstreamQuery},
    matching::is_answer,
};

/// How long a connection without a query is kept (RFC 7766 section 6.2.3 wants the client to close it).
const IDLE: Duration = Duration::from_secs(10);

/// How long a peer that was asked may send nothing at all, until a new connection is tried as well: what goes between us may have
/// forgotten this one, and then nobody says so.
const DOUBT: Duration = Duration::from_millis(1500);

/// How long it may send nothing until the connection counts as dead.
const SILENCE: Duration = Duration::from_secs(5);

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(2);

/// Queries on their way on one connection; with more, another one is opened.
const MOST: usize = 1000;

/// How connections are made.
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

/// An upstream's current connection, if there is one.
#[derive(Debug)]
pub(super) struct StreamClient {
    endpoint: Arc<StreamEndpoint>,
    current: Mutex<Option<SharedConnection>>,
}

/// A way to the task that serves a connection; the connection is closed when the last one is gone and nobody waits.
#[derive(Clone, Debug)]
struct SharedConnection {
    queries: mpsc::Sender<PendingQuery>,
    /// Whether its peer sends nothing although it was asked.
    doubtful: watch::Receiver<bool>,
    task: Arc<AbortOnDrop>,
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A query to be sent, and who waits for its answer.
#[derive(Debug)]
struct PendingQuery {
    query: UpstreamQuery,
    form: QueryForm,
    answer: oneshot::Sender<Vec<u8>>,
}

impl StreamClient {
    pub(super) fn new(endpoint: StreamEndpoint) -> Self {
        Self { endpoint: Arc::new(endpoint), current: Mutex::default() }
    }

    /// Asks on the current connection, or on a new one if there is none or it ends first; on both if nothing comes on it.
    ///
    /// Waits for ever: the caller has a limit.
    ///
    /// # Errors
    /// When a new connection cannot be made, or ends without an answer.
    pub(super) async fn exchange(&self, query: &UpstreamQuery, form: QueryForm) -> io::Result<Vec<u8>> {
        let ended = || io::Error::new(io::ErrorKind::ConnectionAborted, "the connection ended");
        let kept = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(kept) = kept else {
            return self.instead_of(None).ask(query, form).await.ok_or_else(ended);
        };
        let first = kept.ask(query, form);
        tokio::pin!(first);
        tokio::select! {
            biased;
            answer = &mut first => {
                if let Some(answer) = answer {
                    return Ok(answer);
                }
                // "clients … MUST … retry" (RFC 7766 section 6.2.4): servers close idle connections at any time.
                return self.instead_of(Some(&kept)).ask(query, form).await.ok_or_else(ended);
            }
            () = kept.falls_silent() => {}
        }
        let newer = self.instead_of(Some(&kept));
        tokio::select! {
            Some(answer) = first => Ok(answer),
            Some(answer) = newer.ask(query, form) => Ok(answer),
            else => Err(ended()),
        }
    }

    /// The current connection, unless that is still the one that is of no use: then a new one, which all who waited on the old
    /// one share.
    fn instead_of(&self, old: Option<&SharedConnection>) -> SharedConnection {
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

    /// Begins a connection. Those that wait on it learn by its end that it could not be made.
    fn connect(&self) -> SharedConnection {
        let (queries, inbox) = mpsc::channel(MOST);
        let (doubt, doubtful) = watch::channel(false);
        let endpoint = Arc::clone(&self.endpoint);
        let task = tokio::spawn(async move {
            let tcp = timeout(CONNECT, TcpStream::connect(endpoint.address)).await??;
            tcp.set_nodelay(true)?;
            match &endpoint.tls {
                None => serve(tcp, inbox, &doubt).await,
                Some((connector, name)) => {
                    let tls = timeout(CONNECT, connector.connect(name.clone(), tcp)).await??;
                    serve(tls, inbox, &doubt).await
                }
            }
        });
        SharedConnection { queries, doubtful, task: Arc::new(AbortOnDrop(task.abort_handle())) }
    }
}

impl SharedConnection {
    /// `None`: the connection has ended, or has too much to do.
    async fn ask(&self, query: &UpstreamQuery, form: QueryForm) -> Option<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        let pending = PendingQuery { query: query.clone(), form, answer };
        self.queries.try_send(pending).ok()?;
        answered.await.ok()
    }

    /// Returns when its peer sends nothing although it was asked; never, where the connection ends first.
    async fn falls_silent(&self) {
        if self.doubtful.clone().wait_for(|doubtful| *doubtful).await.is_err() {
            std::future::pending().await
        }
    }
}

/// Sends queries and hands answers to those who wait, until the peer closes, talks nonsense, or nothing is asked.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    mut inbox: mpsc::Receiver<PendingQuery>,
    doubt: &watch::Sender<bool>,
) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut waiting: HashMap<u16, (Vec<u8>, PendingQuery)> = HashMap::new();
    let mut received = Vec::with_capacity(4096);
    // Since when the peer has not sent what it was asked for, or has nothing to send.
    let mut since = Instant::now();
    loop {
        let is_doubtful = *doubt.borrow();
        let patience = if waiting.is_empty() { IDLE } else { SILENCE };
        tokio::select! {
            pending = inbox.recv(), if waiting.len() < MOST => {
                let Some(pending) = pending else { return Ok(()) };
                let id = free_id(&waiting);
                let message = pending.query.encode(id, pending.form);
                // In one piece: length and message in two segments are a round trip more to some servers.
                let length = u16::try_from(message.len()).map_err(io::Error::other)?;
                let framed = [&length.to_be_bytes(), message.as_slice()].concat();
                timeout(SILENCE, async { writer.write_all(&framed).await?; writer.flush().await }).await??;
                if waiting.is_empty() {
                    since = Instant::now();
                }
                waiting.insert(id, (message, pending));
            }
            () = sleep_until(since + DOUBT), if !waiting.is_empty() && !is_doubtful => {
                doubt.send_replace(true);
            }
            read = timeout_at(since + patience, reader.read_buf(&mut received)) => {
                if read?? == 0 {
                    return Ok(());
                }
                let used = hand_out(&received, &mut waiting);
                received.drain(..used);
                // Those who went away are no reason to think that the peer is silent.
                waiting.retain(|_, (_, pending)| !pending.answer.is_closed());
                since = Instant::now();
                doubt.send_replace(false);
            }
        }
    }
}

/// A random id that nobody waits for.
fn free_id(waiting: &HashMap<u16, (Vec<u8>, PendingQuery)>) -> u16 {
    loop {
        let id = rand::random();
        if !waiting.contains_key(&id) {
            return id;
        }
    }
}

/// Hands whole messages to those who wait for them; returns how many bytes those took.
fn hand_out(received: &[u8], waiting: &mut HashMap<u16, (Vec<u8>, PendingQuery)>) -> usize {
    let mut rest = received;
    while let Some((length, behind)) = rest.split_first_chunk()
        && let Some((message, next)) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))
    {
        rest = next;
        let Some(id) = message.first_chunk().map(|id| u16::from_be_bytes(*id)) else { continue };
        let matches = |(sent, pending): &(Vec<u8>, PendingQuery)| is_answer(sent, message, pending.form);
        if waiting.get(&id).is_some_and(matches)
            && let Some((_, pending)) = waiting.remove(&id)
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
    use crate::forward::cache_key::CacheKey;

    /// Whoever waits longer waits for ever.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A server that answers one query on its first connection, and closes it after `ends_after` more, and all on later ones;
    /// counts its connections. The first has been used.
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
        ask(&stream, 25).await.unwrap();
        (stream, count)
    }

    async fn ask(stream: &StreamClient, at: u8) -> io::Result<Vec<u8>> {
        let key = CacheKey::new(&[1, b'a' + at, 0], 1, false, false);
        let query = UpstreamQuery::new(key, &[]);
        let form = QueryForm { mixed_case: false, edns: true };
        timeout(PATIENCE, stream.exchange(&query, form)).await.unwrap()
    }

    #[tokio::test]
    async fn one_connection_takes_the_place_of_one_that_ends() {
        let (stream, count) = start(20).await;
        for answer in join_all((0..20).map(|at| ask(&stream, at))).await {
            answer.unwrap();
        }
        assert_eq!(count.load(Ordering::Relaxed), 2, "not one for each query on it");
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_comes_is_left_within_a_clients_patience() {
        let (stream, count) = start(usize::MAX).await;
        let began = Instant::now();
        for answer in join_all((0..20).map(|at| ask(&stream, at))).await {
            answer.unwrap();
        }
        assert!(began.elapsed() < SILENCE, "answered before the first connection counts as dead");
        ask(&stream, 20).await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
