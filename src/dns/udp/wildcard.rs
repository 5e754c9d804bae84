//! A socket on a wildcard address: one packet at a time, each answered from the address that it was
//! sent to.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    sync::Arc,
};

use nix::{
    cmsg_space,
    libc::{in_pktinfo, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmsg, sendmmsg,
        sendmsg,
    },
};

use super::worker::{REQUEST_BUFFER, Worker, is_answerable};
use crate::{
    dns::{
        exchange::Context,
        responder::{Responder, Response},
        rotation::Rotation,
    },
    telemetry::Transport,
};

pub(super) struct WildcardWorker {
    socket: Arc<UdpSocket>,
    responder: Arc<Responder>,
    rotation: Rotation,
    request: Box<[u8; REQUEST_BUFFER]>,
    answer: Vec<u8>,
    control: Vec<u8>,
    /// The header of one response, with room for its source address.
    header: MultiHeaders<SockaddrStorage>,
}

impl WildcardWorker {
    pub(super) fn new(socket: UdpSocket, local: SocketAddr, responder: Arc<Responder>) -> Self {
        // Exactly as large as its one control message: the kernel rejects what follows as another.
        let source = if local.is_ipv4() { cmsg_space!(in_pktinfo) } else { cmsg_space!(in6_pktinfo) };
        Self {
            socket: Arc::new(socket),
            responder,
            rotation: Rotation::default(),
            request: Box::new([0; REQUEST_BUFFER]),
            answer: Vec::with_capacity(REQUEST_BUFFER),
            control: cmsg_space!(in_pktinfo, in6_pktinfo),
            header: MultiHeaders::preallocate(1, Some(source)),
        }
    }

    /// Sends the response from the address that the request was sent to. A failed send is lost like
    /// any datagram.
    fn send(&mut self, client: SocketAddr, local_addr: Option<LocalAddr>) {
        let Some(local_addr) = local_addr else {
            return send(&self.socket, client, None, &self.answer, MsgFlags::empty());
        };
        // `sendmsg` would allocate its control message.
        let (parts, client) = ([[IoSlice::new(&self.answer)]], [Some(client.into())]);
        let control = [local_addr.control()];
        let fd = self.socket.as_raw_fd();
        let _ = sendmmsg(fd, &mut self.header, &parts, client, control, MsgFlags::empty());
    }
}

impl Worker for WildcardWorker {
    fn step(&mut self) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        let mut parts = [IoSliceMut::new(self.request.as_mut_slice())];
        let received =
            recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut self.control), MsgFlags::empty())?;
        let (length, peer) = (received.bytes, received.address);
        let local_addr = received.cmsgs()?.find_map(LocalAddr::from_control);
        let Some(client) = peer.as_ref().and_then(socket_addr).filter(|client| is_answerable(*client)) else {
            return Ok(());
        };
        debug_assert!(length <= self.request.len(), "the kernel writes no more than the buffer holds");
        let packet = self.request.get(..length).unwrap_or_default();
        let context = Context {
            transport: Transport::Udp,
            local_addr: local_addr.as_ref().map(LocalAddr::address),
            client: client.ip(),
        };
        match self.responder.respond(packet, context, &mut self.rotation, &mut self.answer) {
            Response::Ready => self.send(client, local_addr),
            Response::Dropped => {}
            Response::Deferred(pending) => {
                let socket = Arc::clone(&self.socket);
                pending.send(Box::new(move |answer| {
                    send(&socket, client, local_addr, answer, MsgFlags::MSG_DONTWAIT);
                }));
            }
        }
        Ok(())
    }
}

/// Sends a response from the address that the request was sent to. A failed send is lost like any
/// datagram.
fn send(
    socket: &UdpSocket,
    client: SocketAddr,
    local_addr: Option<LocalAddr>,
    answer: &[u8],
    flags: MsgFlags,
) {
    let parts = [IoSlice::new(answer)];
    let control = local_addr.as_ref().map(LocalAddr::control);
    let client = SockaddrStorage::from(client);
    let _ = sendmsg(socket.as_raw_fd(), &parts, control.as_slice(), flags, Some(&client));
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::from(*address));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::from(*address)))
}

/// The address that a packet was sent to, in the form that sets the response's source.
#[derive(Clone, Copy)]
enum LocalAddr {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl LocalAddr {
    fn from_control(message: ControlMessageOwned) -> Option<Self> {
        match message {
            // Sets only the source address. The routing table selects the interface.
            ControlMessageOwned::Ipv4PacketInfo(mut info) => {
                info.ipi_ifindex = 0;
                info.ipi_spec_dst = info.ipi_addr;
                Some(Self::V4(info))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(Self::V6(info)),
            _ => None,
        }
    }

    fn control(&self) -> ControlMessage<'_> {
        match self {
            Self::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Self::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }
    }

    fn address(&self) -> IpAddr {
        match self {
            Self::V4(info) => IpAddr::V4(u32::from_be(info.ipi_addr.s_addr).into()),
            Self::V6(info) => IpAddr::V6(info.ipi6_addr.s6_addr.into()),
        }
    }
}
