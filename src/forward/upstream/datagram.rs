//! Asking over UDP: a fresh socket for each query.
//!
//! A fresh socket has a random port of the kernel's choice, is connected, so that the kernel drops what others send, and knows
//! one id only: three things that whoever forges an answer has to guess, for this one query (RFC 5452). A small pool of shared
//! sockets was rejected: it saves some microseconds of a miss, and gives forgers a port that stays.

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
    matching::is_answer,
};

/// Longest datagram that is read whole.
const ROOM: usize = 4096;

/// Sockets of the whole process at one time, at most: a question that is asked again has one for each try.
const MOST: usize = 8192;

/// Sockets of one rule's upstreams at one time: if those are dead, there are as many for the others.
pub(in super::super) const MAX_RULE_SOCKETS: usize = MOST / 2;

/// Places for sockets: no more than half of what the process may open, as clients and sources need some too.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let files =
        getrlimit(Resource::RLIMIT_NOFILE).map_or(MOST, |(now, _)| usize::try_from(now).unwrap_or(MOST));
    Arc::new(Semaphore::new((files / 2).min(MOST)))
});

/// A socket for one query, and its places among all of them.
#[derive(Debug)]
pub(super) struct Socket {
    udp: UdpSocket,
    _places: [OwnedSemaphorePermit; 2],
}

/// A socket for one query to `address`, if there is a place among those of its rule and those of all. Never waits: where there is
/// none, many questions wait for answers that do not come.
///
/// # Errors
/// When there is no place, or the system has no more of them.
pub(super) async fn socket(address: SocketAddr, of_rule: &Arc<Semaphore>) -> io::Result<Socket> {
    let place = |places: &Arc<Semaphore>| {
        let full = |_| io::Error::other("too many questions are on their way");
        Arc::clone(places).try_acquire_owned().map_err(full)
    };
    let places = [place(of_rule)?, place(&PLACES)?];
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    Ok(Socket { udp: UdpSocket::bind((any, 0)).await?, _places: places })
}

/// Sends a query and returns the first datagram that answers it; `mismatch` is told of each one that does not.
///
/// Waits for ever: the caller has a limit.
///
/// # Errors
/// Those of the system's calls, such as the news that nobody listens there.
pub(super) async fn exchange(
    Socket { udp: socket, .. }: &Socket,
    address: SocketAddr,
    query: &UpstreamQuery,
    form: QueryForm,
    mismatch: impl Fn(),
) -> io::Result<Vec<u8>> {
    socket.connect(address).await?;
    let message = query.encode(rand::random(), form);
    socket.send(&message).await?;
    let mut room = vec![0; ROOM];
    loop {
        let length = socket.recv(&mut room).await?;
        if is_answer(&message, room.get(..length).unwrap_or_default(), form) {
            room.truncate(length);
            return Ok(room);
        }
        mismatch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_only_so_many_sockets_at_one_time() {
        let (address, places) = (SocketAddr::from(([127, 0, 0, 1], 53)), Arc::new(Semaphore::new(2)));
        let (first, _second) =
            (socket(address, &places).await.unwrap(), socket(address, &places).await.unwrap());
        assert!(socket(address, &places).await.is_err());
        drop(first);
        assert!(socket(address, &places).await.is_ok());
    }
}
