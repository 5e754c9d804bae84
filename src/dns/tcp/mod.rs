//! TCP: pipelined queries, an idle timeout, and limits on connections and memory (RFC 7766).
//!
//! ```text
//!  serve ─▶ Limits::add ─▶ serve_connection ─▶ Session ─┬─▶ gathered answers ─▶ flush
//!  (accept) (a slot)       (one task each)              └─▶ DeferredReply ─▶ channel ─▶ flush
//! ```
//!
//! Rejected: hickory-server's TCP loop, which answers one query after the other, so a forwarded
//! query would hold up all later ones. Turning new connections away when there are too many: clients
//! that stay silent would then keep all others out.

mod limits;
mod open_connections;
mod reply_budget;
mod session;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tracing::{debug, warn};

use self::session::{Shared, serve_connection};
pub use self::{
    limits::Limits,
    open_connections::{OpenConnection, OpenConnections},
};
use super::{
    access::{AccessLevel, subnet},
    responder::Responder,
    rotation::Rotation,
};
use crate::telemetry::{Metrics, Restriction};

/// Maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 1024;

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
/// If there are too many, the one that has been idle longest closes; its client opens another one
/// when it has a query (RFC 7766 section 6.2.3). A connection from a denied client is closed at once,
/// and takes no slot.
pub async fn serve(listener: TcpListener, responder: Arc<Responder>, limits: Arc<Limits>) {
    let shared = Arc::new(Shared { responder, rotation: Mutex::new(Rotation::default()), idle: limits.idle });
    let metrics = shared.responder.metrics();
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
        let level = shared.responder.access_level(client.ip());
        if level == AccessLevel::Denied {
            metrics.restricted(Restriction::Denied);
            continue;
        }
        let (mut open, closed) = limits.add(client.ip(), level);
        metrics.tcp_shed(closed);
        let (closing, budget) = (open.closing(), limits.replies.connection(subnet(client.ip(), 32, 64)));
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let _counted = CountedConnection::new(shared.responder.metrics());
            tokio::select! {
                ended = serve_connection(stream, &shared, &mut open, budget) => {
                    if let Err(error) = ended {
                        debug!("TCP: connection ended: {error}");
                    }
                }
                () = closing.cancelled() => {}
            }
        });
    }
}

/// A connection that the metrics count until it is dropped.
struct CountedConnection<'m>(&'m Metrics);

impl<'m> CountedConnection<'m> {
    fn new(metrics: &'m Metrics) -> Self {
        metrics.tcp_opened();
        Self(metrics)
    }
}

impl Drop for CountedConnection<'_> {
    fn drop(&mut self) {
        self.0.tcp_closed();
    }
}
