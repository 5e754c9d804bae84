//! Dry runs: the answer that a client would get, made by the answer path itself, for explanations.

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query as QuestionSection},
    rr::{Name as HickoryName, Record, RecordType},
};

use super::{
    decide::decide,
    encode::{self, Envelope, ReplySummary},
    exchange::{ClientOptions, Context, Exchange, size_limit},
    find::is_built_in_ns,
    records::{Content, Decision, DropReason, Fallback, Forward, Refusal, ZoneRecords},
    request::{Query, Request, read},
    rotation::Rotation,
    settings::Settings,
};
use crate::{
    catalog::{Lookup, View},
    model::{GivenAnswer, Name},
    telemetry::{QueryOutcome, Transport},
    wire::{UDP_LIMIT, WireName},
};

/// Makes the answer that `client` would get over UDP, at the turn that `rotation` has.
///
/// Counts nothing and queries no upstream. Skips rate limits and cookies.
pub(super) fn dry_run(
    view: &View<'_>,
    settings: &Settings,
    (name, qtype): (&Name, RecordType),
    client: IpAddr,
    rotation: &mut Rotation,
) -> GivenAnswer {
    let Some(packet) = packet(name, qtype) else { return no_answer("this name does not fit into a query") };
    let mut buffer = [0; 256];
    let request = read(&packet, &mut buffer);
    let Request::Query(query) = &request else { return no_answer("the query cannot be parsed") };
    let exchange = Exchange {
        request: &request,
        context: Context { transport: Transport::Udp, local_addr: None, client },
        access: settings.access.client(client).without_limits(),
        view,
        lookup: view.lookup(query.question.name),
    };
    let options = ClientOptions::default();
    let decision = decide(&exchange, Some(&options), settings, rotation, &mut ());
    let envelope = Envelope {
        query,
        options: &[],
        recursion_available: false,
        limit: size_limit(Transport::Udp, query.edns.as_ref()),
    };
    let refused = |refusal: Refusal| {
        let write = |out: &mut Vec<u8>| encode::refuse(&request, Some(&envelope), refusal, (false, &[]), out);
        encoded(why_refused(refusal), write)
    };
    let answered = |why: Option<String>, content: &Content<'_>| {
        encoded(why, |out| encode::answer(&envelope, content, out))
    };
    match decision {
        Decision::Drop(DropReason::Denied) => {
            no_answer("the client is in [access] deny: it gets no response")
        }
        Decision::Drop(DropReason::Noise) => no_answer("the query cannot be parsed"),
        Decision::Refuse(refusal) => refused(refusal),
        Decision::Answer(content) => answered(why(&exchange, query, &content), &content),
        Decision::Chase(cname, target) => encoded(None, |out| encode::chase(&envelope, &cname, &target, out)),
        Decision::Forward(Forward::Target(zone, cname)) => {
            let upstreams = upstreams(settings, cname.target.wire()).unwrap_or_default();
            let why = format!("the target is forwarded to {upstreams}; its records follow");
            answered(Some(why), &Content::Zone(zone, ZoneRecords::Cname(cname)))
        }
        Decision::Forward(Forward::Query(fallback)) => {
            match (upstreams(settings, query.question.name), fallback) {
                (Some(upstreams), _) => no_answer(&format!("forwarded to {upstreams}")),
                (None, Fallback::Refuse(refusal)) => refused(refusal),
                (None, Fallback::Answer(content)) => answered(None, &content),
            }
        }
    }
}

/// Why the client gets this answer. `None` if the name alone decides it.
fn why(exchange: &Exchange<'_>, query: &Query<'_>, content: &Content<'_>) -> Option<String> {
    match (content, exchange.lookup) {
        (Content::Special(_), _) => {
            Some("a special name (RFC 6761, RFC 6303): muster answers it itself".to_owned())
        }
        (_, Lookup::NxDomain(zone) | Lookup::NotSynced(zone))
            if is_built_in_ns(zone, query.question.name) =>
        {
            Some("its address is whichever address the query is sent to, so it is not shown here".to_owned())
        }
        _ => None,
    }
}

