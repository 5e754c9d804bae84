//! Peeking: the answer that somebody would get, made by the answer path itself, for explanations.

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name as WireName, Record, RecordType},
};

use super::{
    access::Standing,
    answer::{Answer, Facts, is_built_in_ns},
    chase,
    encode::{UDP_LIMIT, write},
    handoff::ask,
    pointers::may_be_others,
    question::{Question, Request, read},
    reply::say,
    responder::{Context, Responder, limit},
    rotation::Rotation,
};
use crate::{
    catalog::Lookup,
    model::{GivenAnswer, Name},
    telemetry::Transport,
};

impl Responder {
    /// Makes the answer that `client` would get over UDP now, at the turn that `rotation` has. Counts nothing, asks nobody,
    /// and limits nothing: what is said of rates and cookies is left out, and what others have to say is not known.
    pub fn peek(
        &self,
        (name, qtype): (&Name, RecordType),
        client: IpAddr,
        rotation: &mut Rotation,
    ) -> GivenAnswer {
        let Some(packet) = question(name, qtype) else {
            return nothing("no question can be made of this name");
        };
        let mut room = [0; 256];
        let request = read(&packet, &mut room);
        let Request::Query(query) = &request else {
            return nothing("this is no question that is answered");
        };
        let question = &query.question;
        let standing = self.guard.client(client).standing;
        if standing == Standing::Denied {
            return nothing("[access] deny has the client: it gets no answer at all");
        }
        let context = Context { transport: Transport::Udp, asked: None, client };
        let snapshot = self.cell.load();
        let view = snapshot.view();
        let lookup = view.lookup(question.name);
        let facts = Facts {
            view: &view,
            metrics: None,
            client,
            on_behalf_of: None,
            version: self.version.as_deref(),
            asked: None,
            specials: &self.specials,
        };
        let answer = say(standing, question, lookup, &facts, rotation);
        let is_elsewhere = matches!((&answer, lookup), (Answer::Refused, Lookup::External));
        if may_be_others(&answer, lookup, question, &facts)
            && standing == Standing::AllNames
            && ask(query, context.transport, &[]).is_some()
            && let Some(who) = self.who_is_asked(question.name)
        {
            return nothing(&format!("forwarded: {who}"));
        }
        let mut out = Vec::new();
        let limit = limit(context.transport, query.edns.as_ref());
        write(query, &[], &answer, limit, &mut out);
        chase::inside(query, &answer, &facts, rotation, limit, &mut out);
        let Ok(message) = Message::from_vec(&out) else { return nothing("the answer cannot be read") };
        let mut given = decoded(&message);
        let leads_out = standing == Standing::AllNames && self.leads_out(query, context, &out);
        given.why = match (&answer, standing) {
            (Answer::Special(_), _) => Some(
                "a special name (RFC 6761, RFC 6303): answered here, and nobody else is asked".to_owned(),
            ),
            _ if leads_out => self.who_is_asked_behind(question, &out),
            _ if is_name_server(lookup, question.name) => {
                Some("its address is the one that a query is sent to, so it is left out here".to_owned())
            }
            (Answer::Refused, _) => Some(self.why_refused(standing, is_elsewhere).to_owned()),
            _ => None,
        };
        given
    }

    fn why_refused(&self, standing: Standing, is_elsewhere: bool) -> &'static str {
        let forwards = self.active_forwarder().is_some();
        match standing {
            Standing::Denied | Standing::Stranger => "[access] allow does not have the client",
            _ if !is_elsewhere => "such questions are not answered",
            Standing::OwnNames if forwards => "[access] forward does not have the client",
            _ if forwards => "no suffix in [forward] has the name",
            _ => "nothing is forwarded: name resolvers for other names in [forward]",
        }
    }

    /// Who is asked for a name of somebody else's, in words.
    fn who_is_asked(&self, name: &[u8]) -> Option<String> {
        let (suffix, upstreams) = self.active_forwarder()?.upstreams_for(name)?;
        let suffix = if suffix.is_empty() || suffix == "." { "\".\"".to_owned() } else { suffix };
        Some(format!("{} is asked (for {suffix})", upstreams.join(", ")))
    }

    fn who_is_asked_behind(&self, question: &Question<'_>, own: &[u8]) -> Option<String> {
        let who = self.who_is_asked(&chase::target(own, question.wire.len())?)?;
        Some(format!("its target's records follow: {who}"))
    }
}

fn is_name_server(lookup: Lookup<'_>, name: &[u8]) -> bool {
    matches!(lookup, Lookup::NxDomain(zone) | Lookup::Unknown(zone) if is_built_in_ns(zone, name))
}

/// A question of our own, as a client would write it.
fn question(name: &Name, qtype: RecordType) -> Option<Vec<u8>> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    let name = WireName::from_labels(name.labels()).ok()?;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, qtype));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_LIMIT);
    message.edns = Some(edns);
    message.to_vec().ok()
}

fn nothing(why: &str) -> GivenAnswer {
    GivenAnswer {
        code: None,
        why: Some(why.to_owned()),
        truncated: false,
        answers: Vec::new(),
        authority: Vec::new(),
        additional: Vec::new(),
    }
}

fn decoded(message: &Message) -> GivenAnswer {
    let records = |records: &[Record]| records.iter().map(ToString::to_string).collect();
    let code = u16::from(message.metadata.response_code);
    GivenAnswer {
        code: Some(code_name(code)),
        why: None,
        truncated: message.metadata.truncation,
        answers: records(&message.answers),
        authority: records(&message.authorities),
        additional: records(&message.additionals),
    }
}

