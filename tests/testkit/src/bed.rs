//! A responder with a thousand services and without sockets, for queries that are asked over and
//! over.

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::PathBuf,
    sync::Arc,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RData, Record, RecordType},
};
use muster::{
    catalog::{Catalog, SnapshotCell},
    config::{self, Config},
    dns::{AccessControl, Context, Responder, Response, Rotation},
    forward::Forwarder,
    model::{Health, Instance, Target, Update},
    telemetry::{Metrics, Transport},
};

use crate::wait::PATIENCE;

/// Services of a whole bed.
const SERVICES: usize = 1000;
const INSTANCES: u8 = 10;

/// How queries come in.
const CONTEXT: Context = Context {
    transport: Transport::Udp,
    local_addr: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    client: IpAddr::V4(Ipv4Addr::LOCALHOST),
};

/// Services with routes that lead to ten of twenty instances: `split` for every client, by weight;
/// `client` for instances of `clients`.
const ROUTED: [(&str, &str); 2] = [
    (
        "split",
        "{ split = [{ labels = { half = \"a\" }, weight = 90 }, { labels = { half = \"b\" }, weight = 10 }] }",
    ),
    (
        "client",
        "{ clients = { service = \"clients\" }, split = [{ labels = { half = \"a\" }, weight = 1 }] }",
    ),
];

/// A namespace whose service has a host name in `bed.test`.
const FRONT: &str =
    "namespace = \"front.test\"\n[services.alias]\nfrom = [{ consul = \"vms\", service = \"s\" }]\n";

/// A responder and the state of one worker.
///
/// | name | what it has |
/// |---|---|
/// | `s0.bed.test` to `s999.bed.test` | ten instances with both kinds of addresses |
/// | `split.bed.test`, `client.bed.test` | routes that lead to ten of twenty instances |
/// | `nodata.bed.test` | no instance |
/// | `clients.bed.test` | one instance, at the address that queries come from |
/// | `away.bed.test` | a CNAME to `www.example.com` |
/// | `alias.front.test` | a CNAME to `s1.bed.test` |
pub struct Bed {
    responder: Responder,
    rotation: Rotation,
    out: Vec<u8>,
}

impl Default for Bed {
    fn default() -> Self {
        Self::of_size(SERVICES)
    }
}

impl Bed {
    /// Makes one with so many services `s0`, `s1` and so on, instead of a thousand.
    pub fn of_size(services: usize) -> Self {
        Self::with("", zone(services), instance)
    }

    /// Makes one with these lines in `muster.toml` and this zone file, whose services have ten of
    /// these instances.
    pub fn with(server: &str, zone: String, instance: impl Fn(u8) -> Instance) -> Self {
        Self::of_config(&load(server, zone), instance)
    }

    /// Makes a small one that admits clients as these lines of `muster.toml` say.
    pub fn guarded(server: &str) -> Self {
        let config = load(server, zone(2));
        let mut bed = Self::of_config(&config, instance);
        bed.responder = bed.responder.with_access(AccessControl::new(&config.access));
        bed
    }

    fn of_config(config: &Config, instance: impl Fn(u8) -> Instance) -> Self {
        let cell = Arc::new(SnapshotCell::from_pointee(catalog(config, instance).snapshot()));
        Self {
            responder: Responder::new(cell, Arc::new(Metrics::new().unwrap()), None),
            rotation: Rotation::default(),
            out: Vec::with_capacity(4096),
        }
    }

    /// Forwards external names, and has the answers to these queries in the cache: ten A records
    /// each.
    pub fn with_cached(mut self, queries: &[&[u8]]) -> Self {
        let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
        upstream.set_read_timeout(Some(PATIENCE)).unwrap();
        let at = upstream.local_addr().unwrap();
        let serving = std::thread::spawn(move || serve(&upstream));
        let files = [("muster.toml".into(), format!("[forward]\n\".\" = \"{at}\"\n"))];
        let config = config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false)));
        let (forwarder, engine) = Forwarder::new(&config.config, self.responder.metrics()).unwrap();
        self.responder = self.responder.with_forwarder(forwarder);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let running = runtime.spawn(engine.run());
        for query in queries {
            let (sender, receiver) = std::sync::mpsc::channel();
            let response = self.responder.respond(query, CONTEXT, &mut self.rotation, &mut self.out);
            let Response::Deferred(pending) = response else { panic!("the cache is empty") };
            pending.send(Box::new(move |answer| drop(sender.send(answer.to_vec()))));
            receiver.recv_timeout(PATIENCE).unwrap();
            // It is stored just after it is given.
            while self.reply(query).is_none() {
                std::thread::yield_now();
            }
        }
        running.abort();
        drop(runtime);
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], at));
        serving.join().unwrap();
        self
    }

    /// Answers a query over UDP, which must be answered.
    pub fn answer(&mut self, query: &[u8]) -> &[u8] {
        self.reply(query).unwrap()
    }

    /// Answers a query over UDP. `None`: with silence, or only after an upstream is queried.
    pub fn reply(&mut self, query: &[u8]) -> Option<&[u8]> {
        let response = self.responder.respond(query, CONTEXT, &mut self.rotation, &mut self.out);
        matches!(response, Response::Ready).then_some(&self.out[..])
    }
}

