//! The responder: requests' bytes in, answers' bytes out.

use std::{net::IpAddr, sync::Arc};

use arrayvec::ArrayVec;
use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, RecordType},
};

use super::{
    answer::{Facts, find},
    chase,
    encode::{UDP_LIMIT, Written, write, write_bad_version, write_bare},
    question::{Edns, HEADER, NameRoom, PLAIN_UDP_LIMIT, Request, read},
    rotation::Rotation,
};
use crate::{
    catalog::{Cell, Lookup, View},
    forward::{Ask, Forwarder, Reply, Verdict},
    telemetry::{Metrics, Outcome, Transport},
};

/// Answers requests from the current snapshot; every transport feeds it.
#[derive(Debug)]
pub struct Responder {
    cell: Arc<Cell>,
    metrics: Arc<Metrics>,
    version: Option<String>,
    forwarder: Option<Arc<Forwarder>>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Response {
    /// The answer is there, to be sent.
    Ready,
    /// There is nothing to send.
    Silence,
    /// Somebody else must be asked: [`Responder::hand_off`], with what has been written so far.
    Later,
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
        Self { cell, metrics, version, forwarder: None }
    }

    /// Has other names forwarded, which are REFUSED without it.
    pub fn with_forwarder(self, forwarder: Arc<Forwarder>) -> Self {
        Self { forwarder: Some(forwarder), ..self }
    }

