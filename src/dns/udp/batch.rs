//! A socket on one address: requests and responses move in batches, so that many share the cost of
//! a system call.
//!
//! Receiving takes the packets that have arrived and does not wait for more (`MSG_WAITFORONE`), so
//! a single packet is answered as fast as with a plain `recv`. Adjacent responses of one size to
//! one peer (typically a forwarder) go out as one buffer that the kernel splits (UDP segmentation
//! offload). All others go out with one `sendmmsg`.

use std::{
    array,
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    ops::Range,
    os::fd::AsRawFd,
    sync::Arc,
};

use arrayvec::ArrayVec;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrLike, recvmmsg, sendmsg};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg, sendto};

use super::worker::{REQUEST_BUFFER, Worker, is_answerable, is_transient};
use crate::{
    dns::{
        exchange::Context,
        responder::{BATCH, Responder, Scratch},
        rotation::Rotation,
    },
    telemetry::Transport,
};

/// Minimum number of responses for a segmented send.
const SEGMENTS: usize = 4;

/// A socket address of the socket's family.
pub(super) trait Peer: SockaddrLike + Copy + PartialEq + Into<SocketAddr> {}

impl<P: SockaddrLike + Copy + PartialEq + Into<SocketAddr>> Peer for P {}

pub(super) struct BatchWorker<P> {
    socket: Arc<UdpSocket>,
    local_addr: IpAddr,
    responder: Arc<Responder>,
    rotation: Rotation,
    scratch: Box<Scratch>,
    headers: MultiHeaders<P>,
    requests: Box<[[u8; REQUEST_BUFFER]; BATCH]>,
    answers: [Vec<u8>; BATCH],
    /// Disabled once the kernel has rejected a segmented send.
    segmentation: bool,
}

impl<P: Peer> BatchWorker<P> {
    pub(super) fn new(socket: UdpSocket, local: SocketAddr, responder: Arc<Responder>) -> Self {
        Self {
            socket: Arc::new(socket),
            local_addr: local.ip(),
            responder,
            rotation: Rotation::default(),
            scratch: Box::default(),
            headers: MultiHeaders::preallocate(BATCH, None),
            requests: Box::new([[0; REQUEST_BUFFER]; BATCH]),
            answers: array::from_fn(|_| Vec::with_capacity(REQUEST_BUFFER)),
            segmentation: true,
        }
    }

    /// Receives at least one request. Returns the length and sender of the packet in each buffer.
    fn receive(&mut self) -> io::Result<ArrayVec<(usize, Option<P>), BATCH>> {
        let mut parts = self.requests.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let fd = self.socket.as_raw_fd();
        let received = recvmmsg(fd, &mut self.headers, parts.iter_mut(), MsgFlags::MSG_WAITFORONE, None)?;
        Ok(received.map(|message| (message.bytes, message.address)).collect())
    }

    fn send(&mut self, peers: &[Option<P>]) {
        debug_assert!(peers.len() <= self.answers.len(), "a batch has one answer per peer");
        let mut singles: ArrayVec<usize, BATCH> = ArrayVec::new();
        let mut at = 0;
        while at < peers.len() {
            let run = self.run(peers, at);
            at = run.end;
            let segmented =
                self.segmentation && run.len() >= SEGMENTS && self.send_segmented(peers, run.clone());
            if !segmented {
                singles.extend(run.filter(|at| self.answers.get(*at).is_some_and(|a| !a.is_empty())));
            }
        }
        self.send_singles(peers, &singles);
    }

    /// The run of responses from `start` on that have one peer and one size. Never empty.
    fn run(&self, peers: &[Option<P>], start: usize) -> Range<usize> {
        let same = |at: &usize| {
            peers.get(*at) == peers.get(start)
                && self.answers.get(*at).map(Vec::len) == self.answers.get(start).map(Vec::len)
        };
        let more = (start + 1..peers.len()).take_while(same).count();
        start..start + 1 + more
    }

