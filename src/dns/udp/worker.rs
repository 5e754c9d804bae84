//! Workers: the parts that both kinds share.

use std::{io, net::SocketAddr};

/// Size of a worker's buffer for one request, in bytes. Longer requests are truncated.
pub(super) const REQUEST_BUFFER: usize = 2048;

/// Serves one socket.
pub(super) trait Worker {
    /// Waits for requests and answers those that have arrived.
    ///
    /// # Errors
    /// Receiving fails. A failed send is no error: datagrams may be lost, and the client retries.
    fn step(&mut self) -> io::Result<()>;
}

/// Whether a socket error is part of normal operation: a receive timed out or was interrupted by a
/// signal, or ECONNREFUSED reports that the port an earlier answer went to is closed.
pub(super) fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted | ConnectionRefused)
}

/// Whether an answer can be sent to this address. Sending to port 0 always fails.
pub(super) fn is_answerable(client: SocketAddr) -> bool {
    client.port() != 0
}
