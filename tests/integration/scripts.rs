//! Runs `tests/scripts/*.toml`: updates in, queries, answers out, through the real configuration,
//! catalog and responder.
//!
//! A script has a `zone` (a zone file's text) and steps. A step is an update (`reset`, `upsert`,
//! `remove`, `expire`, `fail`, `import`), an edit of the zone (`edit`), a time that passes (`wait`)
//! or a query (`ask`) with the expected answer. The sources `consul.vms` and `kubernetes.eks` exist;
//! `server` adds to `muster.toml`. A query may have a `client` and be repeated `lookups` times;
//! then `shares` says how many answers begin with one of these addresses. hickory-proto, which does
//! not share code with the answer path, decodes every answer.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name as DnsName, RData, Record, RecordType},
};
use muster::{
    catalog::{Catalog, Reconfiguration, SnapshotCell},
    config::{self, Config},
    dns::{Context, Responder, Response, Rotation},
    model::{
        Health, Import, Instance, Member, Name, NamedPort, Protocol, SourceId, SourceKind, Target, Update,
    },
    telemetry::{Metrics, Transport},
};
use serde::Deserialize;

const SERVER: &str = r#"
[consul.vms]
address = "http://127.0.0.1:8500"
[kubernetes.eks]
identify_clients = true
"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    #[serde(default)]
    server: String,
    zone: String,
    step: Vec<Step>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Step {
    note: Option<String>,
    reset: Option<String>,
    upsert: Option<String>,
    remove: Option<String>,
    expire: Option<String>,
    fail: Option<String>,
    expire_import: bool,
    import: Option<Vec<String>>,
    edit: Option<String>,
    wait: Option<u64>,
    id: String,
    instances: Vec<GivenInstance>,
    generate: Option<u8>,
    ask: Option<String>,
    client: Option<IpAddr>,
    lookups: Option<usize>,
    shares: Vec<Share>,
    tcp: bool,
    edns: Option<u16>,
    rcode: Option<String>,
    answer: Option<Vec<String>>,
    answers: Option<usize>,
    first: Option<String>,
    authority: Vec<String>,
    additional: Option<Vec<String>>,
    additionals: Option<usize>,
    tc: bool,
    ttl: Option<u32>,
    at_most: Option<usize>,
}

