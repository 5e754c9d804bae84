//! The responder: requests' bytes in, answers' bytes out.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use arrayvec::ArrayVec;

use super::{
    access::{Admission, Client, Guard, Standing},
    encode::UDP_LIMIT,
    question::{Edns, HEADER, NameRoom, PLAIN_UDP_LIMIT, Query, Request, read},
    rotation::Rotation,
    special::Specials,
};
use crate::{
    catalog::{Lookup, SnapshotCell, View},
    config::Config,
    forward::{Forwarder, SetupError},
    model::Network,
    telemetry::{Metrics, Restriction, Transport},
};

/// Answers requests from the current snapshot; every transport feeds it.
#[derive(Debug)]
pub struct Responder {
    pub(super) cell: Arc<SnapshotCell>,
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

/// What a name was looked up in, and what was found.
pub(super) type Found<'v> = (&'v View<'v>, Lookup<'v>);

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
    pub fn new(cell: Arc<SnapshotCell>, metrics: Arc<Metrics>, version: Option<String>) -> Self {
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

    /// The forwarder, if anything is forwarded.
    pub(super) fn active_forwarder(&self) -> Option<&Arc<Forwarder>> {
        self.forwarder.as_ref().filter(|forwarder| forwarder.is_active())
    }

    /// Whether the client subnets of this forwarder count.
    pub(super) fn trusts(&self, forwarder: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(forwarder))
    }
}

fn look_up<'v>(view: &'v View<'_>, request: &Request<'_>) -> Lookup<'v> {
    match request {
        Request::Query(Query { question, .. }) => view.lookup(question.name),
        _ => Lookup::External,
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
