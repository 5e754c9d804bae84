//! The responder: requests' bytes in, answers' bytes out.

use std::{net::IpAddr, sync::Arc};

use arrayvec::ArrayVec;
use hickory_proto::op::ResponseCode;

use super::{
    access::{Admission, Client, CookieCheck, Guard, Release, Standing},
    answer::{Answer, Facts, find},
    encode::{UDP_LIMIT, Written, write, write_bad_version, write_bare, write_short},
    question::{Edns, HEADER, Header, NameRoom, PLAIN_UDP_LIMIT, Question, Request, read},
    rotation::Rotation,
    special::Specials,
};
use crate::{
    catalog::{Cell, Lookup, View},
    model::Network,
    telemetry::{Metrics, Outcome, Restriction, Transport},
};

/// Answers requests from the current snapshot; every transport feeds it.
#[derive(Debug)]
pub struct Responder {
    cell: Arc<Cell>,
    metrics: Arc<Metrics>,
    version: Option<String>,
    guard: Guard,
    specials: Specials,
}

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// By which transport: decides how long the answer may be.
    pub transport: Transport,
    /// The address that was asked, where it is known.
    pub asked: Option<IpAddr>,
    /// Who asks.
    pub client: IpAddr,
}

/// What a name was looked up in, and what was found.
type Found<'v> = (&'v View<'v>, Lookup<'v>);

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

    /// Makes a responder that answers private networks. `version` is what `version.bind` is answered with; `None`: REFUSED.
    pub fn new(cell: Arc<Cell>, metrics: Arc<Metrics>, version: Option<String>) -> Self {
        Self { cell, metrics, version, guard: Guard::default(), specials: Specials::default() }
    }

    /// Sets who may ask.
    #[must_use]
    pub fn guarded(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    /// Sets which names are special.
    #[must_use]
    pub fn with_specials(self, specials: Specials) -> Self {
        Self { specials, ..self }
    }

    /// Who may ask.
    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// What it answers from.
    pub(super) fn cell(&self) -> &Cell {
        &self.cell
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
        let (request, client) = self.receive(packet, context, &mut room);
        let snapshot = self.cell.load();
        let view = snapshot.view();
        let found = (&view, look_up(&view, &request));
        self.answer(&request, found, (context, client), rotation, out)
    }

    /// Answers a batch, at most [`BATCH`]: the answer to `packets[n]`, which came as `contexts[n]` says, goes into
    /// `answers[n]`, which is left empty if there is nothing to send.
    ///
    /// Reads all, then looks all up, then writes all: what one look-up waits for from memory, the others' need not wait for.
    pub(super) fn respond_all(
        &self,
        packets: &[&[u8]],
        contexts: &[Context],
        scratch: &mut Scratch,
        rotation: &mut Rotation,
        answers: &mut [Vec<u8>],
    ) {
        let rooms = scratch.names.iter_mut();
        let requests: ArrayVec<(Request<'_>, Client), BATCH> = packets
            .iter()
            .zip(contexts)
            .zip(rooms)
            .map(|((packet, context), room)| self.receive(packet, *context, room))
            .collect();
        let snapshot = self.cell.load();
        let view = snapshot.view();
        let lookups: ArrayVec<Lookup<'_>, BATCH> =
            requests.iter().map(|(request, _)| look_up(&view, request)).collect();
        for ((((request, client), context), lookup), answer) in
            requests.iter().zip(contexts).zip(lookups).zip(answers)
        {
            if !self.answer(request, (&view, lookup), (*context, *client), rotation, answer) {
                answer.clear();
            }
        }
    }

    /// Reads a packet as far as its sender may be heard.
    fn receive<'a>(
        &self,
        packet: &'a [u8],
        context: Context,
        room: &'a mut NameRoom,
    ) -> (Request<'a>, Client) {
        let (admission, client) = self.guard.admit(context.client, packet.len());
        let heard = match admission {
            Admission::Yes => packet,
            Admission::Refuse(why) => {
                self.metrics.restricted(why);
                packet
            }
            Admission::TooLong => {
                self.metrics.restricted(Restriction::TooLong);
                packet.get(..HEADER).unwrap_or_default() // a question that is not there: FORMERR
            }
            Admission::Silence(why) => {
                self.metrics.restricted(why);
                &[]
            }
        };
        (read(heard, room), client)
    }

    /// Writes the answer to one request and counts it.
    fn answer(
        &self,
        request: &Request<'_>,
        found: Found<'_>,
        (context, client): (Context, Client),
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(written) = self.write_answer(request, found, (context, client), rotation, out) else {
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
        found: Found<'_>,
        (context, client): (Context, Client),
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> Option<Written> {
        let mut is_proven = context.transport == Transport::Tcp;
        let (written, query) = match *request {
            Request::Query { header, question, mut edns } => {
                let cookie = match edns {
                    // What the options of another version mean nobody knows.
                    Some(edns) if edns.version == 0 => self.guard.check_cookie(edns.cookie, context.client),
                    _ => CookieCheck::None,
                };
                is_proven |= matches!(cookie, CookieCheck::Good(_));
                edns = edns.map(|edns| Edns { reply_cookie: cookie.reply(), ..edns });
                let query = (header, &question, edns);
                let written = if cookie == CookieCheck::Malformed {
                    write_bare(header, ResponseCode::FormErr, out)
                } else if !is_proven && self.guard.wants_cookie(client) {
                    self.ask_for_cookie(query, cookie, out)
                } else {
                    self.write_query_answer(query, found, (context, client), rotation, out)
                };
                (written, Some((header, question, edns)))
            }
            Request::OtherOpcode(header) => (write_bare(header, ResponseCode::NotImp, out), None),
            Request::Malformed(header) => (write_bare(header, ResponseCode::FormErr, out), None),
            Request::Noise => return None,
        };
        if is_proven {
            return Some(written);
        }
        let asked: (&[u8], u16) = query.map_or((&[], 0), |(_, question, _)| (question.name, question.qtype));
        match self.guard.judge_response(client, context.client, written.code, asked) {
            Release::Send => Some(written),
            Release::Truncate => {
                self.metrics.restricted(Restriction::ResponseTruncated);
                let (header, question, edns) = query?;
                Some(write_short(header, &question, edns, (ResponseCode::NoError, true), out))
            }
            Release::Drop => {
                self.metrics.restricted(Restriction::ResponseDropped);
                None
            }
        }
    }

    pub(super) fn write_query_answer(
        &self,
        (header, question, edns): (Header, &Question<'_>, Option<Edns>),
        found: Found<'_>,
        (context, client): (Context, Client),
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> Written {
        let limit = match (context.transport, edns) {
            (Transport::Tcp, _) => Self::TCP_LIMIT,
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_limit.min(UDP_LIMIT)),
            (Transport::Udp, None) => usize::from(PLAIN_UDP_LIMIT),
        };
        if let Some(edns) = edns
            && edns.version != 0
        {
            return write_bad_version(header, question, edns, out);
        }
        let answer = match client.standing {
            Standing::Denied | Standing::Stranger => Answer::Refused,
            Standing::OwnNames | Standing::AllNames => {
                let (view, lookup) = found;
                let facts = Facts {
                    view,
                    client: Network::of(context.client),
                    version: self.version.as_deref(),
                    asked: context.asked,
                    specials: &self.specials,
                };
                find(question, lookup, facts, rotation)
            }
        };
        write(header, question, edns, &answer, limit, out)
    }

    /// Answers a client that has not shown that its address is its own: it learns a cookie, or comes back over TCP (RFC 7873
    /// sections 5.2.1 and 5.2.3).
    fn ask_for_cookie(
        &self,
        (header, question, edns): (Header, &Question<'_>, Option<Edns>),
        cookie: CookieCheck,
        out: &mut Vec<u8>,
    ) -> Written {
        self.metrics.restricted(Restriction::NoCookie);
        let says = match cookie {
            CookieCheck::New(_) => (ResponseCode::BADCOOKIE, false),
            _ => (ResponseCode::NoError, true),
        };
        write_short(header, question, edns, says, out)
    }
}

pub(super) fn look_up<'v>(view: &'v View<'_>, request: &Request<'_>) -> Lookup<'v> {
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
        ResponseCode::BADCOOKIE => Outcome::BadCookie,
        _ => Outcome::NoError,
    }
}
