//! Asking over UDP: a fresh socket for each query.
//!
//! A fresh socket has a random port of the kernel's choice, is connected, so that the kernel drops what others send, and knows
//! one id only: three things that whoever forges an answer has to guess, for this one query (RFC 5452). A small pool of shared
//! sockets was rejected: it saves some microseconds of a miss, and gives forgers a port that stays.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::UdpSocket;

use super::{
    super::ask::{Form, Question},
    is_answer,
};

/// Longest datagram that is read whole.
const ROOM: usize = 4096;

/// A socket for one query to `address`.
///
/// # Errors
/// When the system has no more of them.
pub(super) async fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).await
}

/// Sends a query and returns the first datagram that answers it; `mismatch` is told of each one that does not.
///
/// Waits for ever: the caller has a limit.
///
/// # Errors
/// Those of the system's calls, such as the news that nobody listens there.
pub(super) async fn exchange(
    socket: &UdpSocket,
    address: SocketAddr,
    question: &Question,
    form: Form,
    mismatch: impl Fn(),
) -> io::Result<Vec<u8>> {
    socket.connect(address).await?;
    let query = question.query(rand::random(), form);
    socket.send(&query).await?;
    let mut room = vec![0; ROOM];
    loop {
        let length = socket.recv(&mut room).await?;
        if is_answer(&query, room.get(..length).unwrap_or_default(), form) {
            room.truncate(length);
            return Ok(room);
        }
        mismatch();
    }
}