/// A response code as `dig` writes it.
fn code_name(code: u16) -> String {
    let name = match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        other => return format!("RCODE{other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use super::*;
    use crate::{
        catalog::{Catalog, SnapshotCell},
        config,
        dns::{Guard, Response, Specials},
        forward::Forwarder,
        telemetry::Metrics,
    };

    const ZONE: &str = "namespace = \"shop\"\n[services.web]\nalias = \"www.corp.example\"\n";

    /// A responder that forwards this; nothing is sent, since the forwarder's engine does not run.
    fn responder(server: &str) -> Responder {
        let zone = (PathBuf::from("zones/shop.toml"), ZONE.to_owned());
        let files = [(PathBuf::from("muster.toml"), server.to_owned()), zone];
        let config = config::load_from(&files).unwrap().config;
        let metrics = Arc::new(Metrics::new().unwrap());
        let (forwarder, _engine) = Forwarder::new(&config, &metrics).unwrap();
        let cell = Arc::new(SnapshotCell::from_pointee(Catalog::new(&config, 1).snapshot()));
        let suffixes: Vec<_> = config.forward.iter().map(|forward| forward.suffix.clone()).collect();
        Responder::new(cell, metrics, None)
            .guarded(Guard::new(&config.access))
            .with_specials(Specials::new(suffixes))
            .with_forwarder(forwarder)
    }

    /// The code and why.
    fn peek(responder: &Responder, name: &str, client: [u8; 4]) -> (String, String) {
        let name: Name = name.parse().unwrap();
        let given = responder.peek((&name, RecordType::A), client.into(), &mut Rotation::default());
        (given.code.unwrap_or_default(), given.why.unwrap_or_default())
    }

    #[test]
    fn an_answer_that_is_not_the_names_own_says_why() {
        const ACCESS: &str = "reverse = [\"10.0.0.0/8\"]\n[access]\nallow = [\"private\", \"192.0.2.0/25\"]\ndeny = [\"10.6.6.6\"]\n";
        const FORWARD: &str = "[forward]\n\"corp.example\" = [\"127.0.0.9\"]\n";
        const HOME: [u8; 4] = [127, 0, 0, 1];
        let forwards = responder(&format!("{ACCESS}{FORWARD}"));
        let counted = forwards.metrics().render(&[]).unwrap();
        let special = "a special name (RFC 6761, RFC 6303): answered here, and nobody else is asked";
        for (name, client, code, why) in [
            ("www.corp.example", HOME, "", "forwarded: 127.0.0.9:53 is asked (for corp.example)"),
            (
                "web.shop",
                HOME,
                "NOERROR",
                "its target's records follow: 127.0.0.9:53 is asked (for corp.example)",
            ),
            ("web.shop", [192, 0, 2, 1], "NOERROR", ""),
            ("www.corp.example", [192, 0, 2, 1], "REFUSED", "[access] forward does not have the client"),
            ("web.shop", [192, 0, 2, 200], "REFUSED", "[access] allow does not have the client"),
            ("web.shop", [10, 6, 6, 6], "", "[access] deny has the client: it gets no answer at all"),
            ("example.com", HOME, "REFUSED", "no suffix in [forward] has the name"),
            ("localhost", HOME, "NOERROR", special),
            (
                "ns.shop",
                HOME,
                "NOERROR",
                "its address is the one that a query is sent to, so it is left out here",
            ),
            ("nothing.shop", HOME, "NXDOMAIN", ""),
            ("4.0.0.10.in-addr.arpa", HOME, "NXDOMAIN", ""),
        ] {
            assert_eq!(peek(&forwards, name, client), (code.to_owned(), why.to_owned()), "{name} {client:?}");
        }
        assert_eq!(forwards.metrics().render(&[]).unwrap(), counted, "nothing is counted");

        // What no instance has in a reverse network is for whom [forward] names, unless it is special or the zone's own.
        let all = responder(&format!(
            "reverse = [\"10.0.0.0/8\", \"127.0.0.0/8\"]\n{}[forward]\n\".\" = \"127.0.0.9\"\n",
            ACCESS.split_once('\n').unwrap().1
        ));
        let asked = "forwarded: 127.0.0.9:53 is asked (for \".\")";
        for (name, client, code, why) in [
            ("4.0.0.10.in-addr.arpa", HOME, "", asked),
            ("_x.4.0.0.10.in-addr.arpa", HOME, "", asked),
            ("4.0.0.10.in-addr.arpa", [192, 0, 2, 1], "NXDOMAIN", ""),
            ("0.0.10.in-addr.arpa", HOME, "NOERROR", ""),
            ("9.0.0.127.in-addr.arpa", HOME, "NXDOMAIN", ""),
        ] {
            assert_eq!(peek(&all, name, client), (code.to_owned(), why.to_owned()), "{name} {client:?}");
            let expected = if why.is_empty() { Response::Ready } else { Response::Later };
            let context = Context { transport: Transport::Udp, asked: None, client: client.into() };
            let packet = question(&name.parse().unwrap(), RecordType::PTR).unwrap();
            let given = all.respond(&packet, context, &mut Rotation::default(), &mut Vec::new());
            assert_eq!(given, expected, "{name} {client:?}");
        }
        let alone = "nothing is forwarded: name resolvers for other names in [forward]";
        assert_eq!(peek(&responder(""), "example.com", HOME), ("REFUSED".to_owned(), alone.to_owned()));
    }
}