/// The zone file of a [`Bed`] with so many plain services.
pub fn zone(services: usize) -> String {
    let mut zone = "namespace = \"bed.test\"\nmax_answers = 20\n".to_owned();
    let plain = (0..services).map(|at| format!("s{at}")).chain(["nodata".into(), "clients".into()]);
    for service in plain {
        zone += &format!("[services.{service}]\nfrom = [{{ consul = \"vms\", service = \"s\" }}]\n");
    }
    for (service, route) in ROUTED {
        zone += &format!("[services.{service}]\nroutes = [{route}]\n");
        zone += "from = [{ consul = \"vms\", service = \"s\" }]\n";
    }
    zone + "[services.away]\nalias = \"www.example.com\"\n"
}

/// Loads the configuration of a [`Bed`].
pub fn load(server: &str, zone: String) -> Config {
    let files: [(PathBuf, String); 3] = [
        ("muster.toml".into(), format!("{server}\n[consul.vms]\n")),
        ("zones/bed.toml".into(), zone),
        ("zones/front.toml".into(), FRONT.to_owned()),
    ];
    config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false))).config
}

/// Makes the catalog of a [`Bed`].
pub fn catalog(config: &Config, instance: impl Fn(u8) -> Instance) -> Catalog {
    let mut catalog = Catalog::new(config, 1);
    for service in config.namespaces.iter().flat_map(|namespace| &namespace.services) {
        let name = service.name.to_string();
        let label = name.split('.').next().unwrap_or_default();
        let instances: Vec<Instance> = match label {
            "nodata" => Vec::new(),
            "clients" => vec![Instance::at("client", CONTEXT.client, 80)],
            "alias" => {
                let target = Target::Host("s1.bed.test".parse().unwrap());
                vec![Instance { target, ..instance(0) }]
            }
            _ if ROUTED.iter().any(|(routed, _)| *routed == label) => {
                (0..2 * INSTANCES).map(&instance).collect()
            }
            _ => (0..INSTANCES).map(&instance).collect(),
        };
        for (member, _) in service.members() {
            let instances = instances.clone();
            catalog.apply(Update::Reset { member, instances });
        }
    }
    catalog.publish();
    catalog
}

/// Answers each query with ten A records, until an empty datagram comes.
fn serve(socket: &UdpSocket) {
    let mut room = [0; 512];
    while let Ok((length @ 1.., peer)) = socket.recv_from(&mut room) {
        let query = Message::from_vec(&room[..length]).unwrap();
        let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        for question in &query.queries {
            answer.add_query(question.clone());
            for at in 0..INSTANCES {
                let data = RData::A(Ipv4Addr::new(192, 0, 2, at).into());
                answer.add_answer(Record::from_rdata(question.name().clone(), 86_400, data));
            }
        }
        let _ = socket.send_to(&answer.to_vec().unwrap(), peer);
    }
}

/// One instance.
pub fn instance(at: u8) -> Instance {
    let half = if at < INSTANCES { "a" } else { "b" };
    let v6 = [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(at)];
    Instance {
        health: Health::Healthy,
        labels: [("half", half)].into_iter().collect(),
        target: Target::Addresses([[10, 0, 0, at].into(), v6.into()].into()),
        ..Instance::at(&format!("i{at}"), Ipv4Addr::LOCALHOST.into(), 80)
    }
}

/// A query for a name in `bed.test`, as bytes.
pub fn query(below: &str, rtype: RecordType, edns: bool) -> Vec<u8> {
    query_for(&format!("{below}.bed.test."), rtype, edns)
}

/// A query for any name, as bytes.
pub fn query_for(name: &str, rtype: RecordType, edns: bool) -> Vec<u8> {
    let mut message = Message::new(0x4d55, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        message.edns = Some(edns);
    }
    message.to_vec().unwrap()
}
