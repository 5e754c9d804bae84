//! The admin port's listener: bounds the number of connections and their idle time.
//!
//! The kubelet ends a process whose port does not answer, so no client may keep others out.
//!
//! Rejected: `header_read_timeout` of hyper's server. It does not cover a client that stops reading
//! a response, and axum's `serve` does not expose it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::dns::tcp::{OpenConnection, OpenConnections};

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
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self::with_limits(listener, MAX_CONNECTIONS, MAX_OF_CLIENT)
    }

    fn with_limits(listener: TcpListener, all: usize, per_client: usize) -> Self {
        Self { listener, open: OpenConnections::new(all, per_client) }
    }

    /// Takes a slot. Loopback addresses may have all of them.
    fn slot(&self, peer: IpAddr) -> Slot {
        let (open, _) = match peer.to_canonical().is_loopback() {
            true => self.open.add_unlimited(),
            false => self.open.add(peer),
        };
        Slot::new(open)
    }
}

impl Listener for BoundedListener {
    type Io = IdleTimeoutStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let slot = self.slot(peer.ip());
        (IdleTimeoutStream::new(stream, Some(slot)), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection's slot among the open ones.
struct Slot {
    open: OpenConnection,
    /// Ready when the connection must be closed.
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Slot {
    fn new(open: OpenConnection) -> Self {
        Self { closing: Box::pin(open.closing().cancelled_owned()), open }
    }
}

/// A connection that fails after [`IDLE_TIMEOUT`], or when another one needs its place.
pub(super) struct IdleTimeoutStream<S> {
    stream: S,
    idle: Pin<Box<Sleep>>,
    slot: Option<Slot>,
}

impl<S> std::fmt::Debug for IdleTimeoutStream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdleTimeoutStream").finish_non_exhaustive()
    }
}

impl<S> IdleTimeoutStream<S> {
    fn new(stream: S, slot: Option<Slot>) -> Self {
        Self { stream, idle: Box::pin(sleep(IDLE_TIMEOUT)), slot }
    }
}

impl<S: Unpin> IdleTimeoutStream<S> {
    /// Polls the stream; fails if it has been pending for too long, or must be closed.
    fn poll_with_timeout<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Some(slot) = &mut self.slot
            && slot.closing.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let Poll::Ready(result) = poll(Pin::new(&mut self.stream), cx) {
            self.idle.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
            if let Some(slot) = &mut self.slot {
                slot.open.is_active();
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
        let mut bounded = BoundedListener::with_limits(listener, 2, 1);
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
        assert_eq!(bounded.open.count(), 0);
    }

    #[tokio::test]
    async fn one_client_has_a_share_and_loopback_has_all() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let bounded = BoundedListener::with_limits(listener, 8, 2);
        let open = |address: &str, count: usize| -> Vec<_> {
            (0..count).map(|_| bounded.slot(address.parse().unwrap())).collect()
        };
        let _hostile = open("10.0.0.66", 20);
        assert_eq!(bounded.open.count(), 2);
        let _local = [open("127.0.0.1", 2), open("::1", 2), open("::ffff:127.0.0.1", 2)];
        assert_eq!(bounded.open.count(), 8);
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
