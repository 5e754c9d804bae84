//! UDP: worker threads, each with a socket of its own.
//!
//! A worker is a plain thread in a plain loop, since between receiving and sending nothing waits. A socket on one address
//! is served in batches ([`batch`]). On a wildcard address the kernel says which address was asked, and each
//! answer goes out from that one, packet by packet ([`wildcard`]): clients drop answers from any other.
//!
//! Rejected: io_uring and batches over 32 (no gain in trials), and one socket for all workers (they would wait for each
//! other in the kernel).

mod batch;
mod wildcard;

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::socket::{SockaddrIn, SockaddrIn6, setsockopt, sockopt},
    unistd::Pid,
};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

use super::responder::Responder;

/// How long a worker without work may take to notice that it shall stop.
const STOP_CHECK: Duration = Duration::from_millis(200);

/// Longest request that is read whole; nothing that can be answered is longer.
const REQUEST_ROOM: usize = 2048;

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

/// Starts a worker on `socket`; it ends soon after `stop` is set, having answered what it has received. `cpu` is the one
/// that it is pinned to; a CPU that cannot be had is warned about and done without.
///
/// # Errors
/// When the thread cannot be started or the socket has no address.
pub fn spawn(
    socket: UdpSocket,
    responder: Arc<Responder>,
    stop: Arc<AtomicBool>,
    cpu: Option<usize>,
) -> io::Result<JoinHandle<()>> {
    let local = socket.local_addr()?;
    std::thread::Builder::new().name(format!("udp {local}")).spawn(move || {
        if let Some(cpu) = cpu
            && let Err(error) = pin(cpu)
        {
            warn!(address = %local, cpu, "cannot pin a UDP worker to the CPU: {error}");
        }
        if local.ip().is_unspecified() {
            serve(&stop, local, wildcard::Worker::new(socket, responder));
        } else if local.is_ipv4() {
            serve(&stop, local, batch::Worker::<SockaddrIn>::new(socket, local, responder));
        } else {
            serve(&stop, local, batch::Worker::<SockaddrIn6>::new(socket, local, responder));
        }
    })
}

/// Lets the calling thread run on one CPU only.
fn pin(cpu: usize) -> nix::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)
}

/// A worker's one verb.
trait Step {
    /// Waits for requests, and answers those that are there.
    ///
    /// # Errors
    /// Those of receiving. What cannot be sent is lost, as any datagram may be; the client asks again.
    fn step(&mut self) -> io::Result<()>;
}

fn serve(stop: &AtomicBool, local: SocketAddr, mut worker: impl Step) {
    let mut failures = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        match worker.step() {
            Ok(()) => failures = 0,
            Err(error) if is_harmless(&error) => {}
            Err(error) => {
                // One line for a run of failures: a broken socket must not fill the log.
                if failures == 0 {
                    warn!(address = %local, "UDP: {error}");
                }
                failures = failures.saturating_add(1);
                std::thread::park_timeout(STOP_CHECK.min(Duration::from_millis(failures.into())));
            }
        }
    }
}

/// Nothing came, or a signal did. ECONNREFUSED is the news that an earlier answer reached nobody.
fn is_harmless(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted | ConnectionRefused)
}

/// Port 0 is nobody's; answering it would only make errors.
fn may_be_answered(client: SocketAddr) -> bool {
    client.port() != 0
}
