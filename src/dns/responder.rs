//! The responder: requests' bytes in, answers' bytes out.

use std::{net::IpAddr, sync::Arc};

use arrayvec::ArrayVec;
use hickory_proto::op::ResponseCode;

use super::{
    answer::{Facts, find},
    encode::{UDP_LIMIT, Written, write, write_bad_version, write_bare},
    question::{NameRoom, PLAIN_UDP_LIMIT, Request, read},
    rotation::Rotation,
};
use crate::{
    catalog::{Cell, Lookup, View},
    telemetry::{Metrics, Outcome, Transport},
};

/// Answers requests from the current snapshot; every transport feeds it.
#[derive(Debug)]
pub struct Responder {
    cell: Arc<Cell>,
    metrics: Arc<Metrics>,
    version: Option<String>,
}

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// By which transport: decides how long the answer may be.
    pub transport: Transport,
    /// The address that was asked, where it is known.
    pub asked: Option<IpAddr>,
}

/// Most requests in one batch.
pub(super) const BATCH: usize = 32;

/// What a batch of answers needs while it is made; kept by the caller, so that nothing is allocated.
#[derive(Debug)]
pub(super) struct Scratch {
    names: [NameRoom; BATCH],
}

impl Default for Scratch {
    fn default() -> Self {
        Self { names: [[0; 256]; BATCH] }
    }
}

impl Responder {
    /// Largest answer over TCP (RFC 1035 section 4.2.2).
    pub const TCP_LIMIT: usize = 65_535;

    /// Makes a responder. `version` is what `version.bind` is answered with; `None`: REFUSED.
    pub fn new(cell: Arc<Cell>, metrics: Arc<Metrics>, version: Option<String>) -> Self {
        Self { cell, metrics, version }
    }

    /// The metrics that it counts in.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Answers `packet` into `out`, whose old content is dropped; returns whether there is anything to send.
    ///
    /// Never fails and never waits: bad packets get an error code or silence.
    pub fn respond(
        &self,
        packet: &[u8],
        context: Context,
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> bool {
        let mut room = [0; 256];
        let request = read(packet, &mut room);
        let snapshot = self.cell.load();
        let view = snapshot.view();
        let lookup = look_up(&view, &request);
        self.answer(&request, lookup, context, rotation, out)
    }

    /// Answers a batch, at most [`BATCH`]: the answer to `packets[n]` goes into `answers[n]`, which is left empty if there
    /// is nothing to send.
    ///
    /// Reads all, then looks all up, then writes all: what one look-up waits for from memory, the others' need not wait for.
    pub(super) fn respond_all(
        &self,
        packets: &[&[u8]],
        context: Context,
        scratch: &mut Scratch,
        rotation: &mut Rotation,
        answers: &mut [Vec<u8>],
    ) {
        let rooms = scratch.names.iter_mut();
        let requests: ArrayVec<Request<'_>, BATCH> =
            packets.iter().zip(rooms).map(|(packet, room)| read(packet, room)).collect();
        let snapshot = self.cell.load();
        let view = snapshot.view();
        let lookups: ArrayVec<Lookup<'_>, BATCH> =
            requests.iter().map(|request| look_up(&view, request)).collect();
        for ((request, lookup), answer) in requests.iter().zip(lookups).zip(answers) {
            if !self.answer(request, lookup, context, rotation, answer) {
                answer.clear();
            }
        }
    }

    /// Writes the answer to one request and counts it.
    fn answer(
        &self,
        request: &Request<'_>,
        lookup: Lookup<'_>,
        context: Context,
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(written) = self.write_answer(request, lookup, context, rotation, out) else {
            self.metrics.count(context.transport, Outcome::Silence);
            return false;
        };
        self.metrics.count(context.transport, outcome(written.code));
        if written.truncated {
            self.metrics.truncated();
        }
        true
    }

    fn write_answer(
        &self,
        request: &Request<'_>,
        lookup: Lookup<'_>,
        context: Context,
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> Option<Written> {
        let (header, question, edns) = match *request {
            Request::Query { header, question, edns } => (header, question, edns),
            Request::OtherOpcode(header) => return Some(write_bare(header, ResponseCode::NotImp, out)),
            Request::Malformed(header) => return Some(write_bare(header, ResponseCode::FormErr, out)),
            Request::Noise => return None,
        };
        let limit = match (context.transport, edns) {
            (Transport::Tcp, _) => Self::TCP_LIMIT,
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_limit.min(UDP_LIMIT)),
            (Transport::Udp, None) => usize::from(PLAIN_UDP_LIMIT),
        };
        if let Some(edns) = edns
            && edns.version != 0
        {
            return Some(write_bad_version(header, &question, edns, out));
        }
        let facts = Facts { version: self.version.as_deref(), asked: context.asked };
        let answer = find(&question, lookup, facts, rotation);
        Some(write(header, &question, edns, &answer, limit, out))
    }
}

fn look_up<'v>(view: &'v View<'_>, request: &Request<'_>) -> Lookup<'v> {
    match request {
        Request::Query { question, .. } => view.lookup(question.name),
        _ => Lookup::Elsewhere,
    }
}

/// How a response code is counted; these are all that [`Responder`] gives.
fn outcome(code: ResponseCode) -> Outcome {
    match code {
        ResponseCode::NXDomain => Outcome::NxDomain,
        ResponseCode::ServFail => Outcome::ServFail,
        ResponseCode::FormErr => Outcome::FormErr,
        ResponseCode::NotImp => Outcome::NotImp,
        ResponseCode::Refused => Outcome::Refused,
        ResponseCode::BADVERS => Outcome::BadVers,
        _ => Outcome::NoError,
    }
}