/// Why a query is refused. `None` if the response code says it all.
fn why_refused(refusal: Refusal) -> Option<String> {
    let why = match refusal {
        Refusal::NotAllowed => "the client is not in [access] allow",
        Refusal::Unsupported => "unsupported query",
        Refusal::NotAllowedToForward => "the client is not in [access] forward",
        Refusal::NoSuffix => "no suffix in [forward] covers the name",
        Refusal::NoForwarding => "forwarding is off: add resolvers for external names to [forward]",
        Refusal::Malformed
        | Refusal::OtherOpcode
        | Refusal::Version
        | Refusal::Cookie { .. }
        | Refusal::CookieOnly { .. }
        | Refusal::NotSynced => return None,
    };
    Some(why.to_owned())
}

/// The upstreams for an external name, as text.
fn upstreams(settings: &Settings, name: WireName<'_>) -> Option<String> {
    let (suffix, upstreams) = settings.active_forwarder()?.upstreams_for(name)?;
    let suffix = if suffix.is_empty() || suffix == "." { "\".\"".to_owned() } else { suffix };
    Some(format!("{} (for {suffix})", upstreams.join(", ")))
}

/// The packet that a client would send for this query.
fn packet(name: &Name, qtype: RecordType) -> Option<Vec<u8>> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    let name = HickoryName::from_labels(name.labels()).ok()?;
    message.metadata.recursion_desired = true;
    message.add_query(QuestionSection::query(name, qtype));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_LIMIT);
    message.edns = Some(edns);
    message.to_vec().ok()
}

fn no_answer(why: &str) -> GivenAnswer {
    GivenAnswer {
        code: None,
        why: Some(why.to_owned()),
        truncated: false,
        answers: Vec::new(),
        authority: Vec::new(),
        additional: Vec::new(),
    }
}

