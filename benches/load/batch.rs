//! Datagrams in batches: `recvmmsg` and `sendmmsg` without allocation of their own.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd,
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg},
};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

/// Datagrams in one batch.
pub(crate) const BATCH: usize = 32;
/// Room for one datagram.
const ROOM: usize = 2048;

/// Where a batch is received.
pub(crate) struct Inbox {
    room: Vec<u8>,
    got: [(usize, SocketAddrV4); BATCH],
    headers: MultiHeaders<SockaddrIn>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            room: vec![0; BATCH * ROOM],
            got: [(0, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)); BATCH],
            headers: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Waits for a datagram and takes all that are there; returns how many, 0 after a signal.
    pub(crate) fn wait(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.receive(socket, MsgFlags::MSG_WAITFORONE)
    }

    /// Takes what has come, perhaps nothing; returns how many datagrams.
    pub(crate) fn poll(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        match self.receive(socket, MsgFlags::MSG_DONTWAIT) {
            // Refused reports that a query reached no server: it counts as lost.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) =>
            {
                Ok(0)
            }
            other => other,
        }
    }

    /// The datagram at `index` of the last batch, and who sent it.
    pub(crate) fn datagram(&self, index: usize) -> (&[u8], SocketAddrV4) {
        let (length, peer) = self.got[index];
        (&self.room[index * ROOM..index * ROOM + length], peer)
    }

    fn receive(&mut self, socket: &UdpSocket, flags: MsgFlags) -> io::Result<usize> {
        let mut rooms = self.room.chunks_exact_mut(ROOM);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let mut count = 0;
        let received = match recvmmsg(socket.as_raw_fd(), &mut self.headers, &mut slices, flags, None) {
            Ok(received) => received,
            Err(Errno::EINTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        for message in received {
            let peer = message.address.map_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), |address| {
                SocketAddrV4::new(address.ip(), address.port())
            });
            self.got[count] = (message.bytes, peer);
            count += 1;
        }
        Ok(count)
    }
}

/// Sends every packet, to the peer at the same index or, without peers, to the connected address.
pub(crate) fn send_all(
    socket: &UdpSocket,
    packets: &[IoSlice<'_>],
    peers: Option<&[SocketAddrAny]>,
) -> io::Result<()> {
    let mut controls: [SendAncillaryBuffer<'_, '_, '_>; BATCH] =
        std::array::from_fn(|_| SendAncillaryBuffer::default());
    let mut messages: Vec<MMsgHdr<'_>> = packets
        .iter()
        .zip(&mut controls)
        .enumerate()
        .map(|(index, (packet, control))| match peers {
            Some(peers) => MMsgHdr::new_with_addr(&peers[index], std::slice::from_ref(packet), control),
            None => MMsgHdr::new(std::slice::from_ref(packet), control),
        })
        .collect();
    let mut rest = messages.as_mut_slice();
    while !rest.is_empty() {
        let sent = match sendmmsg(socket, rest, SendFlags::empty()) {
            Ok(sent) => sent,
            Err(rustix::io::Errno::INTR) => 0,
            // An earlier datagram was refused; the error is reported once, and this one was not
            // sent.
            Err(rustix::io::Errno::CONNREFUSED) => 1,
            Err(error) => return Err(error.into()),
        };
        rest = &mut rest[sent..];
    }
    Ok(())
}
