//! A second opinion: hickory-server's catalog with the same names and records, as a master file has
//! them.
//!
//! The oracle is part of this project, so it may misread an RFC the same way as muster does.
//! hickory-server has other authors. The two must agree on the response code, AA, the records of
//! the answer and the SOA of a negative answer, but for [`DIFFERENCES`], each with its reason.
//!
//! Not compared: the order of records (muster rotates them), the additional section, and NS records
//! in the authority section of positive answers, which hickory-server adds to those for SOA only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use futures_util::{FutureExt as _, StreamExt as _};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{DNSClass, LowerName, Name, RData, Record, RecordType},
    serialize::txt::Parser,
};
use hickory_server::{
    net::{BufDnsStreamHandle, runtime::TokioTime, xfer::Protocol},
    server::{Request, RequestHandler as _, ResponseHandle},
    store::in_memory::InMemoryZoneHandler,
    zone_handler::{AxfrPolicy, Catalog, ZoneHandler, ZoneType},
};
use muster::{
    dns::{Context, Responder, Response, Rotation},
    telemetry::{Metrics, Transport},
};
use testkit::running::Running;

const CLIENT: Ipv4Addr = Ipv4Addr::LOCALHOST;

const ZONE: &str = r#"
namespace = "shop.internal"
ttl = 30
negative_ttl = 5
txt = true

[services.web]
from = [{ static = [
  { id = "i0", address = ["10.0.0.10", "fd00::10"], port = 80, port_name = "http", weight = 1, labels = { version = "v1", zone = "a" } },
  { id = "i1", address = "10.0.0.11", port = 8080, port_name = "http", weight = 2 },
] }]
names = { "v1.web" = { labels = { version = "v1" } } }

[services."_ldap._tcp"]
from = [{ static = [{ id = "l0", address = "10.0.0.20", port = 389 }] }]

[services.store]
alias = "web"

[services.cdn]
alias = "www.example.net"

[services.vm]
from = [{ static = [{ id = "v0", address = "vm-1.example.net", port = 80 }] }]

[services.here]
from = [{ static = [{ id = "h0", address = "web.corp.example", port = 80 }] }]

[services.deep]
from = [{ static = [{ id = "d0", address = "10.0.0.30", port = 80 }] }]
names = { "leaf.empty" = { source = "static" } }
"#;

/// The same as a master file. A name that is a CNAME here may have SRV records in muster.
const RECORDS: &str = r#"
$TTL 30
@               SOA   ns hostmaster SERIAL 3600 600 86400 5
@               NS    ns
ns              A     127.0.0.1

web             A     10.0.0.10
web             A     10.0.0.11
web             AAAA  fd00::10
web             SRV   0 1 80 i0.web
web             SRV   0 2 8080 i1.web
_http._tcp.web  SRV   0 1 80 i0.web
_http._tcp.web  SRV   0 2 8080 i1.web
i0.web          A     10.0.0.10
i0.web          AAAA  fd00::10
i0.web          TXT   "version=v1" "zone=a"
i1.web          A     10.0.0.11
i1.web          TXT   ""

v1.web              A     10.0.0.10
v1.web              AAAA  fd00::10
v1.web              SRV   0 1 80 i0.v1.web
_http._tcp.v1.web   SRV   0 1 80 i0.v1.web
i0.v1.web           A     10.0.0.10
i0.v1.web           AAAA  fd00::10
i0.v1.web           TXT   "version=v1" "zone=a"

store           A     10.0.0.10
store           A     10.0.0.11
store           AAAA  fd00::10
store           SRV   0 1 80 i0.store
store           SRV   0 2 8080 i1.store
_http._tcp.store SRV  0 1 80 i0.store
_http._tcp.store SRV  0 2 8080 i1.store
i0.store        A     10.0.0.10
i0.store        AAAA  fd00::10
i0.store        TXT   "version=v1" "zone=a"
i1.store        A     10.0.0.11
i1.store        TXT   ""

_ldap._tcp      SRV   0 1 389 l0._ldap._tcp
_ldap._tcp      A     10.0.0.20
l0._ldap._tcp   A     10.0.0.20
l0._ldap._tcp   TXT   ""

