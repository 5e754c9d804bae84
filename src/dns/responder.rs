//! The responder: requests' bytes in, answers' bytes out.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use arrayvec::ArrayVec;
use hickory_proto::{op::ResponseCode, rr::RecordType};

use super::{
    access::{AccessControl, AccessLevel, Admission, Client, RrlAction},
    decide::decide,
    deferred::PendingReply,
    dry_run::dry_run,
    encode::{self, Envelope, Written},
    exchange::{Context, Exchange, Sender, limit},
    records::{Answer, Decision, Forward, Otherwise, Refusal},
    request::{NameRoom, Query, Request, read},
    rotation::Rotation,
    settings::Settings,
    special::Specials,
    trace::Trace,
};
use crate::{
    catalog::{Lookup, SnapshotCell, View},
    config::Config,
    forward::{Forwarder, Forwarding, SetupError},
    model::{GivenAnswer, Name, Network},
    telemetry::{Metrics, QueryOutcome, Restriction, Transport},
    wire::HEADER_LEN,
};

/// Answers requests from the current snapshot. Every transport feeds it.
#[derive(Debug)]
pub struct Responder {
    cell: Arc<SnapshotCell>,
    metrics: Arc<Metrics>,
    settings: Settings,
}

/// What became of a request.
#[derive(Debug)]
#[must_use]
pub enum Response {
    /// The answer is written, to be sent.
    Ready,
    /// There is nothing to send.
    Silence,
    /// An upstream must be queried first.
    Deferred(Box<PendingReply>),
}

/// Most requests in one batch.
pub(super) const BATCH: usize = 32;

/// What a batch of answers needs while it is made. The caller keeps it, so that nothing is allocated.
#[derive(Debug)]
pub(super) struct Scratch {
    names: [NameRoom; BATCH],
}

impl Default for Scratch {
    fn default() -> Self {
        Self { names: [[0; 256]; BATCH] }
    }
}

/// A packet that was read, and its client.
type Received<'a> = (Request<'a>, Client);

/// Requests of a batch that are deferred, each by its place.
pub(super) type Deferred = ArrayVec<(usize, Box<PendingReply>), BATCH>;

impl Responder {
    /// Makes a responder that answers private networks. `version` is the answer to `version.bind`;
    /// `None`: REFUSED.
    pub fn new(cell: Arc<SnapshotCell>, metrics: Arc<Metrics>, version: Option<String>) -> Self {
        Self { cell, metrics, settings: Settings { version, ..Settings::default() } }
    }

    /// Sets which clients may ask.
    #[must_use]
    pub fn with_access(mut self, access: AccessControl) -> Self {
        self.settings.access = Arc::new(access);
        self
    }

    /// Sets which names are special.
    #[must_use]
    pub fn with_specials(mut self, specials: Specials) -> Self {
        self.settings.specials = ArcSwap::from_pointee(specials);
        self
    }

    /// Sets the forwarders whose EDNS Client Subnet is believed.
    #[must_use]
    pub fn with_trusted_forwarders(mut self, forwarders: &[Network]) -> Self {
        self.settings.trusted = forwarders.to_vec();
        self
    }

    /// Has external names forwarded, which are REFUSED without a forwarder.
    #[must_use]
    pub fn with_forwarder(mut self, forwarder: Arc<Forwarder>) -> Self {
        self.settings.forwarder = Some(forwarder);
        self
    }

    /// Takes on another configuration's upstreams and special names.
    ///
    /// # Errors
    /// When the upstreams cannot be set up; then nothing changes.
    pub fn reload(&self, config: &Config) -> Result<(), SetupError> {
        if let Some(forwarder) = &self.settings.forwarder {
            forwarder.reload(config)?;
        }
        let suffixes = config.forward.iter().map(|forward| forward.suffix.clone());
        self.settings.specials.store(Arc::new(Specials::new(suffixes)));
        Ok(())
    }

    /// Whether this client gets no answer at all.
    pub(super) fn is_denied(&self, client: IpAddr) -> bool {
        self.settings.access.client(client).level == AccessLevel::Denied
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
        let received = self.receive(packet, context, &mut room);
        let snapshot = self.cell.load();
        let view = snapshot.view();
        let lookup = look_up(&view, &received.0);
        self.answer(&exchange(&received, context, &view, lookup), rotation, out)
    }

