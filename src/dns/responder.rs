//! The responder: bytes of requests in, bytes of responses out.

use std::{
    net::IpAddr,
    ops::DerefMut,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use arrayvec::ArrayVec;
use hickory_proto::{op::ResponseCode, rr::RecordType};

use super::{
    access::{AccessControl, AccessLevel, Admission, ClientAccess, RrlAction},
    decide::decide,
    deferred::PendingReply,
    dry_run::dry_run,
    encode::{self, Envelope, ReplySummary},
    exchange::{ClientOptions, Context, Exchange, client_query, size_limit},
    records::{Content, Decision, Fallback, Forward, Refusal, ZoneRecords},
    request::{Query, QuestionBuffer, Request, read, reject},
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
};

/// Answers requests from the current snapshot. All transports call it.
#[derive(Debug)]
pub struct Responder {
    cell: Arc<SnapshotCell>,
    metrics: Arc<Metrics>,
    settings: Settings,
}

/// A packet, or the first bytes of one that is too long to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) bytes: &'a [u8],
    /// The whole packet's length, in bytes.
    pub(super) length: usize,
}

impl Packet<'_> {
    /// Whether bytes are missing at the end.
    pub(super) fn is_cut(&self) -> bool {
        self.bytes.len() < self.length
    }
}

impl<'a> From<&'a [u8]> for Packet<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, length: bytes.len() }
    }
}

/// The result of one request.
#[derive(Debug)]
#[must_use]
pub enum Response {
    /// The response is written and can be sent.
    Ready,
    /// There is no response.
    Dropped,
    /// An upstream must be queried first.
    Deferred(Box<PendingReply>),
}

/// Maximum number of requests in a batch.
pub(super) const BATCH: usize = 32;

/// Buffers for one batch. The caller owns them, so that a batch allocates nothing.
#[derive(Debug)]
pub(super) struct Scratch {
    names: [QuestionBuffer; BATCH],
}

impl Default for Scratch {
    fn default() -> Self {
        Self { names: [[0; 256]; BATCH] }
    }
}

/// A parsed packet and its client's access.
type Received<'a> = (Request<'a>, ClientAccess);

/// The deferred requests of a batch, each with its index.
pub(super) type Deferred = ArrayVec<(usize, Box<PendingReply>), BATCH>;

impl Responder {
    /// Makes a responder with default settings: it answers private networks and forwards nothing.
    /// `version` is the answer to `version.bind`; with `None` it is REFUSED.
    pub fn new(cell: Arc<SnapshotCell>, metrics: Arc<Metrics>, version: Option<String>) -> Self {
        Self { cell, metrics, settings: Settings { version, ..Settings::default() } }
    }

    /// Sets access control and rate limits.
    #[must_use]
    pub fn with_access(mut self, access: AccessControl) -> Self {
        self.settings.access = Arc::new(access);
        self
    }

    /// Sets the special names.
    #[must_use]
    pub fn with_specials(mut self, specials: Specials) -> Self {
        self.settings.specials = ArcSwap::from_pointee(specials);
        self
    }

    /// Sets the networks of forwarders whose EDNS Client Subnet is trusted.
    #[must_use]
    pub fn with_trusted_forwarders(mut self, forwarders: &[Network]) -> Self {
        self.settings.trusted = forwarders.to_vec();
        self
    }

    /// Sets the forwarder for external names. Without one, they are REFUSED.
    #[must_use]
    pub fn with_forwarder(mut self, forwarder: Arc<Forwarder>) -> Self {
        self.settings.forwarder = Some(forwarder);
        self
    }

    /// Switches to the upstreams and special names of another configuration.
    ///
    /// # Errors
    /// The upstreams cannot be set up. Then nothing changes.
    pub fn reload(&self, config: &Config) -> Result<(), SetupError> {
        if let Some(forwarder) = &self.settings.forwarder {
            forwarder.reload(config)?;
        }
        let suffixes = config.forward.iter().map(|forward| forward.suffix.clone());
        self.settings.specials.store(Arc::new(Specials::new(suffixes)));
        Ok(())
    }

