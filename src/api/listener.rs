//! The admin port's listener: bounds the number of connections and their idle time.
//!
//! The kubelet ends a process whose port does not answer, so no client may keep others out.
//!
//! Rejected: `header_read_timeout` of hyper's server. It does not cover a client that stops reading
//! a response, and axum's `serve` does not expose it.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Concurrent connections of all clients.
const MAX_CONNECTIONS: usize = 128;
/// Concurrent connections of one client: an address or, for IPv6, a network of 64 bits. Loopback
/// addresses may have all of them.
const MAX_OF_CLIENT: usize = 32;
/// How long a connection may go without a byte in either direction.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A listener that takes every connection at once. When there are too many, of one client or in
/// total, it closes the one that has been idle longest, so that clients that open connections and
/// say nothing keep no other client out.
#[derive(Debug)]
pub(super) struct BoundedListener {
    listener: TcpListener,
    open: Arc<OpenConnections>,
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    all: usize,
    of_client: usize,
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self::with_limits(listener, Limits { all: MAX_CONNECTIONS, of_client: MAX_OF_CLIENT })
    }

    fn with_limits(listener: TcpListener, limits: Limits) -> Self {
        Self { listener, open: Arc::default(), limits }
    }
}

impl Listener for BoundedListener {
    type Io = IdleTimeoutStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let entry = self.open.add(client(peer.ip()), self.limits);
        (IdleTimeoutStream::new(stream, Some(entry)), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The client that a connection counts against; `None` for loopback.
fn client(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
        address => Some(address),
    }
}

/// All open connections.
#[derive(Debug, Default)]
struct OpenConnections(Mutex<Connections>);

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    by_key: HashMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    client: Option<IpAddr>,
    /// When there was a byte last.
    active_at: Instant,
    closing: CancellationToken,
}

impl OpenConnections {
    /// Adds a connection, and closes others if there are too many.
    fn add(self: &Arc<Self>, client: Option<IpAddr>, limits: Limits) -> OpenConnection {
        let mut connections = self.lock();
        if client.is_some() {
            connections.make_room(limits.of_client, |other| other.client == client);
        }
        connections.make_room(limits.all, |_| true);
        let key = connections.next;
        connections.next += 1;
        let closing = CancellationToken::new();
        let new = Connection { client, active_at: Instant::now(), closing: closing.clone() };
        connections.by_key.insert(key, new);
        drop(connections);
        OpenConnection { open: Arc::clone(self), key, closing: Box::pin(closing.cancelled_owned()) }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Closes the longest idle connections of `these` until there are fewer than `limit`.
    fn make_room(&mut self, limit: usize, these: impl Fn(&Connection) -> bool) {
        loop {
            let of_these = self.by_key.iter().filter(|(_, connection)| these(connection));
            let idlest = of_these.clone().min_by_key(|(_, connection)| connection.active_at);
            let Some((key, _)) = idlest.filter(|_| of_these.count() >= limit) else { return };
            let key = *key;
            if let Some(idlest) = self.by_key.remove(&key) {
                idlest.closing.cancel();
            }
        }
    }
}

/// One connection's place among the open ones.
struct OpenConnection {
    open: Arc<OpenConnections>,
    key: u64,
    /// Ready when the connection must be closed.
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl OpenConnection {
    fn is_active(&self) {
        if let Some(connection) = self.open.lock().by_key.get_mut(&self.key) {
            connection.active_at = Instant::now();
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.lock().by_key.remove(&self.key);
    }
}

/// A connection that fails after [`IDLE_TIMEOUT`], or when another one needs its place.
pub(super) struct IdleTimeoutStream<S> {
    stream: S,
    idle: Pin<Box<Sleep>>,
    open: Option<OpenConnection>,
}

impl<S> std::fmt::Debug for IdleTimeoutStream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdleTimeoutStream").finish_non_exhaustive()
    }
}

impl<S> IdleTimeoutStream<S> {
    fn new(stream: S, open: Option<OpenConnection>) -> Self {
        Self { stream, idle: Box::pin(sleep(IDLE_TIMEOUT)), open }
    }
}

impl<S: Unpin> IdleTimeoutStream<S> {
    /// Polls the stream; fails if it has been pending for too long, or must be closed.
    fn poll_with_timeout<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Some(open) = &mut self.open
            && open.closing.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let Poll::Ready(result) = poll(Pin::new(&mut self.stream), cx) {
            self.idle.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
            if let Some(open) = &self.open {
                open.is_active();
            }
            return Poll::Ready(result);
        }
        ready!(self.idle.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for IdleTimeoutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_with_timeout(cx, |stream, cx| stream.poll_read(cx, buf))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for IdleTimeoutStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_with_timeout(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_with_timeout(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        time::timeout,
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_connection_over_the_limit_takes_the_place_of_the_longest_idle() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut bounded = BoundedListener::with_limits(listener, Limits { all: 2, of_client: 1 });
        let address = bounded.local_addr().unwrap();
        let mut clients = Vec::new();
        let mut taken = Vec::new();
        for at in 0..3 {
            clients.push(TcpStream::connect(address).await.unwrap());
            taken.push(timeout(DEADLINE, bounded.accept()).await.expect("none waits").0);
            if at == 1 {
                // The second is idle longer than the first from here on.
                clients[0].write_all(b"x").await.unwrap();
                assert_eq!(taken[0].read_u8().await.unwrap(), b'x');
            }
        }
        let error = timeout(DEADLINE, taken[1].read_u8()).await.expect("it is closed").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        for at in [0, 2] {
            clients[at].write_all(b"y").await.unwrap();
            assert_eq!(taken[at].read_u8().await.unwrap(), b'y');
        }
        drop(taken);
        assert!(bounded.open.lock().by_key.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_has_a_share_and_loopback_has_all() {
        let open = Arc::new(OpenConnections::default());
        let limits = Limits { all: 8, of_client: 2 };
        let ip = |text: &str| client(text.parse().unwrap());
        assert_eq!((ip("127.0.0.1"), ip("::1"), ip("::ffff:127.0.0.1")), (None, None, None));
        assert_eq!(ip("fd00::1"), ip("fd00::2"));
        let _kubelet = open.add(ip("10.0.0.1"), limits);
        let hostile: Vec<_> = (0..20).map(|_| open.add(ip("10.0.0.66"), limits)).collect();
        assert_eq!(open.lock().by_key.len(), 3, "its own connections were closed");
        let _local: Vec<_> = (0..5).map(|_| open.add(ip("127.0.0.1"), limits)).collect();
        assert_eq!(open.lock().by_key.len(), 8);
        drop(hostile);
        assert_eq!(open.lock().by_key.len(), 6);
    }

    fn connection<S>(stream: S) -> IdleTimeoutStream<S> {
        IdleTimeoutStream::new(stream, None)
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_fails_but_a_slow_one_does_not() {
        let (near, mut far) = duplex(64);
        let mut connection = connection(near);
        for _ in 0..5 {
            tokio::time::advance(IDLE_TIMEOUT - Duration::from_secs(1)).await;
            far.write_all(b"x").await.unwrap();
            assert_eq!(connection.read_u8().await.unwrap(), b'x');
        }
        let start = Instant::now();
        let error = timeout(2 * IDLE_TIMEOUT, connection.read_u8()).await.expect("it ends").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= IDLE_TIMEOUT, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_is_cut_off() {
        let (near, _far) = duplex(64);
        let mut connection = connection(near);
        let written = timeout(2 * IDLE_TIMEOUT, connection.write_all(&[0; 1000])).await;
        let error = written.expect("it ends").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
