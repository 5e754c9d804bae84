//! Deferred replies: requests that wait for an upstream, with everything their responses need.

use std::sync::Arc;

use hickory_proto::op::ResponseCode;

use super::{
    access::{AccessControl, ClientAccess, RrlAction},
    cname::{self, Joined, PendingCname},
    encode::{self, Envelope, ReplySummary},
    exchange::{ClientOptions, Context, Exchange, ReplyOptions, size_limit},
    records::Cname,
    request::{Edns, Query, Question},
    settings::Settings,
};
use crate::{
    forward::{self, Forwarder, Requester},
    telemetry::{Metrics, QueryOutcome, Restriction, Transport},
    wire::{RequestHeader, TCP_LIMIT, WireName, opt},
};

/// Sends a response to its client. Called at most once, from any thread; must not block.
pub type ReplySender = Box<dyn FnOnce(&[u8]) + Send>;

/// A request that waits for an upstream, detached from its packet and from the snapshot.
#[derive(Debug)]
pub struct PendingReply {
    forwarder: Arc<Forwarder>,
    access: Arc<AccessControl>,
    metrics: Arc<Metrics>,
    context: Context,
    client_access: ClientAccess,
    is_proven: bool,
    header: RequestHeader,
    /// Name, type and class, in the client's letter case.
    question: Box<[u8]>,
    /// The name in lower case.
    name: Box<[u8]>,
    qtype: u16,
    class: u16,
    edns: Option<OwnedEdns>,
    /// muster's own options in the response.
    own_options: ReplyOptions,
    requester: Requester,
    limit: usize,
    /// Our CNAME, if the upstream's records follow one.
    cname: Option<PendingCname>,
}

/// A request's OPT record, detached from the packet.
#[derive(Debug)]
struct OwnedEdns {
    udp_size: u16,
    dnssec_ok: bool,
}

impl PendingReply {
    /// Detaches a query from its packet, to forward it. Allocates.
    pub(super) fn new(
        exchange: &Exchange<'_>,
        query: &Query<'_>,
        options: &ClientOptions,
        cname: Option<Cname<'_>>,
        (settings, metrics): (&Settings, &Arc<Metrics>),
    ) -> Option<Box<Self>> {
        let Query { header, question, edns } = query;
        let edns = edns
            .as_ref()
            .map(|edns| OwnedEdns { udp_size: edns.opt.udp_size, dnssec_ok: edns.opt.dnssec_ok });
        debug_assert!(settings.forwarder.is_some(), "only a forwarder defers requests");
        Some(Box::new(Self {
            forwarder: Arc::clone(settings.forwarder.as_ref()?),
            access: Arc::clone(&settings.access),
            metrics: Arc::clone(metrics),
            context: exchange.context,
            client_access: exchange.access,
            is_proven: options.is_proven(exchange.context),
            header: *header,
            question: question.wire.into(),
            name: question.name.as_bytes().into(),
            qtype: question.qtype,
            class: question.class,
            edns,
            own_options: options.reply.clone(),
            requester: Requester::of(
                options.on_behalf_of.map_or(exchange.context.client, |network| network.address()),
            ),
            limit: size_limit(exchange.context.transport, query.edns.as_ref()),
            cname: cname.map(|Cname { target, ttl }| PendingCname { target: target.clone(), ttl }),
        }))
    }

    /// Queries upstreams, and sends the response through `reply`.
    ///
    /// Never blocks. A query that the forwarder cannot accept gets SERVFAIL at once.
    pub fn send(self: Box<Self>, reply: ReplySender) {
        let forwarder = Arc::clone(&self.forwarder);
        let own_options = self.own_options.clone();
        let requester = self.requester;
        let question = self.question.clone();
        let name = self.name.clone();
        let query = forward::ClientQuery {
            id: self.header.id,
            question: &question,
            name: WireName::trusted(&name),
            qtype: self.qtype,
            recursion_desired: self.header.recursion_desired,
            authentic_data: self.header.authentic_data,
            checking_disabled: self.header.checking_disabled,
            edns: self.edns.as_ref().map(|edns| edns.dnssec_ok),
            own_options: &own_options,
            limit: self.limit,
        };
        let Some(cname) = self.cname.clone() else {
            let deliver = move |answer: &[u8], written: forward::AnswerSummary| {
                self.release(answer, written.into(), reply);
            };
            return forwarder.forward(&query, requester, Box::new(deliver));
        };
        let target = cname.target.as_wire();
        let of_target = [target, &self.qtype.to_be_bytes(), &self.class.to_be_bytes()].concat();
        let query = forward::ClientQuery {
            question: &of_target,
            name: cname.target.wire(),
            limit: TCP_LIMIT,
            own_options: &[],
            ..query
        };
        let deliver = {
            let cname = cname.clone();
            move |upstream: &[u8], _: forward::AnswerSummary| self.join(&cname, upstream, reply)
        };
        forwarder.forward(&query, requester, Box::new(deliver));
    }

