//! The responder: requests' bytes in, answers' bytes out.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use arrayvec::ArrayVec;
use hickory_proto::op::ResponseCode;

use super::{
    access::{Admission, Client, Guard, Release, Standing},
    answer::{Answer, Facts, Records, find},
    chase,
    encode::{UDP_LIMIT, Written, write, write_bad_version, write_bare, write_short},
    handoff::ask,
    options::{Options, Sender},
    pointers::may_be_others,
    question::{Edns, HEADER, Header, NameRoom, PLAIN_UDP_LIMIT, Query, Question, Request, read},
    rotation::Rotation,
    special::Specials,
};
use crate::{
    catalog::{Cell, Lookup, View},
    config::Config,
    forward::{Forwarder, SetupError, Verdict},
    model::Network,
    telemetry::{Metrics, Outcome, Restriction, Transport},
};

/// Answers requests from the current snapshot; every transport feeds it.
#[derive(Debug)]
pub struct Responder {
    pub(super) cell: Arc<Cell>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) version: Option<String>,
    pub(super) guard: Arc<Guard>,
    pub(super) specials: ArcSwap<Specials>,
    /// Forwarders whose client subnets count.
    trusted: Vec<Network>,
    pub(super) forwarder: Option<Arc<Forwarder>>,
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
            guard: Arc::default(),
            specials: ArcSwap::default(),
            trusted: Vec::new(),
            forwarder: None,
        }
    }

    /// Sets who may ask.
    #[must_use]
    pub fn guarded(self, guard: Guard) -> Self {
        Self { guard: Arc::new(guard), ..self }
    }

    /// Sets which names are special.
    #[must_use]
    pub fn with_specials(self, specials: Specials) -> Self {
        Self { specials: ArcSwap::from_pointee(specials), ..self }
    }

    /// Sets the forwarders whose EDNS Client Subnet says who asks.
    #[must_use]
    pub fn trusting(self, forwarders: &[Network]) -> Self {
        Self { trusted: forwarders.to_vec(), ..self }
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

    /// Whether this client gets no answer at all.
    pub(super) fn silences(&self, client: IpAddr) -> bool {
        self.guard.client(client).standing == Standing::Denied
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
        sender: (Context, Client),
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> Response {
        let (context, client) = sender;
        let said = match request {
            Request::Query(query) => self.answer_query(query, found, sender, rotation, out),
            Request::OtherOpcode(header) => self.say_error(*header, ResponseCode::NotImp, sender, out),
            Request::Malformed(header) => self.say_error(*header, ResponseCode::FormErr, sender, out),
            Request::Noise => Said::Nothing,
        };
        let written = match said {
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
            if let Request::Query(query) = request
                && self.leads_out(query, context, out)
            {
                return Response::Later;
            }
        }
        self.metrics.count(context.transport, outcome(written.code));
        if written.truncated {
            self.metrics.truncated();
        }
        Response::Ready
    }

    /// The forwarder, if anything is forwarded.
    pub(super) fn active_forwarder(&self) -> Option<&Arc<Forwarder>> {
        self.forwarder.as_ref().filter(|forwarder| forwarder.is_active())
    }

    /// Whether the client subnets of this forwarder count.
    pub(super) fn trusts(&self, forwarder: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(forwarder))
    }

    /// Answers a question as far as its sender may have the answer.
    fn answer_query(
        &self,
        query: &Query<'_>,
        found: Found<'_>,
        (context, client): (Context, Client),
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> Said {
        let mut options = Options::new();
        let heard = match &query.edns {
            Some(edns) if edns.has_own_options() => self.hear(edns, context, found.1, &mut options),
            _ => Ok(Sender::default()),
        };
        let Ok(sender) = heard else {
            return self.say_error(query.header, ResponseCode::FormErr, (context, client), out);
        };
        let is_proven = context.transport == Transport::Tcp || sender.has_good_cookie;
        let written = if !is_proven && self.guard.wants_cookie(client) {
            Some(self.ask_for_cookie(query, sender, &options, out))
        } else if query.edns.as_ref().is_some_and(|edns| edns.version != 0) {
            Some(write_bad_version(query, out))
        } else {
            let facts = Facts {
                view: found.0,
                metrics: Some(&self.metrics),
                client: context.client,
                on_behalf_of: sender.on_behalf_of,
                version: self.version.as_deref(),
                asked: context.asked,
                specials: &self.specials,
            };
            self.write_answer(query, found.1, (&facts, client), (context, &options), rotation, out)
        };
        let Some(written) = written else { return Said::Elsewhere };
        if is_proven {
            return Said::Answer(written);
        }
        let asked = (query.question.name, query.question.qtype);
        match self.guard.judge_response(client, context.client, written.code, asked) {
            Release::Send => Said::Answer(written),
            Release::Truncate => {
                self.metrics.restricted(Restriction::ResponseTruncated);
                Said::Answer(write_short(query, &options, (ResponseCode::NoError, true), out))
            }
            Release::Drop => {
                self.metrics.restricted(Restriction::ResponseDropped);
                Said::Nothing
            }
        }
    }

    /// Answers with an error alone, where the question could not be read.
    #[cold]
    fn say_error(
        &self,
        header: Header,
        code: ResponseCode,
        (context, client): (Context, Client),
        out: &mut Vec<u8>,
    ) -> Said {
        let written = write_bare(header, code, out);
        if context.transport == Transport::Tcp {
            return Said::Answer(written);
        }
        match self.guard.judge_response(client, context.client, code, (&[], 0)) {
            Release::Send => Said::Answer(written),
            Release::Truncate | Release::Drop => {
                self.metrics.restricted(Restriction::ResponseDropped);
                Said::Nothing
            }
        }
    }

    /// Writes what we have to say, or what others have said before. `None`: somebody else must be asked.
    fn write_answer(
        &self,
        query: &Query<'_>,
        lookup: Lookup<'_>,
        (facts, client): (&Facts<'_>, Client),
        (context, options): (Context, &[u8]),
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> Option<Written> {
        let answer = say(client.standing, &query.question, lookup, facts, rotation);
        if client.standing == Standing::AllNames
            && may_be_others(&answer, lookup, &query.question, facts)
            && let (Some(forwarder), Some(ask)) =
                (self.active_forwarder(), ask(query, context.transport, options))
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
        let limit = limit(context.transport, query.edns.as_ref());
        let written = write(query, options, &answer, limit, out);
        if let Answer::Authoritative(_, Records::Alias { .. }) = answer
            && let Some(followed) = chase::inside(query, &answer, facts, rotation, limit, out)
        {
            return Some(followed);
        }
        Some(written)
    }

    /// Answers a client that has not shown that its address is its own: it learns a cookie, or comes back over TCP (RFC 7873
    /// sections 5.2.1 and 5.2.3).
    fn ask_for_cookie(
        &self,
        query: &Query<'_>,
        sender: Sender,
        options: &[u8],
        out: &mut Vec<u8>,
    ) -> Written {
        self.metrics.restricted(Restriction::NoCookie);
        let says = if sender.gets_new_cookie {
            (ResponseCode::BADCOOKIE, false)
        } else {
            (ResponseCode::NoError, true)
        };
        write_short(query, options, says, out)
    }
}

/// What we have to say ourselves to somebody of this standing.
pub(super) fn say<'a>(
    standing: Standing,
    question: &Question<'_>,
    lookup: Lookup<'a>,
    facts: &Facts<'a>,
    rotation: &mut Rotation,
) -> Answer<'a> {
    match standing {
        Standing::Denied | Standing::Stranger => Answer::Refused,
        Standing::OwnNames | Standing::AllNames => find(question, lookup, facts, rotation),
    }
}

fn look_up<'v>(view: &'v View<'_>, request: &Request<'_>) -> Lookup<'v> {
    match request {
        Request::Query(Query { question, .. }) => view.lookup(question.name),
        _ => Lookup::Elsewhere,
    }
}

/// Longest answer to a client.
pub(super) fn limit(transport: Transport, edns: Option<&Edns>) -> usize {
    match (transport, edns) {
        (Transport::Tcp, _) => Responder::TCP_LIMIT,
        (Transport::Udp, Some(edns)) => usize::from(edns.udp_limit.min(UDP_LIMIT)),
        (Transport::Udp, None) => usize::from(PLAIN_UDP_LIMIT),
    }
}

/// How a response code is counted.
pub(super) fn outcome(code: ResponseCode) -> Outcome {
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
