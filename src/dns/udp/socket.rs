//! Binding: the sockets of one address.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// How long an idle worker blocks in a receive call before it checks whether to stop.
pub(super) const STOP_CHECK: Duration = Duration::from_millis(200);

/// Receive buffer to request from the kernel, in bytes. Bursts wait in it.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Binds `workers` sockets to one address. The kernel spreads clients over them.
///
/// # Errors
/// A system call fails, for example because the address is in use or the port needs privileges.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<UdpSocket>> {
    let mut address = address;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_port(workers > 1)?;
        // muster also serves with a smaller buffer than requested.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if address.ip().is_unspecified() {
            match address {
                SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
                SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            }
        }
        socket.bind(&address.into())?;
        socket.set_read_timeout(Some(STOP_CHECK))?;
        let socket = UdpSocket::from(socket);
        // With port 0, the first socket gets a port and the others take the same one.
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets)
}