    /// Answers with our CNAME, followed by an upstream's records for its target.
    fn join(self: Box<Self>, cname: &PendingCname, upstream: &[u8], reply: ReplySender) {
        let mut answer = Vec::new();
        let written = match cname::join(&self.question, cname, upstream) {
            Joined::Body(body, code) => {
                let opt = self.edns.as_ref().map(|edns| {
                    let head = opt::head(code.high(), edns.dnssec_ok, self.own_options.len());
                    [&head[..], &self.own_options].concat()
                });
                let length = body.len() + opt.as_ref().map_or(0, Vec::len);
                let written = ReplySummary { code, truncated: false };
                if length <= self.limit {
                    answer = body;
                    let flags = encode::flags(self.header, written, true, true);
                    cname::finish(&mut answer, self.header.id, flags, opt.as_deref());
                    written
                } else {
                    ReplySummary { code: ResponseCode::NoError, truncated: true }
                }
            }
            Joined::Failed => ReplySummary { code: ResponseCode::ServFail, truncated: false },
        };
        if answer.is_empty() {
            let cname = Cname { target: &cname.target, ttl: cname.ttl };
            self.with_envelope(|envelope| encode::cname_only(&envelope, &cname, written, &mut answer));
        }
        self.release(&answer, written, reply);
    }

    /// Sends and counts a response, unless response rate limiting drops it.
    fn release(self: Box<Self>, answer: &[u8], written: ReplySummary, reply: ReplySender) {
        if written.truncated && self.context.transport == Transport::Tcp {
            return self.fail(reply);
        }
        let action = if self.is_proven {
            RrlAction::Send
        } else {
            let asked = (&*self.name, self.qtype);
            self.access.limit_response(self.client_access, self.context.client, written.code, asked)
        };
        match action {
            RrlAction::Send => {
                self.count(written);
                reply(answer);
            }
            RrlAction::Truncate => {
                self.metrics.restricted(Restriction::ResponseTruncated);
                let mut short = Vec::new();
                let cut = (ResponseCode::NoError, true);
                let written = self.with_envelope(|envelope| encode::short(&envelope, cut, &mut short));
                self.count(written);
                reply(&short);
            }
            RrlAction::Drop => {
                self.metrics.restricted(Restriction::ResponseDropped);
                self.metrics.count(self.context.transport, QueryOutcome::NoResponse);
            }
        }
    }

    /// Sends SERVFAIL: the whole answer is not to be had, and after TCP the client has nowhere to go.
    fn fail(self: Box<Self>, reply: ReplySender) {
        let mut failure = Vec::new();
        let code = (ResponseCode::ServFail, false);
        let written = self.with_envelope(|envelope| encode::short(&envelope, code, &mut failure));
        self.count(written);
        reply(&failure);
    }

    fn count(&self, written: ReplySummary) {
        self.metrics.count(self.context.transport, written.code.into());
        if written.truncated {
            self.metrics.truncated();
        }
    }

    /// Calls `write` with the parts of the response around its records.
    fn with_envelope<T>(&self, write: impl FnOnce(Envelope<'_>) -> T) -> T {
        let question = Question {
            wire: &self.question,
            name: WireName::trusted(&self.name),
            qtype: self.qtype,
            class: self.class,
        };
        let edns = self.edns.as_ref().map(|edns| Edns::plain(edns.udp_size, edns.dnssec_ok));
        let query = Query { header: self.header, question, edns };
        write(Envelope {
            query: &query,
            options: &self.own_options,
            recursion_available: true,
            limit: self.limit,
        })
    }
}
