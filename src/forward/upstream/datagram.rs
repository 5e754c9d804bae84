//! DNS over UDP: a new socket for each query.
//!
//! A new socket has a random port that the kernel chooses, is connected, so the kernel drops
//! datagrams from other senders, and expects one ID only: three things that a forged answer must
//! match, for this one query (RFC 5452). Rejected: a small pool of shared sockets. It saves some
//! microseconds of a cache miss, and leaves the same port open to attackers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, LazyLock},
};

use nix::sys::resource::{Resource, getrlimit};
use tokio::{
    net::UdpSocket,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{
    super::upstream_query::{QueryForm, UpstreamQuery},
    error::UpstreamError,
    matching::is_answer,
};

/// Longest datagram that is read whole, in bytes.
const BUFFER: usize = 4096;

/// Sockets of the whole process at once. A query that is retried has one for each try.
const MAX_SOCKETS: usize = 8192;

/// Sockets of one rule's upstreams at once: if those are all dead, half are left for other rules.
pub(in crate::forward) const MAX_RULE_SOCKETS: usize = MAX_SOCKETS / 2;

/// Permits for all sockets: at most half of the files that the process may open, since clients and
/// sources need some too.
static SOCKETS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let files = getrlimit(Resource::RLIMIT_NOFILE)
        .map_or(MAX_SOCKETS, |(now, _)| usize::try_from(now).unwrap_or(MAX_SOCKETS));
    Arc::new(Semaphore::new((files / 2).min(MAX_SOCKETS)))
});

/// A socket for one query, with its permits.
#[derive(Debug)]
pub(super) struct QuerySocket {
    udp: UdpSocket,
    _permits: [OwnedSemaphorePermit; 2],
}

/// Opens a socket for one query to `address`. Never waits for a permit: if there is none, thousands
/// of queries wait for answers already.
///
/// A retry leaves half of the rule's sockets to first tries. There are as many of those as a rule can
/// have queries, so a first try always finds one, also beside thousands of queries that no upstream
/// answers.
///
/// # Errors
/// [`UpstreamError::Busy`] when the rule or the process has too many sockets, and
/// [`UpstreamError::Local`] when the system has no more.
pub(super) async fn socket(
    address: SocketAddr,
    of_rule: &Arc<Semaphore>,
    is_retry: bool,
) -> Result<QuerySocket, UpstreamError> {
    if is_retry && of_rule.available_permits() <= MAX_RULE_SOCKETS / 2 {
        return Err(UpstreamError::Busy);
    }
    let permit =
        |sockets: &Arc<Semaphore>| Arc::clone(sockets).try_acquire_owned().map_err(|_| UpstreamError::Busy);
    let permits = [permit(of_rule)?, permit(&SOCKETS)?];
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    Ok(QuerySocket { udp: UdpSocket::bind((any, 0)).await.map_err(UpstreamError::Local)?, _permits: permits })
}

/// Sends a query and returns the first datagram that answers it; calls `mismatch` for each that
/// does not.
///
/// Waits without a limit: the caller has one.
///
/// # Errors
/// Those of the system calls, such as for a port that no socket listens on.
pub(super) async fn exchange(
    QuerySocket { udp, .. }: &QuerySocket,
    address: SocketAddr,
    query: &UpstreamQuery,
    form: QueryForm,
    mismatch: impl Fn(),
) -> io::Result<Vec<u8>> {
    udp.connect(address).await?;
    let sent = query.encode(rand::random(), form);
    udp.send(&sent).await?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = udp.recv(&mut buffer).await?;
        debug_assert!(length <= buffer.len(), "a datagram is received into the buffer");
        if is_answer(&sent, buffer.get(..length).unwrap_or_default(), form) {
            buffer.truncate(length);
            return Ok(buffer);
        }
        mismatch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_rule_has_a_limited_number_of_sockets() {
        let (address, sockets) = (SocketAddr::from(([127, 0, 0, 1], 53)), Arc::new(Semaphore::new(2)));
        let (first, _second) = (
            socket(address, &sockets, false).await.unwrap(),
            socket(address, &sockets, false).await.unwrap(),
        );
        assert!(socket(address, &sockets, false).await.is_err());
        drop(first);
        assert!(socket(address, &sockets, false).await.is_ok());
    }

    #[tokio::test]
    async fn retries_leave_half_of_the_sockets_to_first_tries() {
        let address = SocketAddr::from(([127, 0, 0, 1], 53));
        let sockets = Arc::new(Semaphore::new(MAX_RULE_SOCKETS / 2 + 1));
        let retry = socket(address, &sockets, true).await;
        assert!(matches!(socket(address, &sockets, true).await, Err(UpstreamError::Busy)));
        assert!(socket(address, &sockets, false).await.is_ok());
        drop(retry);
        assert!(socket(address, &sockets, true).await.is_ok());
    }
}
