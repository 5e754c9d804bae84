//! The admin port's listener: bounds the number of connections and their idle time.
//!
//! Without a bound, a client that opens connections and sends nothing keeps all others out.
//!
//! Rejected: `header_read_timeout` of hyper's server. It does not cover a client that stops reading
//! a response, and axum's `serve` does not expose it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Concurrent connections; more wait in the kernel until one is closed.
const MAX_CONNECTIONS: usize = 128;
/// How long a connection may go without a byte in either direction.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A listener that accepts a bounded number of concurrent connections.
#[derive(Debug)]
pub(super) struct BoundedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self::with_limit(listener, MAX_CONNECTIONS)
    }

    fn with_limit(listener: TcpListener, connections: usize) -> Self {
        Self { listener, permits: Arc::new(Semaphore::new(connections)) }
    }
}

impl Listener for BoundedListener {
    type Io = IdleTimeoutStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        debug_assert!(permit.is_some(), "the semaphore is never closed");
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        (IdleTimeoutStream { stream, idle: Box::pin(sleep(IDLE_TIMEOUT)), _permit: permit }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails after [`IDLE_TIMEOUT`]; counts against the limit until it is dropped.
#[derive(Debug)]
pub(super) struct IdleTimeoutStream<S> {
    stream: S,
    idle: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<S: Unpin> IdleTimeoutStream<S> {
    /// Polls the stream; fails if it has been pending for too long.
    fn poll_with_timeout<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = poll(Pin::new(&mut self.stream), cx) {
            self.idle.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
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
    async fn a_connection_over_the_limit_waits_for_another_to_close() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut bounded = BoundedListener::with_limit(listener, 1);
        let address = bounded.local_addr().unwrap();
        let _clients =
            [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let first = timeout(DEADLINE, bounded.accept()).await.unwrap();
        let too_many = timeout(Duration::from_millis(50), bounded.accept()).await;
        assert!(too_many.is_err(), "the second must wait");
        drop(first);
        timeout(DEADLINE, bounded.accept()).await.expect("the second is taken once the first is gone");
    }

    fn connection<S>(stream: S) -> IdleTimeoutStream<S> {
        IdleTimeoutStream { stream, idle: Box::pin(sleep(IDLE_TIMEOUT)), _permit: None }
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