/// The answer as text: written as for a client, then decoded by hickory-proto.
fn encoded(why: Option<String>, write: impl FnOnce(&mut Vec<u8>) -> ReplySummary) -> GivenAnswer {
    let mut out = Vec::new();
    let written = write(&mut out);
    let Ok(message) = Message::from_vec(&out) else { return no_answer("the answer cannot be decoded") };
    let records = |records: &[Record]| records.iter().map(ToString::to_string).collect();
    GivenAnswer {
        code: Some(QueryOutcome::from(written.code).as_str().to_owned()),
        why,
        truncated: written.truncated,
        answers: records(&message.answers),
        authority: records(&message.authorities),
        additional: records(&message.additionals),
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use super::*;
    use crate::{
        catalog::{Catalog, SnapshotCell},
        config,
        dns::{AccessControl, Responder, Response, Specials},
        forward::Forwarder,
        telemetry::Metrics,
    };

    const ZONE: &str = "namespace = \"shop\"\n[services.web]\nalias = \"www.corp.example\"\n";

    /// A responder with this configuration. Nothing is sent, because the forwarder's engine does
    /// not run.
    fn responder(server: &str) -> Responder {
        let zone = (PathBuf::from("zones/shop.toml"), ZONE.to_owned());
        let files = [(PathBuf::from("muster.toml"), server.to_owned()), zone];
        let config = config::load_from(&files).unwrap().config;
        let metrics = Arc::new(Metrics::new().unwrap());
        let (forwarder, _engine) = Forwarder::new(&config, &metrics).unwrap();
        let cell = Arc::new(SnapshotCell::from_pointee(Catalog::new(&config, 1).snapshot()));
        let suffixes: Vec<_> = config.forward.iter().map(|forward| forward.suffix.clone()).collect();
        Responder::new(cell, metrics, None)
            .with_access(AccessControl::new(&config.access))
            .with_specials(Specials::new(suffixes))
            .with_forwarder(forwarder)
    }

    /// The response code and its reason.
    fn explain(responder: &Responder, name: &str, client: [u8; 4]) -> (String, String) {
        let name: Name = name.parse().unwrap();
        let given = responder.explain((&name, RecordType::A), client.into(), &mut Rotation::default());
        (given.code.unwrap_or_default(), given.why.unwrap_or_default())
    }

    #[test]
    fn refused_forwarded_and_special_names_say_why() {
        const ACCESS: &str = "reverse = [\"10.0.0.0/8\"]\n[access]\nallow = [\"private\", \"192.0.2.0/25\"]\ndeny = [\"10.6.6.6\"]\n";
        const FORWARD: &str = "[forward]\n\"corp.example\" = [\"127.0.0.9\"]\n";
        const HOME: [u8; 4] = [127, 0, 0, 1];
        let forwards = responder(&format!("{ACCESS}{FORWARD}"));
        let counts = || -> Vec<String> {
            let text = forwards.metrics().render(&[]).unwrap();
            text.lines().filter(|line| line.starts_with("muster_")).map(str::to_owned).collect()
        };
        let counted = counts();
        let special = "a special name (RFC 6761, RFC 6303): muster answers it itself";
        for (name, client, code, why) in [
            ("www.corp.example", HOME, "", "forwarded to 127.0.0.9:53 (for corp.example)"),
            (
                "web.shop",
                HOME,
                "NOERROR",
                "the target is forwarded to 127.0.0.9:53 (for corp.example); its records follow",
            ),
            ("web.shop", [192, 0, 2, 1], "NOERROR", ""),
            ("www.corp.example", [192, 0, 2, 1], "REFUSED", "the client is not in [access] forward"),
            ("web.shop", [192, 0, 2, 200], "REFUSED", "the client is not in [access] allow"),
            ("web.shop", [10, 6, 6, 6], "", "the client is in [access] deny: it gets no response"),
            ("example.com", HOME, "REFUSED", "no suffix in [forward] covers the name"),
            ("localhost", HOME, "NOERROR", special),
            (
                "ns.shop",
                HOME,
                "NOERROR",
                "its address is whichever address the query is sent to, so it is not shown here",
            ),
            ("nothing.shop", HOME, "NXDOMAIN", ""),
            ("4.0.0.10.in-addr.arpa", HOME, "NXDOMAIN", ""),
        ] {
            assert_eq!(
                explain(&forwards, name, client),
                (code.to_owned(), why.to_owned()),
                "{name} {client:?}"
            );
        }
        assert_eq!(counts(), counted, "nothing is counted");

        // Reverse names that no instance has are forwarded for clients in `[access] forward`,
        // unless they are special or the zone's apex.
        let all = responder(&format!(
            "reverse = [\"10.0.0.0/8\", \"127.0.0.0/8\"]\n{}[forward]\n\".\" = \"127.0.0.9\"\n",
            ACCESS.split_once('\n').unwrap().1
        ));
        let forwarded = "forwarded to 127.0.0.9:53 (for \".\")";
        for (name, client, code, why) in [
            ("4.0.0.10.in-addr.arpa", HOME, "", forwarded),
            ("_x.4.0.0.10.in-addr.arpa", HOME, "", forwarded),
            ("4.0.0.10.in-addr.arpa", [192, 0, 2, 1], "NXDOMAIN", ""),
            ("0.0.10.in-addr.arpa", HOME, "NOERROR", ""),
            ("9.0.0.127.in-addr.arpa", HOME, "NXDOMAIN", ""),
        ] {
            assert_eq!(explain(&all, name, client), (code.to_owned(), why.to_owned()), "{name} {client:?}");
            let context = Context { transport: Transport::Udp, local_addr: None, client: client.into() };
            let packet = packet(&name.parse().unwrap(), RecordType::PTR).unwrap();
            let given = all.respond(&packet, context, &mut Rotation::default(), &mut Vec::new());
            assert_eq!(matches!(given, Response::Ready), why.is_empty(), "{name} {client:?}");
        }
        let off = "forwarding is off: add resolvers for external names to [forward]";
        assert_eq!(explain(&responder(""), "example.com", HOME), ("REFUSED".to_owned(), off.to_owned()));
    }
}