cdn             CNAME www.example.net.
vm              CNAME vm-1.example.net.
v0.vm           CNAME vm-1.example.net.
here            CNAME web.corp.example.
h0.here         CNAME web.corp.example.

deep            A     10.0.0.30
deep            SRV   0 1 80 d0.deep
d0.deep         A     10.0.0.30
d0.deep         TXT   ""
leaf.empty      A     10.0.0.30
leaf.empty      SRV   0 1 80 d0.leaf.empty
d0.leaf.empty   A     10.0.0.30
d0.leaf.empty   TXT   ""
"#;

/// A namespace below the first one, and one that a name of the first one leads to.
const NESTED_ZONE: &str = r#"
namespace = "eu.shop.internal"
ttl = 30
negative_ttl = 5
[services.web]
from = [{ static = [{ id = "i0", address = "10.1.0.10", port = 80 }] }]
"#;

const OTHER_ZONE: &str = r#"
namespace = "corp.example"
ttl = 30
negative_ttl = 5
[services.web]
from = [{ static = [{ id = "i0", address = "10.1.0.10", port = 80 }] }]
"#;

const NESTED_RECORDS: &str = "
$TTL 30
@       SOA   ns hostmaster SERIAL 3600 600 86400 5
@       NS    ns
ns      A     127.0.0.1
web     A     10.1.0.10
web     SRV   0 1 80 i0.web
i0.web  A     10.1.0.10
";

const MASTER_FILES: [(&str, &str); 3] =
    [("shop.internal.", RECORDS), ("eu.shop.internal.", NESTED_RECORDS), ("corp.example.", NESTED_RECORDS)];

/// A question in parts.
#[derive(Clone, Debug)]
struct Question {
    name: String,
    qtype: RecordType,
    class: DNSClass,
    opcode: OpCode,
    is_response: bool,
    /// The EDNS version, if there is an OPT record.
    edns: Option<u8>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Silence,
    Code,
    Aa,
    Answers,
    Soa,
    SoaTtl,
}

/// A known difference; each part of it must be seen.
struct Difference {
    parts: &'static [Part],
    concerns: fn(&Question) -> bool,
    why: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        parts: &[Part::SoaTtl],
        concerns: |_| true,
        why: "RFC 2308 section 3: a negative answer's SOA has the smaller one of its TTL and its MINIMUM field. \
              hickory-server leaves the SOA's own TTL",
    },
    Difference {
        parts: &[Part::Answers, Part::Soa],
        concerns: |question| question.has_host() && !question.is_for_addresses(),
        why: "an instance with a host name answers queries for addresses and CNAME with a CNAME, and has an SRV record \
              at the same name, which a zone file cannot have (RFC 1034 section 3.6.2)",
    },
    Difference {
        parts: &[Part::Answers, Part::Soa],
        concerns: |question| question.name.ends_with("here.shop.internal.") && question.is_for_addresses(),
        why: "RFC 1034 section 4.3.2 step 3a: after a CNAME, go back to step 1, the search for a zone. hickory-server \
              stays in the zone that it has found",
    },
    Difference {
        parts: &[Part::Soa],
        concerns: |question| question.qtype == RecordType::DS && question.is_for_apex(),
        why: "RFC 4035 section 3.1.4.1: DS of an apex comes from the parent's side if a parent is ours. hickory-server \
              answers from the child",
    },
    Difference {
        parts: &[Part::Answers],
        concerns: |question| question.qtype == RecordType::ANY && question.is_for_apex(),
        why: "RFC 8482 section 4.1: one RRset of those at the name, whichever. muster takes the SOA, hickory-server the NS",
    },
    Difference {
        parts: &[Part::Code, Part::Aa, Part::Answers],
        concerns: |question| question.class != DNSClass::IN,
        why: "hickory-server does not look at the class, and answers with records of another one",
    },
    Difference {
        parts: &[Part::Silence],
        concerns: |question| question.is_response,
        why: "an answer to a response may start two servers answering each other for good; hickory-server says FORMERR",
    },
];