    /// Sends a run of responses as one buffer that the kernel splits. Returns whether it was sent.
    fn send_segmented(&mut self, peers: &[Option<P>], run: Range<usize>) -> bool {
        debug_assert!(run.end <= self.answers.len(), "a run is within the batch");
        let answers = self.answers.get(run.clone()).unwrap_or_default();
        let size = answers.first().map_or(0, Vec::len);
        let (Some(Some(peer)), Ok(size @ 1..)) = (peers.get(run.start), u16::try_from(size)) else {
            return false;
        };
        let parts: ArrayVec<IoSlice<'_>, BATCH> = answers.iter().map(|answer| IoSlice::new(answer)).collect();
        let control = [ControlMessage::UdpGsoSegments(&size)];
        let sent = sendmsg(self.socket.as_raw_fd(), &parts, &control, MsgFlags::empty(), Some(peer));
        if let Err(error) = sent
            && !is_transient(&error.into())
        {
            self.segmentation = false;
        }
        sent.is_ok()
    }

    /// Sends one datagram per response. Failed sends are lost like any datagram.
    fn send_singles(&self, peers: &[Option<P>], which: &[usize]) {
        let mut addresses: ArrayVec<SocketAddrAny, BATCH> = ArrayVec::new();
        let mut parts: ArrayVec<[IoSlice<'_>; 1], BATCH> = ArrayVec::new();
        for at in which {
            if let (Some(Some(peer)), Some(answer)) = (peers.get(*at), self.answers.get(*at)) {
                addresses.push((*peer).into().into());
                parts.push([IoSlice::new(answer)]);
            }
        }
        let mut control: [SendAncillaryBuffer<'_, '_, '_>; BATCH] =
            array::from_fn(|_| SendAncillaryBuffer::default());
        let mut messages: ArrayVec<MMsgHdr<'_>, BATCH> = addresses
            .iter()
            .zip(&parts)
            .zip(&mut control)
            .map(|((address, part), control)| MMsgHdr::new_with_addr(address, part, control))
            .collect();
        let mut rest = messages.as_mut_slice();
        while !rest.is_empty() {
            // An error concerns the first message: skip it and send the others.
            let done = sendmmsg(&self.socket, rest, SendFlags::empty()).unwrap_or(1).max(1);
            debug_assert!(done <= rest.len(), "no more messages are sent than given");
            rest = rest.get_mut(done..).unwrap_or_default();
        }
    }
}

/// Sends a deferred reply. A failed send is lost like any datagram.
fn send_deferred(socket: &UdpSocket, peer: SocketAddr, answer: &[u8]) {
    let _ = sendto(socket, answer, SendFlags::DONTWAIT, &peer);
}

impl<P: Peer> Worker for BatchWorker<P> {
    fn step(&mut self) -> io::Result<()> {
        let received = self.receive()?;
        let mut packets: ArrayVec<&[u8], BATCH> = ArrayVec::new();
        let mut contexts: ArrayVec<Context, BATCH> = ArrayVec::new();
        let mut peers: ArrayVec<Option<P>, BATCH> = ArrayVec::new();
        for ((length, peer), request) in received.into_iter().zip(self.requests.iter()) {
            debug_assert!(length <= request.len(), "the kernel writes no more than the buffer holds");
            packets.push(request.get(..length).unwrap_or_default());
            // A packet without a sender is processed, but never answered.
            let client = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.into().ip());
            contexts.push(Context { transport: Transport::Udp, local_addr: Some(self.local_addr), client });
            peers.push(peer.filter(|peer| is_answerable((*peer).into())));
        }
        let deferred = self.responder.respond_all(
            &packets,
            &contexts,
            &mut self.scratch,
            &mut self.rotation,
            &mut self.answers,
        );
        for (at, pending) in deferred {
            debug_assert!(at < peers.len(), "indices of deferred requests are those of packets");
            if let Some(Some(peer)) = peers.get(at) {
                let (socket, peer) = (Arc::clone(&self.socket), (*peer).into());
                pending.send(Box::new(move |answer| send_deferred(&socket, peer, answer)));
            }
        }
        drop(packets);
        self.send(&peers);
        Ok(())
    }
}
