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

/// Whether an answer may be sent to this address. Sending to port 0 always fails. Echo, daytime, quote
/// of the day, chargen and time reply to whatever arrives, and their replies can look like queries: with
/// a forged sender muster and such a server would answer each other forever.
pub(super) fn is_answerable(client: SocketAddr) -> bool {
    !matches!(client.port(), 0 | 7 | 13 | 17 | 19 | 37)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_reply_to_anything_get_no_answer() {
        for port in [0, 7, 13, 17, 19, 37] {
            assert!(!is_answerable(([127, 0, 0, 1], port).into()), "{port}");
        }
        assert!(is_answerable(([127, 0, 0, 1], 53).into()));
    }
}