    /// What this client may query.
    pub(super) fn access_level(&self, client: IpAddr) -> AccessLevel {
        self.settings.access.client(client).level
    }

    /// Longest query that is answered, in bytes.
    pub(super) fn longest_query(&self) -> usize {
        self.settings.access.longest_query()
    }

    /// The metrics that count requests.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Writes the response to `packet` into `out`, replacing its content.
    ///
    /// Never fails and never waits: malformed packets get an error code or no response.
    pub fn respond(
        &self,
        packet: &[u8],
        context: Context,
        rotation: &mut Rotation,
        out: &mut Vec<u8>,
    ) -> Response {
        self.respond_one(packet.into(), context, || rotation, out)
    }

    /// As [`respond`](Self::respond), with a rotation that connections share. It is locked only
    /// while the answer is made, not while the packet is read.
    pub(super) fn respond_with_lock(
        &self,
        packet: Packet<'_>,
        context: Context,
        rotation: &Mutex<Rotation>,
        out: &mut Vec<u8>,
    ) -> Response {
        let lock = || rotation.lock().unwrap_or_else(PoisonError::into_inner);
        self.respond_one(packet, context, lock, out)
    }

    fn respond_one<R: DerefMut<Target = Rotation>>(
        &self,
        packet: Packet<'_>,
        context: Context,
        rotation: impl FnOnce() -> R,
        out: &mut Vec<u8>,
    ) -> Response {
        let mut buffer = [0; 256];
        let received = self.receive(packet, context, &mut buffer);
        let snapshot = self.cell.load();
        let view = snapshot.view();
        let lookup = look_up(&view, &received.0);
        self.answer(&exchange(&received, context, &view, lookup), &mut rotation(), out)
    }