impl Question {
    fn new(name: &str, qtype: RecordType) -> Self {
        Self {
            name: name.to_owned(),
            qtype,
            class: DNSClass::IN,
            opcode: OpCode::Query,
            is_response: false,
            edns: Some(0),
        }
    }

    /// Whether it is for a service whose instance has a host name.
    fn has_host(&self) -> bool {
        ["vm.shop.internal.", "here.shop.internal."].contains(&self.name.as_str())
    }

    fn is_for_addresses(&self) -> bool {
        matches!(self.qtype, RecordType::A | RecordType::AAAA)
    }

    fn is_for_apex(&self) -> bool {
        MASTER_FILES.iter().any(|(apex, _)| self.name == *apex)
    }

    fn packet(&self) -> Vec<u8> {
        let kind = if self.is_response { MessageType::Response } else { MessageType::Query };
        let mut message = Message::new(0x4d55, kind, self.opcode);
        let mut query = Query::query(Name::from_ascii(&self.name).unwrap(), self.qtype);
        query.set_query_class(self.class);
        message.add_query(query);
        if let Some(version) = self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(1232).set_version(version);
            message.edns = Some(edns);
        }
        message.to_vec().unwrap()
    }
}

/// Both servers.
struct Both {
    _running: Running,
    responder: Responder,
    catalog: Catalog,
}

impl Both {
    fn start() -> Self {
        let files = [
            ("muster.toml".into(), "[listen]\ndns = [\"127.0.0.1:0\"]\n".to_owned()),
            ("zones/shop.toml".into(), ZONE.to_owned()),
            ("zones/eu.toml".into(), NESTED_ZONE.to_owned()),
            ("zones/corp.toml".into(), OTHER_ZONE.to_owned()),
        ];
        let running = Running::with_files(&files);
        let metrics = Arc::new(Metrics::new().unwrap());
        let responder = Responder::new(Arc::clone(running.server().cell()), metrics, None);
        let mut both = Self { _running: running, responder, catalog: Catalog::new() };
        for (apex, records) in MASTER_FILES {
            let soa = both.ask_muster(&Question::new(apex, RecordType::SOA).packet()).unwrap();
            let RData::SOA(soa) = &soa.answers[0].data else { panic!("{soa}") };
            let records = records.replace("SERIAL", &soa.serial.to_string());
            let apex = Name::from_ascii(apex).unwrap();
            let (_, records) = Parser::new(records, None, Some(apex.clone())).parse().unwrap();
            let zone: InMemoryZoneHandler =
                InMemoryZoneHandler::new(apex.clone(), records, ZoneType::Primary, AxfrPolicy::Deny).unwrap();
            both.catalog.upsert(LowerName::new(&apex), vec![Arc::new(zone) as Arc<dyn ZoneHandler>]);
        }
        both
    }

    fn ask_muster(&self, packet: &[u8]) -> Option<Message> {
        let context =
            Context { transport: Transport::Tcp, local_addr: Some(CLIENT.into()), client: CLIENT.into() };
        let mut out = Vec::new();
        let response = self.responder.respond(packet, context, &mut Rotation::default(), &mut out);
        matches!(response, Response::Ready).then(|| Message::from_vec(&out).unwrap())
    }

    fn ask_hickory(&self, packet: &[u8]) -> Option<Message> {
        let client = SocketAddr::from((CLIENT, 53));
        let request = Request::from_bytes(packet.to_vec(), client, Protocol::Tcp).unwrap();
        let (stream, mut sent) = BufDnsStreamHandle::new(client);
        let handle = ResponseHandle::new(client, stream, Protocol::Tcp);
        let handled = self.catalog.handle_request::<_, TokioTime>(&request, handle);
        handled.now_or_never().expect("nothing to wait for");
        let (bytes, _) = sent.next().now_or_never()??.into_parts();
        Some(Message::from_vec(&bytes).unwrap())
    }
}

/// Records as text, sorted and in lower case: muster turns lists, and compresses names into those
/// of the query.
fn records(records: &[Record]) -> BTreeSet<String> {
    let text = |record: &Record| {
        format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data).to_lowercase()
    };
    records.iter().map(text).collect()
}

