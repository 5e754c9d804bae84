//! The responder: one request's bytes in, one answer's bytes out.

use std::{net::IpAddr, sync::Arc};

use hickory_proto::op::ResponseCode;

use super::{
    answer::find,
    encode::{UDP_LIMIT, Written, write, write_bad_version, write_bare},
    question::{PLAIN_UDP_LIMIT, Request, read},
    rotation::Rotation,
};
use crate::{
    catalog::Cell,
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
        let Some(written) = self.write_answer(packet, context, rotation, out) else {
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
        packet: &[u8],
        context: Context,
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> Option<Written> {
        let (header, question, edns) = match read(packet) {
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
        let snapshot = self.cell.load();
        let answer = find(&snapshot, &question, self.version.as_deref(), context.asked, rotation);
        Some(write(header, &question, edns, &answer, limit, out))
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
