//! Replying: what one request gets, once its name is looked up.

use hickory_proto::op::ResponseCode;

use super::{
    access::{Client, Release, Standing},
    answer::{Answer, Facts, Records, find},
    chase,
    encode::{Written, write, write_bad_version, write_bare, write_short},
    handoff::ask,
    options::{Options, Sender},
    pointers::may_be_others,
    question::{Header, Query, Question, Request},
    responder::{Context, Found, Responder, Response, limit},
    rotation::Rotation,
};
use crate::{
    catalog::Lookup,
    forward::Forwarding,
    telemetry::{Outcome, Restriction, Transport},
};

/// What is said to a request.
enum Said {
    /// The answer that is written.
    Answer(Written),
    Nothing,
    /// What somebody else has to say.
    Elsewhere,
}

impl Responder {
    /// Writes the answer to one request and counts it.
    pub(super) fn answer(
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
                Forwarding::Answered(written) => {
                    let code = ResponseCode::from(0, written.code);
                    return Some(Written { code, truncated: written.truncated });
                }
                Forwarding::QueryUpstream => return None,
                Forwarding::Refused => {}
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
