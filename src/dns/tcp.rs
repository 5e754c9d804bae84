//! TCP: pipelined queries, an idle timeout, a cap on connections (RFC 7766).

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};
use tracing::{debug, warn};

use super::{
    responder::{Context, Responder},
    rotation::Rotation,
};
use crate::telemetry::{Metrics, Transport};

/// Answers that are gathered before they are written, when many queries wait: bounds what a connection can hold.
const GATHER: usize = 64 << 10;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// What all TCP listeners share.
#[derive(Debug)]
pub struct Limits {
    idle: Duration,
    connections: Arc<Semaphore>,
}

impl Limits {
    /// Allows `connections` at one time and each to be silent for `idle`.
    pub fn new(idle: Duration, connections: usize) -> Self {
        Self { idle, connections: Arc::new(Semaphore::new(connections)) }
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
/// A connection beyond the cap is closed at once: clients fall back or come again, and those that are open go on.
pub async fn serve(listener: TcpListener, responder: Arc<Responder>, limits: Arc<Limits>) {
    let rotation = Arc::new(Mutex::new(Rotation::default()));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to be closed.
                warn!("TCP: cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&limits.connections).try_acquire_owned() else {
            responder.metrics().tcp_refused();
            continue;
        };
        let (responder, rotation, idle) = (Arc::clone(&responder), Arc::clone(&rotation), limits.idle);
        connections.spawn(async move {
            let _open = Open::new(responder.metrics(), permit);
            if let Err(error) = converse(stream, &responder, &rotation, idle).await {
                debug!("TCP: connection ended: {error}");
            }
        });
    }
}

/// A connection's place under the cap, counted while it is taken, however the connection ends.
struct Open<'m> {
    metrics: &'m Metrics,
    _place: OwnedSemaphorePermit,
}

impl<'m> Open<'m> {
    fn new(metrics: &'m Metrics, place: OwnedSemaphorePermit) -> Self {
        metrics.tcp_opened();
        Self { metrics, _place: place }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.metrics.tcp_closed();
    }
}

/// Answers the queries of one connection until its client closes it, falls silent, or talks nonsense.
async fn converse(
    mut stream: TcpStream,
    responder: &Responder,
    rotation: &Mutex<Rotation>,
    idle: Duration,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let context = Context {
        transport: Transport::Tcp,
        asked: Some(stream.local_addr()?.ip()),
        client: stream.peer_addr()?.ip(),
    };
    let mut received: Vec<u8> = Vec::with_capacity(4096);
    let mut answer = Vec::new();
    let mut answers = Vec::new();
    // Only whole messages keep a connection open: single bytes now and then must not hold a place for ever.
    let mut deadline = Instant::now() + idle;
    loop {
        if timeout_at(deadline, stream.read_buf(&mut received)).await?? == 0 {
            return Ok(());
        }
        let mut rest = received.as_slice();
        while let Some((query, behind)) = split_message(rest) {
            rest = behind;
            let any = {
                let mut rotation = rotation.lock().unwrap_or_else(PoisonError::into_inner);
                responder.respond(query, context, &mut rotation, &mut answer)
            };
            if !any {
                // Nothing that a client would send; what it asked before is answered still.
                return flush(&mut stream, &mut answers, idle).await;
            }
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            answers.extend(length.to_be_bytes());
            answers.extend_from_slice(&answer);
            if answers.len() >= GATHER {
                flush(&mut stream, &mut answers, idle).await?;
            }
        }
        let used = received.len() - rest.len();
        if used > 0 {
            deadline = Instant::now() + idle;
        }
        received.drain(..used);
        flush(&mut stream, &mut answers, idle).await?;
    }
}

/// Splits off the first message, which has its length in front (RFC 1035 section 4.2.2), if all of it is there.
fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// A client that does not read its answers is given the same time as one that does not ask.
async fn flush(stream: &mut TcpStream, answers: &mut Vec<u8>, idle: Duration) -> io::Result<()> {
    if !answers.is_empty() {
        timeout(idle, stream.write_all(answers)).await??;
        answers.clear();
    }
    Ok(())
}
