//! UDP: worker threads, each with a socket of its own.
//!
//! A worker is a plain thread that runs a loop: between receiving and sending, nothing waits. A
//! socket on one address is served in batches ([`batch`]). On a wildcard address the kernel reports
//! which address each packet was sent to, and the response goes out from there, one packet at a
//! time ([`wildcard`]): clients drop responses that come from any other address.
//!
//! ```text
//!  bind ─▶ spawn ─┬─▶ BatchWorker ────┐
//!                 └─▶ WildcardWorker ─┴─▶ Responder
//! ```
//!
//! Three crates make system calls, so that muster needs no `unsafe` of its own. socket2 sets
//! options before binding. nix receives and sends segmented buffers: rustix has neither `recvmmsg`
//! nor control messages for packet info and segmentation. rustix does `sendmmsg`: it takes messages
//! from the stack, each with its own control data, while nix takes preallocated headers and one set
//! of control data for all.
//!
//! Rejected: io_uring and batches of more than 32 packets (no gain in trials), and one socket for
//! all workers (they would wait for each other in the kernel).

mod batch;
mod socket;
mod wildcard;
mod worker;

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
    sys::socket::{SockaddrIn, SockaddrIn6},
    unistd::Pid,
};
use tracing::warn;

pub use self::socket::bind;
use self::{
    batch::BatchWorker,
    socket::STOP_CHECK,
    wildcard::WildcardWorker,
    worker::{Worker, is_transient},
};
use super::responder::Responder;

/// Starts a worker on `socket`, pinned to `cpu` if that is possible; otherwise it logs a warning
/// and runs unpinned. Once `stop` is set, the worker ends soon, after answering what it has
/// received.
///
/// # Errors
/// The thread cannot be started, or the socket has no address.
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
            serve(&stop, local, WildcardWorker::new(socket, local, responder));
        } else if local.is_ipv4() {
            serve(&stop, local, BatchWorker::<SockaddrIn>::new(socket, local, responder));
        } else {
            serve(&stop, local, BatchWorker::<SockaddrIn6>::new(socket, local, responder));
        }
    })
}

/// Pins the calling thread to one CPU.
fn pin(cpu: usize) -> nix::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)
}

fn serve(stop: &AtomicBool, local: SocketAddr, mut worker: impl Worker) {
    let mut failures = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        match worker.step() {
            Ok(()) => failures = 0,
            Err(error) if is_transient(&error) => {}
            Err(error) => {
                // One line for a run of failures, so that a broken socket does not fill the log.
                if failures == 0 {
                    warn!(address = %local, "UDP: {error}");
                }
                failures = failures.saturating_add(1);
                std::thread::park_timeout(STOP_CHECK.min(Duration::from_millis(failures.into())));
            }
        }
    }
}

#[cfg(test)]
mod tests;
