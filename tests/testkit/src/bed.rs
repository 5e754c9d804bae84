//! A server with one small namespace, for questions that are asked over and over.

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RData, Record, RecordType},
};
use muster::{
    catalog::{Catalog, SnapshotCell},
    config,
    dns::{Context, Responder, Response, Rotation},
    forward::Forwarder,
    model::{Health, Instance, Target, Update},
    telemetry::{Metrics, Transport},
};

const SERVICES: usize = 1000;
const INSTANCES: u8 = 10;

/// How questions come here.
const CONTEXT: Context = Context {
    transport: Transport::Udp,
    local_addr: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    client: IpAddr::V4(Ipv4Addr::LOCALHOST),
};

/// How long an answer of the upstream may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Services with routes that lead to ten of twenty instances: everybody by weight, and who asks from an instance of `askers`.
const ROUTED: [(&str, &str); 2] = [
    (
        "split",
        "{ split = [{ labels = { half = \"a\" }, weight = 90 }, { labels = { half = \"b\" }, weight = 10 }] }",
    ),
    ("client", "{ clients = { service = \"askers\" }, split = [{ labels = { half = \"a\" }, weight = 1 }] }"),
];

/// A server with 1,000 services of ten instances with both kinds of addresses, services with routes, `nodata`, which has no
/// instance, and `askers`, whose one instance is where questions come from.
pub struct Bed {
    responder: Responder,
    rotation: Rotation,
    out: Vec<u8>,
}

impl Default for Bed {
    fn default() -> Self {
        Self::of("", zone(), instance)
    }
}

impl Bed {
    /// Makes a server with these lines in `muster.toml` and this zone file, whose services have ten of these instances.
    pub fn of(server: &str, zone: String, instance: impl Fn(u8) -> Instance) -> Self {
        let cell = Arc::new(SnapshotCell::from_pointee(catalog(server, zone, instance).snapshot()));
        let metrics = Metrics::new().expect("metrics have valid names");
        Self {
            responder: Responder::new(cell, Arc::new(metrics), None),
            rotation: Rotation::default(),
            out: Vec::with_capacity(4096),
        }
    }

    /// Has other names forwarded, and the answers to these queries in the cache: ten A records each.
    pub fn with_cached(mut self, queries: &[&[u8]]) -> Self {
        let upstream = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        upstream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let at = upstream.local_addr().expect("an address");
        let serving = std::thread::spawn(move || serve(&upstream));
        let files = [("muster.toml".into(), format!("[forward]\n\".\" = \"{at}\"\n"))];
        let config =
            config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false))).config;
        let (forwarder, engine) =
            Forwarder::new(&config, self.responder.metrics()).expect("upstreams that can be set up");
        self.responder = self.responder.with_forwarder(forwarder);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let running = runtime.spawn(engine.run());
        for query in queries {
            let (sender, receiver) = std::sync::mpsc::channel();
            let response = self.responder.respond(query, CONTEXT, &mut self.rotation, &mut self.out);
            let Response::Deferred(pending) = response else { panic!("the cache is empty") };
            pending.send(Box::new(move |answer| drop(sender.send(answer.to_vec()))));
            receiver.recv_timeout(PATIENCE).expect("an answer");
            // It is kept just after it is given.
            while !self.is_ready(query) {
                std::thread::yield_now();
            }
        }
        running.abort();
        drop(runtime);
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], at));
        serving.join().expect("no panic");
        self
    }

    /// Answers a query over UDP.
    pub fn answer(&mut self, query: &[u8]) -> &[u8] {
        assert!(self.is_ready(query));
        &self.out
    }

    fn is_ready(&mut self, query: &[u8]) -> bool {
        let response = self.responder.respond(query, CONTEXT, &mut self.rotation, &mut self.out);
        matches!(response, Response::Ready)
    }
}

/// The zone file of a [`Bed`].
pub fn zone() -> String {
    let mut zone = "namespace = \"bed.test\"\nmax_answers = 20\n".to_owned();
    let plain = (0..SERVICES).map(|at| format!("s{at}")).chain(["nodata".into(), "askers".into()]);
    for service in plain {
        zone += &format!("[services.{service}]\nfrom = [{{ consul = \"vms\", service = \"s\" }}]\n");
    }
    for (service, route) in ROUTED {
        zone += &format!("[services.{service}]\nroutes = [{route}]\n");
        zone += "from = [{ consul = \"vms\", service = \"s\" }]\n";
    }
    zone
}

/// Makes the catalog of a [`Bed::of`].
pub fn catalog(server: &str, zone: String, instance: impl Fn(u8) -> Instance) -> Catalog {
    let files =
        [("muster.toml".into(), format!("{server}\n[consul.vms]\n")), ("zones/bed.toml".into(), zone)];
    let loaded = config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false)));
    let mut catalog = Catalog::new(&loaded.config, 1);
    for service in &loaded.config.namespaces[0].services {
        let name = service.name.to_string();
        let label = name.split('.').next().unwrap_or_default();
        let instances: Vec<Instance> = match label {
            "nodata" => Vec::new(),
            "askers" => vec![Instance::at("asker", CONTEXT.client, 80)],
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
        let query = Message::from_vec(&room[..length]).expect("a query");
        let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        for question in &query.queries {
            answer.add_query(question.clone());
            for at in 0..INSTANCES {
                let data = RData::A(Ipv4Addr::new(192, 0, 2, at).into());
                answer.add_answer(Record::from_rdata(question.name().clone(), 86_400, data));
            }
        }
        let _ = socket.send_to(&answer.to_vec().expect("a message"), peer);
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

/// A query for a name below the namespace, as bytes.
pub fn query(below: &str, rtype: RecordType, edns: bool) -> Vec<u8> {
    query_for(&format!("{below}.bed.test."), rtype, edns)
}

/// A query for any name, as bytes.
pub fn query_for(name: &str, rtype: RecordType, edns: bool) -> Vec<u8> {
    let mut message = Message::new(0x4d55, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(name).expect("a name");
    message.add_query(Query::query(name, rtype));
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        message.edns = Some(edns);
    }
    message.to_vec().expect("a message")
}