/// How many lookups of a step are answered by an instance at one of these addresses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Share {
    of: Vec<IpAddr>,
    count: usize,
    /// How far the number may be from `count`.
    #[serde(default)]
    within: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenInstance {
    id: String,
    address: Option<IpAddr>,
    address6: Option<IpAddr>,
    host: Option<String>,
    port: u16,
    #[serde(default)]
    ports: Vec<GivenPort>,
    #[serde(default = "healthy")]
    health: String,
    weight: Option<u16>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    locality: Option<String>,
    datacenter: Option<String>,
    kube_namespace: Option<String>,
    #[serde(default)]
    shares_address: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenPort {
    name: String,
    port: u16,
    #[serde(default)]
    protocol: String,
}

fn healthy() -> String {
    "healthy".to_owned()
}

impl GivenInstance {
    fn into_instance(self) -> Instance {
        let health = Health::ALL.into_iter().find(|h| h.as_str() == self.health).expect("a health state");
        let addresses: Vec<_> = self.address.into_iter().chain(self.address6).collect();
        let target = match self.host {
            Some(host) => Target::Host(host.parse().unwrap()),
            None => Target::Addresses(addresses.into()),
        };
        let named_ports = self
            .ports
            .into_iter()
            .map(|given| NamedPort {
                name: given.name.into(),
                protocol: if given.protocol == "udp" { Protocol::Udp } else { Protocol::Tcp },
                port: given.port,
            })
            .collect();
        Instance {
            target,
            health,
            named_ports,
            weight: self.weight.unwrap_or(Instance::DEFAULT_WEIGHT),
            labels: self.labels.into_iter().collect(),
            locality: self.locality.map(Into::into),
            datacenter: self.datacenter.map(Into::into),
            kube_namespace: self.kube_namespace.map(Into::into),
            shares_address: self.shares_address,
            ..Instance::at(&self.id, [127, 0, 0, 1].into(), self.port)
        }
    }
}

struct Rig {
    server: String,
    config: Arc<Config>,
    now: Instant,
    catalog: Catalog,
    cell: Arc<SnapshotCell>,
    responder: Responder,
    rotation: Rotation,
}

impl Rig {
    fn new(script: &Script) -> Self {
        let server = format!("{}\n{SERVER}", script.server);
        let config = load(&server, &script.zone);
        let catalog = Catalog::new(&config, 1);
        let cell = Arc::new(SnapshotCell::from_pointee(catalog.snapshot()));
        Self {
            server,
            config,
            now: Instant::now(),
            catalog,
            responder: Responder::new(Arc::clone(&cell), Arc::new(Metrics::new().unwrap()), None),
            cell,
            rotation: Rotation::default(),
        }
    }

    fn apex(&self) -> &Name {
        &self.config.namespaces[0].apex
    }

    /// Changes to an edited zone file, as a reload does.
    fn edit(&mut self, zone: &str) {
        let to = load(&self.server, zone);
        let from = std::mem::replace(&mut self.config, Arc::clone(&to));
        let (restarted, probed) = (HashSet::new(), HashSet::new());
        self.catalog.reconfigure(&Reconfiguration {
            from,
            to,
            serial: 2,
            restarted,
            probed,
            freshness: Vec::new(),
        });
        self.cell.store(Arc::new(self.catalog.snapshot()));
    }

    /// Finds a member: `web 0` is the first member of `web`, `web import` the member of an import,
    /// `clients` the pods that are only clients.
    fn member(&self, text: &str) -> Member {
        if text == "clients" {
            return Member::clients(SourceId { kind: SourceKind::Kubernetes, name: "eks".into() });
        }
        let (service, place) = text.split_once(' ').expect("service and place");
        let service = self.apex().join(service).unwrap();
        if place == "import" {
            return Member { service, source: vms(), place: Member::IMPORTED };
        }
        let place: u16 = place.parse().unwrap();
        let mut members = self.config.namespaces[0].services.iter().flat_map(|one| one.members());
        let found = members.find(|(member, _)| member.service == service && member.place == place);
        found.unwrap_or_else(|| panic!("no member {text:?}")).0
    }

    fn run(&mut self, mut step: Step) {
        let mut instances: Vec<_> = step.instances.drain(..).map(GivenInstance::into_instance).collect();
        instances.extend((0..step.generate.unwrap_or(0)).map(|at| Instance {
            health: Health::Healthy,
            ..Instance::at(&format!("generated-{at}"), [10, 0, 0, at].into(), 80)
        }));
        let mut updates = Vec::new();
        if let Some(member) = &step.reset {
            updates.push(Update::Reset {
                member: self.member(member),
                instances: std::mem::take(&mut instances),
            });
        }
        if let Some(member) = &step.upsert {
            let member = self.member(member);
            updates.extend(
                instances.drain(..).map(|instance| Update::Upsert { member: member.clone(), instance }),
            );
        }
        if let Some(member) = &step.remove {
            updates.push(Update::Remove { member: self.member(member), id: step.id.as_str().into() });
        }
        if let Some(member) = &step.expire {
            updates.push(Update::Expired { member: self.member(member) });
        }
        if let Some(member) = &step.fail {
            updates.push(Update::Failed { member: self.member(member) });
        }
        let import = Import { apex: self.apex().clone(), source: vms(), place: 0 };
        if step.expire_import {
            updates.push(Update::ImportExpired { import: import.clone() });
        }
        if let Some(services) = &step.import {
            let services = services.iter().map(|name| name.parse().unwrap()).collect();
            updates.push(Update::Imported { import, services });
        }
        assert!(instances.is_empty(), "instances without an update");
        let is_change = !updates.is_empty() || step.edit.is_some() || step.wait.is_some();
        assert_ne!(is_change, step.ask.is_some(), "a step is either a change or a question");
        for update in updates {
            self.catalog.apply(update);
        }
        self.now += Duration::from_secs(step.wait.unwrap_or(0));
        self.catalog.publish_at(self.now);
        if let Some(zone) = &step.edit {
            self.edit(zone);
        }
        let Some(ask) = step.ask.take() else { return };
        assert!(step.shares.is_empty() || step.lookups.is_some(), "shares need a number of lookups");
        let Some(lookups) = step.lookups else {
            self.ask(&ask, &step);
            return;
        };
        step.answers = step.answers.or(Some(1));
        let firsts: Vec<_> = (0..lookups).map(|_| self.ask(&ask, &step).remove(0)).collect();
        check_shares(&firsts, &step.shares);
    }

    /// Sends one query; returns the answers as text.
    fn ask(&mut self, ask: &str, step: &Step) -> Vec<String> {
        let (name, rtype) = ask.split_once(' ').expect("name and type");
        let rtype = rtype
            .strip_prefix("TYPE")
            .map_or_else(|| rtype.parse().unwrap(), |code| RecordType::from(code.parse::<u16>().unwrap()));
        let mut request = Message::new(0x4d55, MessageType::Query, OpCode::Query);
        let mut query = Query::query(DnsName::from_ascii(format!("{name}.")).unwrap(), rtype);
        query.set_query_class(hickory_proto::rr::DNSClass::IN);
        request.add_query(query.clone());
        if step.edns != Some(0) {
            let mut edns = Edns::new();
            edns.set_max_payload(step.edns.unwrap_or(1232));
            request.edns = Some(edns);
        }
        let mut out = Vec::new();
        let transport = if step.tcp { Transport::Tcp } else { Transport::Udp };
        let here = [127, 0, 0, 1].into();
        let context = Context { transport, local_addr: Some(here), client: step.client.unwrap_or(here) };
        let packet = request.to_vec().unwrap();
        let ready = self.responder.respond(&packet, context, &mut self.rotation, &mut out);
        assert!(matches!(ready, Response::Ready));
        let response = Message::from_vec(&out).unwrap_or_else(|error| panic!("{error}: {out:02x?}"));

        assert_eq!(response.queries, [query], "the question comes back");
        assert_eq!(
            response.queries[0].name().to_ascii().trim_end_matches('.'),
            name,
            "in the letter case in which it came"
        );
        let rcode = step.rcode.as_deref().unwrap_or("NoError");
        assert_eq!(format!("{:?}", response.metadata.response_code), rcode);
        // AA is about the first name: an alias of ours whose target is not synced is still ours
        // (RFC 1035 section 4.1.1).
        let is_ours = !matches!(rcode, "Refused" | "ServFail") || !response.answers.is_empty();
        assert_eq!(response.metadata.authoritative, is_ours, "AA");
        assert_eq!(response.metadata.truncation, step.tc, "TC");
        assert_eq!(response.edns.is_some(), step.edns != Some(0), "OPT");
        let texts = |records: &[Record]| records.iter().map(|r| text(&r.data)).collect::<Vec<_>>();
        let answers = texts(&response.answers);
        match &step.answer {
            Some(expected) => assert_eq!(&answers, expected, "answers"),
            None if rcode != "NoError" => assert!(answers.is_empty(), "{answers:?}"),
            None => assert!(step.answers.is_some(), "the step must say what is answered, or how many"),
        }
        if let Some(count) = step.answers {
            assert_eq!(answers.len(), count, "number of answers");
        }
        if let Some(first) = &step.first {
            assert_eq!(answers.first(), Some(first), "first answer");
        }
        if let Some(ttl) = step.ttl {
            assert!(response.answers.iter().all(|record| record.ttl == ttl), "TTL");
        }
        let authority: Vec<_> =
            response.authorities.iter().map(|record| record.record_type().to_string()).collect();
        assert_eq!(authority, step.authority, "authority section");
        let additional = texts(&response.additionals);
        match (&step.additional, step.additionals) {
            (_, Some(count)) => assert_eq!(additional.len(), count, "number of additionals"),
            (Some(expected), None) => assert_eq!(&additional, expected, "additionals"),
            (None, None) => assert!(additional.is_empty(), "{additional:?}"),
        }
        if let Some(limit) = step.at_most {
            assert!(out.len() <= limit, "{} bytes", out.len());
        }
        answers
    }
}

fn load(server: &str, zone: &str) -> Arc<Config> {
    let files = [("muster.toml".into(), server.to_owned()), ("zones/zone.toml".into(), zone.to_owned())];
    let loaded = config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false)));
    Arc::new(loaded.config)
}