    /// Answers a batch, at most [`BATCH`]: the answer to `packets[n]`, which arrived as `contexts[n]`
    /// says, goes into `answers[n]`, which is left empty if there is nothing to send now. Returns the
    /// requests that are deferred.
    ///
    /// Reads all, then looks all up, then writes all: while one lookup waits for memory, others go on.
    pub(super) fn respond_all(
        &self,
        packets: &[&[u8]],
        contexts: &[Context],
        scratch: &mut Scratch,
        rotation: &mut Rotation,
        answers: &mut [Vec<u8>],
    ) -> Deferred {
        let rooms = scratch.names.iter_mut();
        let requests: ArrayVec<Received<'_>, BATCH> = packets
            .iter()
            .zip(contexts)
            .zip(rooms)
            .map(|((packet, context), room)| self.receive(packet, *context, room))
            .collect();
        let snapshot = self.cell.load();
        let view = snapshot.view();
        let lookups: ArrayVec<Lookup<'_>, BATCH> =
            requests.iter().map(|(request, _)| look_up(&view, request)).collect();
        let mut deferred = Deferred::new();
        let all = requests.iter().zip(contexts).zip(lookups).zip(answers);
        for (at, (((received, context), lookup), answer)) in all.enumerate() {
            match self.answer(&exchange(received, *context, &view, lookup), rotation, answer) {
                Response::Ready => {}
                Response::Silence => answer.clear(),
                Response::Deferred(pending) => {
                    answer.clear();
                    deferred.push((at, pending));
                }
            }
        }
        deferred
    }

    /// Makes the answer that `client` would get over UDP now, at the turn that `rotation` has.
    ///
    /// Counts nothing, queries no upstream, and leaves rate limits and cookies out.
    pub fn explain(
        &self,
        (name, qtype): (&Name, RecordType),
        client: IpAddr,
        rotation: &mut Rotation,
    ) -> GivenAnswer {
        dry_run(&self.cell.load().view(), &self.settings, (name, qtype), client, rotation)
    }

    /// Reads a packet as far as its client may have it read.
    fn receive<'a>(&self, packet: &'a [u8], context: Context, room: &'a mut NameRoom) -> Received<'a> {
        let (admission, client) = self.settings.access.admit(context.client, packet.len());
        let readable = match admission {
            Admission::Yes => packet,
            Admission::Refuse(why) => {
                self.metrics.restricted(why);
                packet
            }
            Admission::TooLong => {
                self.metrics.restricted(Restriction::TooLong);
                packet.get(..HEADER_LEN).unwrap_or_default() // the question is cut off: FORMERR
            }
            Admission::Silence(why) => {
                self.metrics.restricted(why);
                &[]
            }
        };
        (read(readable, room), client)
    }

    /// Decides, writes, limits and counts the answer to one request.
    fn answer(&self, exchange: &Exchange<'_>, rotation: &mut Rotation, out: &mut Vec<u8>) -> Response {
        let sender = Sender::read(exchange, &self.settings);
        let decision =
            decide(exchange, sender.as_ref(), &self.settings, rotation, &mut Counting(&self.metrics));
        let written = match decision {
            Decision::Drop(_) => None,
            Decision::Answer(answer) => Some(self.write(exchange, sender.as_ref(), &answer, out)),
            Decision::Refuse(refusal) => Some(self.refuse(exchange, sender.as_ref(), refusal, out)),
            Decision::Forward(forward) => match self.forward(exchange, sender.as_ref(), &forward, out) {
                Ok(written) => Some(written),
                Err(deferred) => return deferred,
            },
        };
        match written.and_then(|written| self.limit(exchange, sender.as_ref(), written, out)) {
            Some(written) => {
                self.metrics.count(exchange.context.transport, written.code.into());
                if written.truncated {
                    self.metrics.truncated();
                }
                Response::Ready
            }
            None => {
                self.metrics.count(exchange.context.transport, QueryOutcome::NoResponse);
                Response::Silence
            }
        }
    }

    fn write(
        &self,
        exchange: &Exchange<'_>,
        sender: Option<&Sender>,
        answer: &Answer<'_>,
        out: &mut Vec<u8>,
    ) -> Written {
        match self.envelope(exchange, sender) {
            Some(envelope) => encode::answer(envelope, answer, out),
            None => self.refuse(exchange, sender, Refusal::Malformed, out),
        }
    }