    /// Answers a batch of at most [`BATCH`] packets. `packets[n]` arrived as `contexts[n]` says,
    /// and its response goes into `answers[n]`, which is empty if there is nothing to send now.
    /// Returns the deferred requests.
    ///
    /// Reads all packets, then looks all names up, then writes all responses: while one lookup
    /// waits for memory, the CPU runs others.
    pub(super) fn respond_all(
        &self,
        packets: &[&[u8]],
        contexts: &[Context],
        scratch: &mut Scratch,
        rotation: &mut Rotation,
        answers: &mut [Vec<u8>],
    ) -> Deferred {
        let buffers = scratch.names.iter_mut();
        let requests: ArrayVec<Received<'_>, BATCH> = packets
            .iter()
            .zip(contexts)
            .zip(buffers)
            .map(|((packet, context), buffer)| self.receive((*packet).into(), *context, buffer))
            .collect();
        debug_assert_eq!(requests.len(), packets.len(), "each packet has a context and a buffer");
        let snapshot = self.cell.load();
        let view = snapshot.view();
        let lookups: ArrayVec<Lookup<'_>, BATCH> =
            requests.iter().map(|(request, _)| look_up(&view, request)).collect();
        let mut deferred = Deferred::new();
        let all = requests.iter().zip(contexts).zip(lookups).zip(answers);
        for (at, (((received, context), lookup), answer)) in all.enumerate() {
            match self.answer(&exchange(received, *context, &view, lookup), rotation, answer) {
                Response::Ready => {}
                Response::Dropped => answer.clear(),
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
    /// Counts nothing, queries no upstream, and skips rate limits and cookies.
    pub fn explain(
        &self,
        (name, qtype): (&Name, RecordType),
        client: IpAddr,
        rotation: &mut Rotation,
    ) -> GivenAnswer {
        dry_run(&self.cell.load().view(), &self.settings, (name, qtype), client, rotation)
    }

    /// Reads as much of a packet as its client's admission allows.
    #[inline]
    fn receive<'a>(
        &self,
        packet: Packet<'a>,
        context: Context,
        buffer: &'a mut QuestionBuffer,
    ) -> Received<'a> {
        let Context { client, transport, .. } = context;
        let (admission, access) = self.settings.access.admit(client, transport, packet.length);
        let readable = match admission {
            Admission::Admit => packet.bytes,
            Admission::Refuse(Restriction::TooManyQueries) | Admission::Drop(Restriction::TooManyQueries)
                if self.is_readmitted(packet, context) =>
            {
                return (read(packet.bytes, buffer), self.settings.access.client(client));
            }
            Admission::Refuse(why) => {
                self.metrics.restricted(why);
                packet.bytes
            }
            Admission::TooLong => {
                self.metrics.restricted(Restriction::TooLong);
                return (reject(packet.bytes), access);
            }
            Admission::Drop(why) => {
                self.metrics.restricted(why);
                &[]
            }
        };
        (read(readable, buffer), access)
    }

    /// Whether a query over the rate of its address is answered all the same: its cookie shows that
    /// the client owns the address, and it has sent fewer such queries.
    #[cold]
    fn is_readmitted(&self, packet: Packet<'_>, context: Context) -> bool {
        let mut buffer = [0; 256];
        let Request::Query(Query { edns: Some(edns), .. }) = read(packet.bytes, &mut buffer) else {
            return false;
        };
        context.transport == Transport::Udp && self.settings.access.readmit(edns.cookie, context.client)
    }

    /// Decides, writes, rate-limits and counts the response to one request.
    fn answer(&self, exchange: &Exchange<'_>, rotation: &mut Rotation, out: &mut Vec<u8>) -> Response {
        let options = ClientOptions::read(exchange, &self.settings);
        let trace = &mut CountingTrace(&self.metrics);
        let decision = decide(exchange, options.as_ref(), &self.settings, rotation, trace);
        // `None` if there is no question to repeat.
        let envelope = match (exchange.request, &options) {
            (Request::Query(query), Some(options)) => Some(self.envelope(exchange, query, options)),
            _ => None,
        };
        let envelope = envelope.as_ref();
        let written = match (&decision, envelope) {
            (Decision::Answer(content), Some(envelope)) => encode::answer(envelope, content, out),
            (Decision::Chase(cname, target), Some(envelope)) => encode::chase(envelope, cname, target, out),
            (Decision::Forward(forward), Some(envelope)) => {
                match self.forward(exchange, envelope, options.as_ref(), forward, out) {
                    Ok(written) => written,
                    Err(deferred) => return deferred,
                }
            }
            (Decision::Refuse(refusal), _) => {
                self.refuse(exchange, (envelope, options.as_ref()), *refusal, out)
            }
            (Decision::Drop(_), _) => return self.dropped(exchange),
            (Decision::Answer(_) | Decision::Chase(..) | Decision::Forward(_), None) => {
                debug_assert!(false, "only queries get answers");
                return self.dropped(exchange);
            }
        };
        let Some(written) = self.limit_rate(exchange, envelope, options.as_ref(), written, out) else {
            return self.dropped(exchange);
        };
        self.metrics.count(exchange.context.transport, written.code.into());
        if written.truncated {
            self.metrics.truncated();
        }
        Response::Ready
    }

    #[cold]
    fn dropped(&self, exchange: &Exchange<'_>) -> Response {
        self.metrics.count(exchange.context.transport, QueryOutcome::NoResponse);
        Response::Dropped
    }

    #[cold]
    fn refuse(
        &self,
        exchange: &Exchange<'_>,
        (envelope, options): (Option<&Envelope<'_>>, Option<&ClientOptions>),
        refusal: Refusal,
        out: &mut Vec<u8>,
    ) -> ReplySummary {
        if matches!(refusal, Refusal::Cookie { .. }) {
            self.metrics.restricted(Restriction::NoCookie);
        }
        let options = options.map_or(&[][..], |options| &options.reply);
        encode::refuse(exchange.request, envelope, refusal, (self.offers_recursion(exchange), options), out)
    }

    /// Answers from the cache, or defers the request until an upstream answers.
    fn forward(
        &self,
        exchange: &Exchange<'_>,
        envelope: &Envelope<'_>,
        options: Option<&ClientOptions>,
        forward: &Forward<'_>,
        out: &mut Vec<u8>,
    ) -> Result<ReplySummary, Response> {
        let query = client_query(envelope.query, exchange.context.transport, envelope.options);
        let cached = match (forward, &self.settings.forwarder) {
            (Forward::Query(_), Some(forwarder)) => forwarder.answer(&query, out),
            (Forward::Target(..), Some(_)) => Forwarding::QueryUpstream,
            (_, None) => Forwarding::Refused,
        };
        match (cached, forward) {
            (Forwarding::Answered(written), _) => Ok(written.into()),
            (Forwarding::QueryUpstream, _) => {
                debug_assert!(options.is_some(), "an envelope has options");
                let Some(options) = options else { return Err(Response::Dropped) };
                let cname = match forward {
                    Forward::Target(_, cname) => Some(*cname),
                    Forward::Query(_) => None,
                };
                let shared = (&self.settings, &self.metrics);
                let pending = PendingReply::new(exchange, envelope.query, options, cname, shared);
                Err(pending.map_or(Response::Dropped, Response::Deferred))
            }
            (Forwarding::Refused, Forward::Query(Fallback::Refuse(refusal))) => {
                Ok(self.refuse(exchange, (Some(envelope), options), *refusal, out))
            }
            (Forwarding::Refused, Forward::Query(Fallback::Answer(content))) => {
                Ok(encode::answer(envelope, content, out))
            }
            (Forwarding::Refused, Forward::Target(zone, cname)) => {
                Ok(encode::answer(envelope, &Content::Zone(zone, ZoneRecords::Cname(*cname)), out))
            }
        }
    }

    /// Applies response rate limiting, unless the client has proved its address. `None` if nothing
    /// is sent.
    #[inline]
    fn limit_rate(
        &self,
        exchange: &Exchange<'_>,
        envelope: Option<&Envelope<'_>>,
        options: Option<&ClientOptions>,
        written: ReplySummary,
        out: &mut Vec<u8>,
    ) -> Option<ReplySummary> {
        let Exchange { context, access, .. } = *exchange;
        let is_proven = match options {
            Some(options) => options.is_proven(context),
            None => context.transport == Transport::Tcp,
        };
        if is_proven {
            return Some(written);
        }
        let asked: (&[u8], u16) = match envelope {
            Some(Envelope { query, .. }) => (query.question.name.as_bytes(), query.question.qtype),
            None => (&[], 0),
        };
        match (self.settings.access.limit_response(access, context.client, written.code, asked), envelope) {
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

    /// The parts of a response around its records.
    #[inline]
    fn envelope<'e>(
        &self,
        exchange: &Exchange<'e>,
        query: &'e Query<'e>,
        options: &'e ClientOptions,
    ) -> Envelope<'e> {
        Envelope {
            query,
            options: &options.reply,
            recursion_available: self.offers_recursion(exchange),
            limit: size_limit(exchange.context.transport, query.edns.as_ref()),
        }
    }

    #[inline]
    fn offers_recursion(&self, exchange: &Exchange<'_>) -> bool {
        exchange.access.level == AccessLevel::AllNames && self.settings.active_forwarder().is_some()
    }
}

#[inline]
fn look_up<'v>(view: &'v View<'_>, request: &Request<'_>) -> Lookup<'v> {
    match request {
        Request::Query(Query { question, .. }) => view.lookup(question.name),
        _ => Lookup::External,
    }
}

#[inline]
fn exchange<'a>(
    (request, access): &'a Received<'_>,
    context: Context,
    view: &'a View<'_>,
    lookup: Lookup<'a>,
) -> Exchange<'a> {
    Exchange { request, context, access: *access, view, lookup }
}

/// Counts what the decision for a live request reports.
struct CountingTrace<'m>(&'m Metrics);

impl Trace for CountingTrace<'_> {
    fn ambiguous_client(&mut self) {
        self.0.ambiguous_client();
    }
}