fn parts(message: Option<&Message>) -> BTreeMap<Part, String> {
    let Some(message) = message else { return [(Part::Silence, "silence".to_owned())].into() };
    let is_soa = |record: &&Record| record.record_type() == RecordType::SOA;
    let soa: Vec<_> = message.authorities.iter().filter(is_soa).cloned().collect();
    let ttls: Vec<_> = soa.iter().map(|soa| soa.ttl).collect();
    let soa: Vec<_> = soa.into_iter().map(|soa| Record::from_rdata(soa.name, 0, soa.data)).collect();
    let mut parts = BTreeMap::from([
        (Part::Silence, "an answer".to_owned()),
        (Part::Code, u16::from(message.metadata.response_code).to_string()),
        (Part::Aa, message.metadata.authoritative.to_string()),
        (Part::Answers, format!("{:?}", records(&message.answers))),
        (Part::Soa, format!("{:?}", records(&soa))),
    ]);
    if !ttls.is_empty() {
        parts.insert(Part::SoaTtl, format!("{ttls:?}"));
    }
    parts
}

/// Every name of the zones, names above and below it, names that look like it, and names in upper
/// case: each with every type. Then headers, classes and EDNS versions that are out of the
/// ordinary.
fn questions() -> Vec<Question> {
    let mut names = BTreeSet::new();
    for (apex, records) in MASTER_FILES {
        for owner in records.lines().filter_map(|line| line.split_whitespace().next()) {
            let owner = match owner {
                "$TTL" => continue,
                "@" => apex.to_owned(),
                owner => format!("{owner}.{apex}"),
            };
            names.extend([format!("x.{owner}"), format!("_x._tcp.{owner}"), format!("x{owner}")]);
            let mut above = owner.as_str();
            while let Some((_, rest)) = above.split_once('.') {
                names.insert(above.to_owned());
                above = rest;
            }
        }
    }
    names.extend(["Web.SHOP.internal.", "i0.wEb.sHop.internal.", "WWW.example.NET."].map(str::to_owned));
    let types = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::SRV,
        RecordType::TXT,
        RecordType::CNAME,
        RecordType::NS,
        RecordType::SOA,
        RecordType::MX,
        RecordType::PTR,
        RecordType::DS,
        RecordType::ANY,
        RecordType::AXFR,
        RecordType::Unknown(65_280),
    ];
    let mut all: Vec<_> =
        names.iter().flat_map(|name| types.map(|qtype| Question::new(name, qtype))).collect();
    let web = Question::new("web.shop.internal.", RecordType::A);
    all.extend([
        Question { edns: None, ..web.clone() },
        Question { edns: Some(1), ..web.clone() },
        Question { class: DNSClass::CH, ..web.clone() },
        Question { class: DNSClass::ANY, ..web.clone() },
        Question { opcode: OpCode::Status, ..web.clone() },
        Question { opcode: OpCode::Notify, ..web.clone() },
        Question { is_response: true, ..web },
    ]);
    all
}

#[test]
fn hickory_server_agrees_but_for_known_differences() {
    let both = Both::start();
    let mut seen = BTreeSet::new();
    let mut unknown = String::new();
    for question in questions() {
        let packet = question.packet();
        let (ours, theirs) = (both.ask_muster(&packet), both.ask_hickory(&packet));
        let (our_parts, their_parts) = (parts(ours.as_ref()), parts(theirs.as_ref()));
        for (part, ours) in our_parts {
            let Some(theirs) = their_parts.get(&part).filter(|theirs| **theirs != ours) else { continue };
            let mut known = DIFFERENCES.iter().enumerate();
            let known = known.find(|(_, known)| known.parts.contains(&part) && (known.concerns)(&question));
            let Some((place, _)) = known else {
                let Question { name, qtype, .. } = &question;
                let _ = writeln!(unknown, "{name} {qtype} {part:?}: muster {ours}, hickory-server {theirs}");
                continue;
            };
            seen.insert((place, part));
        }
    }
    assert!(unknown.is_empty(), "\n{unknown}");
    for (place, difference) in DIFFERENCES.iter().enumerate() {
        for part in difference.parts {
            assert!(seen.contains(&(place, *part)), "{part:?} is alike now: {}", difference.why);
        }
    }
}
