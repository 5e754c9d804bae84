//! The responder: requests' bytes in, answers' bytes out.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use arrayvec::ArrayVec;
use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, RecordType},
};

use super::{
    access::{Admission, Client, CookieCheck, Guard, Release, Standing},
    answer::{Answer, Facts, find},
    chase,
    encode::{UDP_LIMIT, Written, write, write_bad_version, write_bare, write_short},
    question::{Edns, HEADER, Header, NameRoom, PLAIN_UDP_LIMIT, Question, Request, read},
    rotation::Rotation,
    special::Specials,
};
use crate::{
    catalog::{Cell, Lookup, View},
    config::Config,
    forward::{Ask, Forwarder, Reply, SetupError, Verdict},
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
    specials: ArcSwap<Specials>,
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
    /// Who asks.
    pub client: IpAddr,
}

/// What is said to a request.
enum Said {
    /// The answer that is written.
    Answer(Written),
    Nothing,
    /// What somebody else has to say.
    Elsewhere,
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
        Self {
            cell,
            metrics,
            version,
            guard: Guard::default(),
            specials: ArcSwap::default(),
            forwarder: None,
        }
    }

    /// Sets who may ask.
    #[must_use]
    pub fn guarded(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    /// Sets which names are special.
    #[must_use]
    pub fn with_specials(self, specials: Specials) -> Self {
        Self { specials: ArcSwap::from_pointee(specials), ..self }
    }

    /// Goes over to another configuration's upstreams and special names.
    ///
    /// # Errors
    /// When the upstreams cannot be set up; then all stays as it is.
    pub fn reload(&self, config: &Config) -> Result<(), SetupError> {
        if let Some(forwarder) = &self.forwarder {
            forwarder.reload(config)?;
        }
        let suffixes = config.forward.iter().map(|forward| forward.suffix.clone());
        self.specials.store(Arc::new(Specials::new(suffixes)));
        Ok(())
    }

    /// Has other names forwarded, which are REFUSED without it.
    #[must_use]
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
        let (request, client) = self.receive(packet, context, &mut room);
        let snapshot = self.cell.load();
        let view = snapshot.view();
        let found = (&view, look_up(&view, &request));
        self.answer(&request, found, (context, client), rotation, out)
    }

    /// Answers a batch, at most [`BATCH`]: the answer to `packets[n]`, which came as `contexts[n]` says, goes into
    /// `answers[n]`, which is left empty if there is nothing to send. Returns which packets are to be handed off with what is
    /// written for them so far.
    ///
    /// Reads all, then looks all up, then writes all: what one look-up waits for from memory, the others' need not wait for.
    pub(super) fn respond_all(
        &self,
        packets: &[&[u8]],
        contexts: &[Context],
        scratch: &mut Scratch,
        rotation: &mut Rotation,
        answers: &mut [Vec<u8>],
    ) -> ArrayVec<usize, BATCH> {
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
        let mut later = ArrayVec::new();
        let all = requests.iter().zip(contexts).zip(lookups).zip(answers);
        for (at, ((((request, client), context), lookup), answer)) in all.enumerate() {
            match self.answer(request, (&view, lookup), (*context, *client), rotation, answer) {
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
    ) -> Response {
        let written = match self.write_answer(request, found, (context, client), rotation, out) {
            Said::Answer(written) => written,
            Said::Nothing => {
                self.metrics.count(context.transport, Outcome::Silence);
                return Response::Silence;
            }
            Said::Elsewhere => {
                out.clear();
                return Response::Later;
            }
        };
        if client.standing == Standing::AllNames
            && self.active_forwarder().is_some()
            && let Some(flags) = out.get_mut(3)
        {
            *flags |= 0x80; // RA: "set or cleared in a response" by what the server can do (RFC 1035 section 4.1.1)
            if self.leads_out(request, context, out) {
                return Response::Later;
            }
        }
        self.metrics.count(context.transport, outcome(written.code));
        if written.truncated {
            self.metrics.truncated();
        }
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

    fn write_answer(
        &self,
        request: &Request<'_>,
        found: Found<'_>,
        (context, client): (Context, Client),
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> Said {
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
                    match self.write_query_answer(query, found, (context, client), rotation, out) {
                        Some(written) => written,
                        None => return Said::Elsewhere,
                    }
                };
                (written, Some((header, question, edns)))
            }
            Request::OtherOpcode(header) => (write_bare(header, ResponseCode::NotImp, out), None),
            Request::Malformed(header) => (write_bare(header, ResponseCode::FormErr, out), None),
            Request::Noise => return Said::Nothing,
        };
        if is_proven {
            return Said::Answer(written);
        }
        let asked: (&[u8], u16) = query.map_or((&[], 0), |(_, question, _)| (question.name, question.qtype));
        match self.guard.judge_response(client, context.client, written.code, asked) {
            Release::Send => Said::Answer(written),
            Release::Truncate => {
                self.metrics.restricted(Restriction::ResponseTruncated);
                let Some((header, question, edns)) = query else { return Said::Nothing };
                Said::Answer(write_short(header, &question, edns, (ResponseCode::NoError, true), out))
            }
            Release::Drop => {
                self.metrics.restricted(Restriction::ResponseDropped);
                Said::Nothing
            }
        }
    }

    /// `None`: somebody else must be asked.
    fn write_query_answer(
        &self,
        (header, question, edns): (Header, &Question<'_>, Option<Edns>),
        found: Found<'_>,
        (context, client): (Context, Client),
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> Option<Written> {
        let limit = limit(context.transport, edns);
        if let Some(edns) = edns
            && edns.version != 0
        {
            return Some(write_bad_version(header, question, edns, out));
        }
        let specials = self.specials.load();
        let answer = match client.standing {
            Standing::Denied | Standing::Stranger => Answer::Refused,
            Standing::OwnNames | Standing::AllNames => {
                let (view, lookup) = found;
                let facts = Facts {
                    view,
                    client: Network::of(context.client),
                    version: self.version.as_deref(),
                    asked: context.asked,
                    specials: &specials,
                };
                find(question, lookup, facts, rotation)
            }
        };
        let request = Request::Query { header, question: *question, edns };
        if let (Answer::Refused, Lookup::Elsewhere, Standing::AllNames) = (&answer, found.1, client.standing)
            && let (Some(forwarder), Some(ask)) = (self.active_forwarder(), ask(&request, context))
        {
            match forwarder.answer(&ask, out) {
                Verdict::Answered(written) => {
                    let code = ResponseCode::from(0, written.code);
                    return Some(Written { code, truncated: written.truncated });
                }
                Verdict::Ask => return None,
                Verdict::Refused => {}
            }
        }
        Some(write(header, question, edns, &answer, limit, out))
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
        ResponseCode::BADCOOKIE => Outcome::BadCookie,
        ResponseCode::NoError => Outcome::NoError,
        _ => Outcome::Other,
    }
}