/// Asserts that the shares cover every lookup, and that each is as large as expected.
fn check_shares(firsts: &[String], shares: &[Share]) {
    let total: usize = shares.iter().map(|share| share.count).sum();
    assert_eq!(total, firsts.len(), "the shares must cover all lookups");
    let mut left = firsts.len();
    for share in shares {
        let of: Vec<_> = share.of.iter().map(|address| format!("A {address}")).collect();
        let count = firsts.iter().filter(|first| of.contains(first)).count();
        assert!(count.abs_diff(share.count) <= share.within, "{of:?} got {count} of {}", firsts.len());
        left -= count;
    }
    assert_eq!(left, 0, "an instance of no share is answered: {firsts:?}");
}

fn vms() -> SourceId {
    SourceId { kind: SourceKind::Consul, name: "vms".into() }
}

fn text(data: &RData) -> String {
    let mut text = data.record_type().to_string();
    let plain = |name: &DnsName| name.to_ascii().trim_end_matches('.').to_owned();
    match data {
        RData::A(address) => write!(text, " {}", address.0),
        RData::AAAA(address) => write!(text, " {}", address.0),
        RData::SRV(srv) => {
            write!(text, " {} {} {} {}", srv.priority, srv.weight, srv.port, plain(&srv.target))
        }
        RData::CNAME(target) => write!(text, " {}", plain(&target.0)),
        RData::PTR(target) => write!(text, " {}", plain(&target.0)),
        RData::TXT(txt) => {
            txt.txt_data.iter().try_for_each(|part| write!(text, " {:?}", String::from_utf8_lossy(part)))
        }
        RData::NS(target) => write!(text, " {}", plain(&target.0)),
        RData::SOA(soa) => write!(text, " {} {} {}", plain(&soa.mname), plain(&soa.rname), soa.minimum),
        other => write!(text, " {other}"),
    }
    .unwrap();
    text
}

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 12, "{files:?}");
    let mut failures = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let script: Script =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut rig = Rig::new(&script);
        for (number, step) in (1..).zip(script.step) {
            let what = step.ask.clone().or(step.note.clone()).unwrap_or_default();
            let run = std::panic::AssertUnwindSafe(|| rig.run(step));
            if std::panic::catch_unwind(run).is_err() {
                failures.push(format!("{}: step {number}: {what}", file.display()));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