    /// The metrics that it counts in.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Answers `packet` into `out`, whose old content is dropped.
    ///
    /// Never fails and never waits: bad packets get an error code or silence.
    pub fn respond(
        &self,
        packet: &[u8],
        context: Context,
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> Response {
        let mut room = [0; 256];
        let request = read(packet, &mut room);
        let snapshot = self.cell.load();
        let view = snapshot.view();
        let lookup = look_up(&view, &request);
        self.answer(&request, lookup, context, rotation, out)
    }

    /// Answers a batch, at most [`BATCH`]: the answer to `packets[n]` goes into `answers[n]`, which is left empty if there
    /// is nothing to send. Returns which packets are to be handed off with what is written for them so far.
    ///
    /// Reads all, then looks all up, then writes all: what one look-up waits for from memory, the others' need not wait for.
    pub(super) fn respond_all(
        &self,
        packets: &[&[u8]],
        context: Context,
        scratch: &mut Scratch,
        rotation: &mut Rotation,
        answers: &mut [Vec<u8>],
    ) -> ArrayVec<usize, BATCH> {
        let rooms = scratch.names.iter_mut();
        let requests: ArrayVec<Request<'_>, BATCH> =
            packets.iter().zip(rooms).map(|(packet, room)| read(packet, room)).collect();
        let snapshot = self.cell.load();
        let view = snapshot.view();
        let lookups: ArrayVec<Lookup<'_>, BATCH> =
            requests.iter().map(|request| look_up(&view, request)).collect();
        let mut later = ArrayVec::new();
        for (at, ((request, lookup), answer)) in requests.iter().zip(lookups).zip(answers).enumerate() {
            match self.answer(request, lookup, context, rotation, answer) {
                Response::Ready => {}
                Response::Silence => answer.clear(),
                Response::Later => later.push(at),
            }
        }
        later
    }

    /// Has somebody else asked for the answer to `packet`, for which there was [`Response::Later`] and `so_far` in the buffer; it
    /// goes out by `reply`.
    ///
    /// Never waits; what cannot be taken on is answered with SERVFAIL at once.
    pub fn hand_off(&self, packet: &[u8], so_far: &[u8], context: Context, reply: Reply) {
        let mut room = [0; 256];
        let request = read(packet, &mut room);
        let (Some(forwarder), Some(ask)) = (&self.forwarder, ask(&request, context)) else { return };
        let (metrics, transport) = (Arc::clone(&self.metrics), context.transport);
        let counted = move |answer: &[u8]| {
            let flags = answer.get(2..4).and_then(|flags| flags.first_chunk()).copied().unwrap_or([0; 2]);
            metrics.count(transport, outcome(ResponseCode::from(0, flags[1] & 0x0f)));
            if flags[0] & 0x02 != 0 {
                metrics.truncated();
            }
            reply(answer);
        };
        let Some(target) = chase::target(so_far, ask.question.len()) else {
            return forwarder.hand_off(&ask, packet, Box::new(counted));
        };
        let [type0, type1] = ask.qtype.to_be_bytes();
        let question = [target, &[type0, type1, 0, 1]].concat();
        let of_target = Ask { question: &question, name: target, limit: Self::TCP_LIMIT, ..ask };
        let (own, limit) = (so_far.to_vec(), ask.limit);
        let join = move |chased: &[u8]| counted(&chase::join(&own, chased, limit));
        forwarder.hand_off(&of_target, packet, Box::new(join));
    }

    /// Writes the answer to one request and counts it.
    fn answer(
        &self,
        request: &Request<'_>,
        lookup: Lookup<'_>,
        context: Context,
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> Response {
        if let (Lookup::Elsewhere, Some(forwarder)) = (lookup, self.active_forwarder())
            && let Some(ask) = ask(request, context)
        {
            match forwarder.answer(&ask, out) {
                Verdict::Answered(written) => {
                    self.count(ResponseCode::from(0, written.code), written.truncated, context);
                    return Response::Ready;
                }
                Verdict::Ask => {
                    out.clear();
                    return Response::Later;
                }
                Verdict::Refused => {}
            }
        }
        let Some(written) = self.write_answer(request, lookup, context, rotation, out) else {
            self.metrics.count(context.transport, Outcome::Silence);
            return Response::Silence;
        };
        if self.active_forwarder().is_some()
            && let Some(flags) = out.get_mut(3)
        {
            *flags |= 0x80; // RA: "set or cleared in a response" by what the server can do (RFC 1035 section 4.1.1)
            if self.leads_out(request, context, out) {
                return Response::Later;
            }
        }
        self.count(written.code, written.truncated, context);
        Response::Ready
    }

    /// Whether `own`, our answer, is an alias of what somebody else must be asked for, and the client wants that.
    fn leads_out(&self, request: &Request<'_>, context: Context, own: &[u8]) -> bool {
        let (Some(forwarder), Some(ask)) = (&self.forwarder, ask(request, context)) else { return false };
        let cname = u16::from(RecordType::CNAME);
        let wants = ask.recursion_desired && ask.qtype != cname && ask.qtype != u16::from(RecordType::ANY);
        let at = HEADER + ask.question.len() + 2;
        // One answer, and that an alias where it was not asked for one.
        if !wants || own.get(6..8) != Some(&[0, 1]) || own.get(at..at + 2) != Some(&cname.to_be_bytes()) {
            return false;
        }
        let Some(target) = chase::target(own, ask.question.len()) else { return false };
        let snapshot = self.cell.load();
        let view = snapshot.view();
        matches!(view.lookup(target), Lookup::Elsewhere) && forwarder.covers(target)
    }

    /// The forwarder, if anything is forwarded.
    fn active_forwarder(&self) -> Option<&Arc<Forwarder>> {
        self.forwarder.as_ref().filter(|forwarder| forwarder.is_active())
    }

    fn count(&self, code: ResponseCode, truncated: bool, context: Context) {
        self.metrics.count(context.transport, outcome(code));
        if truncated {
            self.metrics.truncated();
        }
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
        let limit = limit(context.transport, edns);
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

/// Longest answer to a client.
fn limit(transport: Transport, edns: Option<Edns>) -> usize {
    match (transport, edns) {
        (Transport::Tcp, _) => Responder::TCP_LIMIT,
        (Transport::Udp, Some(edns)) => usize::from(edns.udp_limit.min(UDP_LIMIT)),
        (Transport::Udp, None) => usize::from(PLAIN_UDP_LIMIT),
    }
}

/// The question as it may be forwarded; `None` for what is between a client and its server only: transfers, transactions'
/// keys and signatures (RFC 2930, RFC 8945), other classes.
fn ask<'a>(request: &Request<'a>, context: Context) -> Option<Ask<'a>> {
    let Request::Query { header, question, edns } = *request else { return None };
    let passes = DNSClass::from(question.class) == DNSClass::IN
        && !matches!(question.qtype, 249..=252)
        && question.qtype != u16::from(RecordType::OPT)
        && edns.is_none_or(|edns| edns.version == 0);
    passes.then(|| Ask {
        id: header.id,
        question: question.wire,
        name: question.name,
        qtype: question.qtype,
        recursion_desired: header.recursion_desired,
        authentic_data: header.authentic_data,
        checking_disabled: header.checking_disabled,
        edns: edns.map(|edns| edns.dnssec_ok),
        has_options: edns.is_some_and(|edns| edns.has_passing),
        limit: limit(context.transport, edns),
    })
}

/// How a response code is counted.
fn outcome(code: ResponseCode) -> Outcome {
    match code {
        ResponseCode::NXDomain => Outcome::NxDomain,
        ResponseCode::ServFail => Outcome::ServFail,
        ResponseCode::FormErr => Outcome::FormErr,
        ResponseCode::NotImp => Outcome::NotImp,
        ResponseCode::Refused => Outcome::Refused,
        ResponseCode::BADVERS => Outcome::BadVers,
        ResponseCode::NoError => Outcome::NoError,
        _ => Outcome::Other,
    }
}
