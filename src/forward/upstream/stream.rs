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
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{
    super::ask::{Form, Question},
    is_answer,
};

/// How long a connection without a query is kept (RFC 7766 section 6.2.3 wants the client to close it).
const IDLE: Duration = Duration::from_secs(10);

/// How long a peer that was asked may send nothing at all, until the connection counts as dead, and how long making one may take.
const SILENCE: Duration = Duration::from_secs(5);

/// Queries on their way on one connection; with more, another one is opened.
const MOST: usize = 1000;

/// How connections are made.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    /// For TLS: the settings, and the name that the certificate must have.
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.address, if self.tls.is_some() { "TLS" } else { "TCP" })
    }
}

/// An upstream's current connection, if there is one.
#[derive(Debug)]
pub(super) struct Stream {
    endpoint: Arc<Endpoint>,
    current: Mutex<Option<Connection>>,
}

/// A way to the task that serves a connection; the connection is closed when the last one is gone and nobody waits.
#[derive(Clone, Debug)]
struct Connection {
    queries: mpsc::Sender<Pending>,
    _task: Arc<AbortOnDrop>,
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
struct Pending {
    question: Question,
    form: Form,
    answer: oneshot::Sender<Vec<u8>>,
}

impl Stream {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint: Arc::new(endpoint), current: Mutex::default() }
    }

    /// Asks on the current connection, or on a new one if there is none or it ends first.
    ///
    /// Waits for ever: the caller has a limit.
    ///
    /// # Errors
    /// When a new connection cannot be made, or ends without an answer.
    pub(super) async fn exchange(&self, question: &Question, form: Form) -> io::Result<Vec<u8>> {
        let kept = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(connection) = kept
            && let Some(answer) = connection.ask(question, form).await
        {
            return Ok(answer);
        }
        // "clients … MUST … retry" (RFC 7766 section 6.2.4): servers close idle connections at any time.
        let connection = self.connect();
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        let answer = connection.ask(question, form).await;
        answer.ok_or_else(|| io::Error::new(io::ErrorKind::ConnectionAborted, "the connection ended"))
    }

    /// Begins a connection. Those that wait on it learn by its end that it could not be made.
    fn connect(&self) -> Connection {
        let (queries, inbox) = mpsc::channel(MOST);
        let endpoint = Arc::clone(&self.endpoint);
        let task = tokio::spawn(async move {
            let tcp = timeout(SILENCE, TcpStream::connect(endpoint.address)).await??;
            tcp.set_nodelay(true)?;
            match &endpoint.tls {
                None => serve(tcp, inbox).await,
                Some((connector, name)) => {
                    let tls = timeout(SILENCE, connector.connect(name.clone(), tcp)).await??;
                    serve(tls, inbox).await
                }
            }
        });
        Connection { queries, _task: Arc::new(AbortOnDrop(task.abort_handle())) }
    }
}

impl Connection {
    /// `None`: the connection has ended, or has too much to do.
    async fn ask(&self, question: &Question, form: Form) -> Option<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        let pending = Pending { question: question.clone(), form, answer };
        self.queries.try_send(pending).ok()?;
        answered.await.ok()
    }
}

/// Sends queries and hands answers to those who wait, until the peer closes, talks nonsense, or nothing is asked.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    mut inbox: mpsc::Receiver<Pending>,
) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut waiting: HashMap<u16, (Vec<u8>, Pending)> = HashMap::new();
    let mut received = Vec::with_capacity(4096);
    // By when the peer must have sent something.
    let mut deadline = Instant::now() + IDLE;
    loop {
        tokio::select! {
            pending = inbox.recv(), if waiting.len() < MOST => {
                let Some(pending) = pending else { return Ok(()) };
                let id = free_id(&waiting);
                let query = pending.question.query(id, pending.form);
                // In one piece: length and message in two segments are a round trip more to some servers.
                let length = u16::try_from(query.len()).map_err(io::Error::other)?;
                let framed = [&length.to_be_bytes(), query.as_slice()].concat();
                timeout(SILENCE, async { writer.write_all(&framed).await?; writer.flush().await }).await??;
                if waiting.is_empty() {
                    deadline = Instant::now() + SILENCE;
                }
                waiting.insert(id, (query, pending));
            }
            read = timeout_at(deadline, reader.read_buf(&mut received)) => {
                if read?? == 0 {
                    return Ok(());
                }
                let used = hand_out(&received, &mut waiting);
                received.drain(..used);
                // Those who went away are no reason to think that the peer is silent.
                waiting.retain(|_, (_, pending)| !pending.answer.is_closed());
                deadline = Instant::now() + if waiting.is_empty() { IDLE } else { SILENCE };
            }
        }
    }
}

/// A random id that nobody waits for.
fn free_id(waiting: &HashMap<u16, (Vec<u8>, Pending)>) -> u16 {
    loop {
        let id = rand::random();
        if !waiting.contains_key(&id) {
            return id;
        }
    }
}

/// Hands whole messages to those who wait for them; returns how many bytes those took.
fn hand_out(received: &[u8], waiting: &mut HashMap<u16, (Vec<u8>, Pending)>) -> usize {
    let mut rest = received;
    while let Some((length, behind)) = rest.split_first_chunk()
        && let Some((message, next)) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))
    {
        rest = next;
        let Some(id) = message.first_chunk().map(|id| u16::from_be_bytes(*id)) else { continue };
        let matches = |(query, pending): &(Vec<u8>, Pending)| is_answer(query, message, pending.form);
        if waiting.get(&id).is_some_and(matches)
            && let Some((_, pending)) = waiting.remove(&id)
        {
            let _ = pending.answer.send(message.to_vec());
        }
    }
    received.len() - rest.len()
}