    fn refuse(
        &self,
        exchange: &Exchange<'_>,
        sender: Option<&Sender>,
        refusal: Refusal,
        out: &mut Vec<u8>,
    ) -> Written {
        if matches!(refusal, Refusal::Cookie { .. }) {
            self.metrics.restricted(Restriction::NoCookie);
        }
        encode::refuse(
            exchange.request,
            self.envelope(exchange, sender),
            refusal,
            self.offers_recursion(exchange),
            out,
        )
    }

    /// Answers from the cache, or defers the request to upstreams.
    fn forward(
        &self,
        exchange: &Exchange<'_>,
        sender: Option<&Sender>,
        forward: &Forward<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Written, Response> {
        let cached = match (&forward.alias, &self.settings.forwarder) {
            (None, Some(forwarder)) => forwarder.answer(&forward.ask, out),
            (Some(_), Some(_)) => Forwarding::QueryUpstream,
            (_, None) => Forwarding::Refused,
        };
        match cached {
            Forwarding::Answered(written) => {
                let code = ResponseCode::from(0, written.code);
                Ok(Written { code, truncated: written.truncated })
            }
            Forwarding::QueryUpstream => {
                let (Request::Query(query), Some(sender)) = (exchange.request, sender) else {
                    return Err(Response::Silence);
                };
                let shared = (&self.settings, &self.metrics);
                let pending = PendingReply::new(exchange, query, sender, forward, shared);
                Err(pending.map_or(Response::Silence, Response::Deferred))
            }
            Forwarding::Refused => Ok(match forward.otherwise {
                Otherwise::Answer(answer) => self.write(exchange, sender, &answer, out),
                Otherwise::Refuse(refusal) => self.refuse(exchange, sender, refusal, out),
            }),
        }
    }

    /// Limits responses to clients that have not shown that their address is their own. `None`: the
    /// client gets nothing.
    fn limit(
        &self,
        exchange: &Exchange<'_>,
        sender: Option<&Sender>,
        written: Written,
        out: &mut Vec<u8>,
    ) -> Option<Written> {
        let Exchange { request, context, client, .. } = *exchange;
        let is_proven =
            context.transport == Transport::Tcp || sender.is_some_and(|sender| sender.is_proven(context));
        if is_proven {
            return Some(written);
        }
        let asked: (&[u8], u16) = match request {
            Request::Query(Query { question, .. }) if sender.is_some() => {
                (question.name.as_bytes(), question.qtype)
            }
            _ => (&[], 0),
        };
        let action = self.settings.access.limit_response(client, context.client, written.code, asked);
        match (action, self.envelope(exchange, sender)) {
            (RrlAction::Send, _) => Some(written),
            (RrlAction::Truncate, Some(envelope)) => {
                self.metrics.restricted(Restriction::ResponseTruncated);
                Some(encode::short(envelope, (ResponseCode::NoError, true), out))
            }
            (RrlAction::Truncate | RrlAction::Drop, _) => {
                self.metrics.restricted(Restriction::ResponseDropped);
                None
            }
        }
    }

    /// What goes around an answer's records. `None` if there is no question to answer.
    fn envelope<'e>(&self, exchange: &Exchange<'e>, sender: Option<&'e Sender>) -> Option<Envelope<'e>> {
        let (Request::Query(query), Some(sender)) = (exchange.request, sender) else { return None };
        Some(Envelope {
            query,
            options: &sender.reply,
            recursion_available: self.offers_recursion(exchange),
            limit: limit(exchange.context.transport, query.edns.as_ref()),
        })
    }

    fn offers_recursion(&self, exchange: &Exchange<'_>) -> bool {
        exchange.client.level == AccessLevel::AllNames && self.settings.active_forwarder().is_some()
    }
}

fn look_up<'v>(view: &'v View<'_>, request: &Request<'_>) -> Lookup<'v> {
    match request {
        Request::Query(Query { question, .. }) => view.lookup(question.name),
        _ => Lookup::External,
    }
}

fn exchange<'a>(
    (request, client): &'a Received<'_>,
    context: Context,
    view: &'a View<'_>,
    lookup: Lookup<'a>,
) -> Exchange<'a> {
    Exchange { request, context, client: *client, view, lookup }
}

/// Counts what a live decision meets.
struct Counting<'m>(&'m Metrics);

impl Trace for Counting<'_> {
    fn ambiguous_client(&mut self) {
        self.0.ambiguous_client();
    }
}
