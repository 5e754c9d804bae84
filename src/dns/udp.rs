//! UDP: worker threads, each with a socket of its own.
//!
//! A worker is a plain thread in a plain loop, since between receiving and sending nothing waits. On a wildcard address the
//! kernel says which address was asked, and the answer goes out from that one: clients drop answers from any other.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc::{in_pktinfo, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

use super::{
    responder::{Context, Responder},
    rotation::Rotation,
};
use crate::telemetry::Transport;

/// How long a worker may take to notice that it shall stop.
const STOP_CHECK: Duration = Duration::from_millis(200);

/// Longest request that is read whole; nothing that can be answered is longer.
const REQUEST_ROOM: usize = 4096;

/// Receive buffer to ask the kernel for: bursts wait there.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Binds `workers` sockets to one address; the kernel spreads clients over them.
///
/// # Errors
/// Those of the system's calls, such as an address in use or a port that needs privileges.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<UdpSocket>> {
    let mut address = address;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_port(workers > 1)?;
        // A smaller buffer than asked for is no reason not to serve.
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
        address = socket.local_addr()?; // port 0: the others take the port that the first one got
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Starts a worker on `socket`; it ends soon after `stop` is set.
///
/// # Errors
/// When the thread cannot be started or the socket has no address.
pub fn spawn(
    socket: UdpSocket,
    responder: Arc<Responder>,
    stop: Arc<AtomicBool>,
) -> io::Result<JoinHandle<()>> {
    let local = socket.local_addr()?;
    std::thread::Builder::new().name(format!("udp {local}")).spawn(move || {
        let mut worker = Worker { socket, local, responder, rotation: Rotation::default() };
        let mut failures = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            match worker.step() {
                Ok(()) => failures = 0,
                // One line for a run of failures: a broken socket must not fill the log.
                Err(error) => {
                    if failures == 0 {
                        warn!(address = %local, "UDP: {error}");
                    }
                    failures = failures.saturating_add(1);
                    std::thread::park_timeout(STOP_CHECK.min(Duration::from_millis(u64::from(failures))));
                }
            }
        }
    })
}

struct Worker {
    socket: UdpSocket,
    local: SocketAddr,
    responder: Arc<Responder>,
    rotation: Rotation,
}

impl Worker {
    /// Receives and answers for a while; returns to let the caller look whether to stop.
    fn step(&mut self) -> io::Result<()> {
        let result =
            if self.local.ip().is_unspecified() { self.step_wildcard() } else { self.step_one_address() };
        match result {
            // Nothing came, or a signal did. ECONNREFUSED is the news that an earlier answer reached nobody.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                        | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    fn step_one_address(&mut self) -> io::Result<()> {
        let mut request = [0; REQUEST_ROOM];
        let mut answer = Vec::with_capacity(REQUEST_ROOM);
        let context = Context { transport: Transport::Udp, asked: Some(self.local.ip()) };
        for _ in 0..BETWEEN_STOP_CHECKS {
            let (length, client) = self.socket.recv_from(&mut request)?;
            let packet = request.get(..length).unwrap_or_default();
            if may_be_answered(client)
                && self.responder.respond(packet, context, &mut self.rotation, &mut answer)
            {
                // An answer that cannot be sent is lost, as any datagram may be; the client asks again.
                let _ = self.socket.send_to(&answer, client);
            }
        }
        Ok(())
    }

    fn step_wildcard(&mut self) -> io::Result<()> {
        let mut request = [0; REQUEST_ROOM];
        let mut answer = Vec::with_capacity(REQUEST_ROOM);
        let mut control = cmsg_space!(in_pktinfo, in6_pktinfo);
        for _ in 0..BETWEEN_STOP_CHECKS {
            let mut parts = [IoSliceMut::new(&mut request)];
            let received = recvmsg::<SockaddrStorage>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::empty(),
            )?;
            let length = received.bytes;
            let Some(client) = received.address else { continue };
            let asked = received.cmsgs()?.find_map(Asked::from_control);
            let packet = request.get(..length).unwrap_or_default();
            let context = Context { transport: Transport::Udp, asked: asked.map(|asked| asked.address()) };
            let known = socket_addr(&client).is_none_or(may_be_answered);
            if known && self.responder.respond(packet, context, &mut self.rotation, &mut answer) {
                let parts = [IoSlice::new(&answer)];
                let control: &[ControlMessage<'_>] = match &asked {
                    Some(Asked::V4(info)) => &[ControlMessage::Ipv4PacketInfo(info)],
                    Some(Asked::V6(info)) => &[ControlMessage::Ipv6PacketInfo(info)],
                    None => &[],
                };
                let fd = self.socket.as_raw_fd();
                let sent: Result<usize, Errno> =
                    sendmsg(fd, &parts, control, MsgFlags::empty(), Some(&client));
                let _ = sent;
            }
        }
        Ok(())
    }
}

/// How many packets are answered before a busy worker looks whether to stop.
const BETWEEN_STOP_CHECKS: usize = 1024;

/// Port 0 is nobody's; answering it would only make errors.
fn may_be_answered(client: SocketAddr) -> bool {
    client.port() != 0
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|a| SocketAddr::from((a.ip(), a.port())));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| SocketAddr::from((a.ip(), a.port()))))
}

/// The address that a packet came to, in the form in which the answer's source is given.
#[derive(Clone, Copy)]
enum Asked {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl Asked {
    fn from_control(message: ControlMessageOwned) -> Option<Self> {
        match message {
            // The interface is left to the routing table; only the source address is ours to say.
            ControlMessageOwned::Ipv4PacketInfo(mut info) => {
                info.ipi_ifindex = 0;
                info.ipi_spec_dst = info.ipi_addr;
                Some(Self::V4(info))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(Self::V6(info)),
            _ => None,
        }
    }

    fn address(&self) -> IpAddr {
        match self {
            Self::V4(info) => IpAddr::V4(u32::from_be(info.ipi_addr.s_addr).into()),
            Self::V6(info) => IpAddr::V6(info.ipi6_addr.s6_addr.into()),
        }
    }
}
