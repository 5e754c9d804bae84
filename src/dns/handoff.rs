//! Questions that others must be asked for: which may leave, and how their answers get back to clients.

use std::sync::Arc;

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, RecordType},
};

use super::{
    access::{CookieCheck, Guard, Release},
    chase,
    encode::write_short,
    options::{Options, write_cookie},
    question::{HEADER, Query, Request, read},
    reply::outcome,
    responder::{Context, Responder, limit},
};
use crate::{
    catalog::Lookup,
    forward::{ClientQuery, Reply},
    telemetry::{Metrics, Outcome, Restriction, Transport},
};

/// AA, of the header's third byte.
const AUTHORITATIVE: u8 = 0x04;

/// The question as it may be forwarded; `None` for what is between a client and its server only: transfers, transactions'
/// keys and signatures (RFC 2930, RFC 8945), other classes. `own_options` go into the answer's OPT record.
pub(super) fn ask<'a>(
    query: &Query<'a>,
    transport: Transport,
    own_options: &'a [u8],
) -> Option<ClientQuery<'a>> {
    let Query { header, question, edns } = query;
    let passes = DNSClass::from(question.class) == DNSClass::IN
        && !matches!(question.qtype, 249..=252)
        && question.qtype != u16::from(RecordType::OPT)
        && edns.as_ref().is_none_or(|edns| edns.version == 0);
    passes.then(|| ClientQuery {
        id: header.id,
        question: question.wire,
        name: question.name,
        qtype: question.qtype,
        recursion_desired: header.recursion_desired,
        authentic_data: header.authentic_data,
        checking_disabled: header.checking_disabled,
        edns: edns.as_ref().map(|edns| edns.dnssec_ok),
        has_options: edns.as_ref().is_some_and(|edns| edns.has_passing),
        own_options,
        limit: limit(transport, edns.as_ref()),
    })
}

impl Responder {
    /// Whether `own`, our answer, is an alias of what somebody else must be asked for, and the client wants that.
    pub(super) fn leads_out(&self, query: &Query<'_>, context: Context, own: &[u8]) -> bool {
        // What others have said, and is kept, is no alias of ours: whoever answered it has followed it as far as it leads.
        if own.get(2).is_none_or(|flags| flags & AUTHORITATIVE == 0) {
            return false;
        }
        // One answer, and that an alias where it was not asked for one.
        let (cname, question) = (u16::from(RecordType::CNAME), query.question);
        let at = HEADER + question.wire.len() + 2;
        if own.get(6..8) != Some(&[0, 1]) || own.get(at..at + 2) != Some(&cname.to_be_bytes()) {
            return false;
        }
        let wants = query.header.recursion_desired
            && question.qtype != cname
            && question.qtype != u16::from(RecordType::ANY)
            && ask(query, context.transport, &[]).is_some();
        let (true, Some(forwarder)) = (wants, &self.forwarder) else { return false };
        let Some(target) = chase::target(own, question.wire.len()) else { return false };
        let snapshot = self.cell.load();
        let view = snapshot.view();
        matches!(view.lookup(&target), Lookup::External) && forwarder.covers(&target)
    }

    /// Has somebody else asked for the answer to `packet`, for which there was [`Response::Later`](super::Response::Later) and
    /// `so_far` in the buffer; it goes out by `reply`.
    ///
    /// Never waits; what cannot be taken on is answered with SERVFAIL at once.
    pub fn hand_off(&self, packet: &[u8], so_far: &[u8], context: Context, reply: Reply) {
        let mut room = [0; 256];
        let Request::Query(query) = read(packet, &mut room) else { return };
        let Some(forwarder) = &self.forwarder else { return };
        let cookie = query.edns.map_or(CookieCheck::None, |edns| self.check_cookie(&edns, context));
        let options = own_options(cookie);
        let Some(ask) = ask(&query, context.transport, &options) else { return };
        let is_proven = context.transport == Transport::Tcp || matches!(cookie, CookieCheck::Good(_));
        let late = Late {
            guard: Arc::clone(&self.guard),
            metrics: Arc::clone(&self.metrics),
            context,
            cookie,
            to_judge: (!is_proven).then(|| packet.into()),
            reply,
        };
        let Some(target) = chase::target(so_far, query.question.wire.len()) else {
            return forwarder.forward(&ask, packet, Box::new(|answer| late.release(answer)));
        };
        let wire = chase::wire_question(&target, ask.qtype);
        let of_target =
            ClientQuery { question: &wire, name: &target, limit: Self::TCP_LIMIT, own_options: &[], ..ask };
        let (own, limit) = (so_far.to_vec(), ask.limit);
        let join = move |chased: &[u8]| late.release(&chase::join(&own, chased, limit));
        forwarder.forward(&of_target, packet, Box::new(join));
    }
}

/// A client that waits for its answer.
struct Late {
    guard: Arc<Guard>,
    metrics: Arc<Metrics>,
    context: Context,
    cookie: CookieCheck,
    /// The request, where its client could be another one than it says, so that responses are limited.
    to_judge: Option<Box<[u8]>>,
    reply: Reply,
}

impl Late {
    /// Sends the answer as far as the client may have it, and counts it.
    fn release(self, answer: &[u8]) {
        let flags = answer.get(2..4).and_then(|flags| flags.first_chunk()).copied().unwrap_or([0; 2]);
        let code = ResponseCode::from(0, flags[1] & 0x0f);
        match self.judge(code) {
            Release::Send => {
                self.count(code, flags[0] & 0x02 != 0);
                (self.reply)(answer);
            }
            Release::Truncate => {
                self.metrics.restricted(Restriction::ResponseTruncated);
                let Some(short) = self.short() else { return };
                self.count(ResponseCode::NoError, true);
                (self.reply)(&short);
            }
            Release::Drop => {
                self.metrics.restricted(Restriction::ResponseDropped);
                self.metrics.count(self.context.transport, Outcome::Silence);
            }
        }
    }

    fn judge(&self, code: ResponseCode) -> Release {
        let Some(packet) = &self.to_judge else { return Release::Send };
        let mut room = [0; 256];
        let Request::Query(Query { question, .. }) = read(packet, &mut room) else { return Release::Send };
        let address = self.context.client;
        let client = self.guard.client(address);
        self.guard.judge_response(client, address, code, (question.name, question.qtype))
    }

    /// An answer with nothing but TC.
    fn short(&self) -> Option<Vec<u8>> {
        let mut room = [0; 256];
        let Request::Query(query) = read(self.to_judge.as_ref()?, &mut room) else { return None };
        let mut short = Vec::new();
        write_short(&query, &own_options(self.cookie), (ResponseCode::NoError, true), &mut short);
        Some(short)
    }

    fn count(&self, code: ResponseCode, truncated: bool) {
        self.metrics.count(self.context.transport, outcome(code));
        if truncated {
            self.metrics.truncated();
        }
    }
}

/// What of our own goes into the OPT record of somebody else's answer.
fn own_options(cookie: CookieCheck) -> Options {
    let mut options = Options::new();
    if let Some(cookie) = cookie.reply() {
        write_cookie(cookie, &mut options);
    }
    options
}
