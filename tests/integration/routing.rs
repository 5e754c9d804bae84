//! Which client gets which instances: splits, clients, nearness and failover, through the real
//! configuration, catalog and responder.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        Name as DnsName, RData, RecordType,
        rdata::opt::{ClientSubnet, EdnsCode, EdnsOption},
    },
};
use muster::{
    catalog::{Catalog, SnapshotCell},
    config,
    dns::{Context, Responder, Response, Rotation},
    model::{Health, Instance, Member, SourceId, SourceKind, Update},
    telemetry::{Metrics, Transport},
};
use proptest::prelude::*;

const SERVER: &str = r#"
[[locality]]
cidr = "10.8.0.0/16"
zone = "eu-west-1a"
[listen]
trusted_forwarders = ["10.0.0.53"]
[consul.vms]
[kubernetes.eks]
identify_clients = true
"#;

/// A server with one namespace, `mesh`.
struct Bed {
    catalog: Catalog,
    members: HashMap<String, Vec<Member>>,
    responder: Responder,
    metrics: Arc<Metrics>,
    rotation: Rotation,
    now: Instant,
}

impl Bed {
    fn new(services: &str) -> Self {
        let zone = format!("namespace = \"mesh\"\n{services}");
        let files = [("muster.toml".into(), SERVER.to_owned()), ("zones/mesh.toml".into(), zone)];
        let config =
            config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false))).config;
        let catalog = Catalog::new(&config, 1);
        let cell = Arc::new(SnapshotCell::from_pointee(catalog.snapshot()));
        let metrics = Arc::new(Metrics::new().unwrap());
        let members = config.namespaces[0]
            .services
            .iter()
            .map(|service| {
                let name = service.name.to_string();
                let short = name.split('.').next().unwrap().to_owned();
                (short, service.members().map(|(member, _)| member).collect())
            })
            .collect();
        let responder = Responder::new(cell, Arc::clone(&metrics), None)
            .with_trusted_forwarders(&config.listen.trusted_forwarders);
        Self { catalog, members, responder, metrics, rotation: Rotation::default(), now: Instant::now() }
    }

    fn set(&mut self, service: &str, place: usize, instances: Vec<Instance>) {
        let member = self.members[service][place].clone();
        self.catalog.apply(Update::Reset { member, instances });
        self.catalog.publish_at(self.now);
    }

    fn clients(&mut self, instances: Vec<Instance>) {
        let source = SourceId { kind: SourceKind::Kubernetes, name: "eks".into() };
        self.catalog.apply(Update::Reset { member: Member::clients(source), instances });
        self.catalog.publish_at(self.now);
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.catalog.publish_at(self.now);
    }

    fn exchange(&mut self, request: &Message, client: IpAddr) -> Message {
        let context = Context { transport: Transport::Udp, local_addr: Some([127, 0, 0, 1].into()), client };
        let mut out = Vec::new();
        let packet = request.to_vec().unwrap();
        let response = self.responder.respond(&packet, context, &mut self.rotation, &mut out);
        assert!(matches!(response, Response::Ready));
        Message::from_vec(&out).unwrap()
    }

    /// The last octets of the addresses in one answer.
    fn ask_as(&mut self, name: &str, rtype: RecordType, client: [u8; 4]) -> Vec<u8> {
        let answer = self.exchange(&query(name, rtype), client.into());
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        answer
            .answers
            .iter()
            .map(|record| match &record.data {
                RData::A(a) => a.octets()[3],
                RData::AAAA(a) => a.octets()[15],
                RData::SRV(srv) => u8::try_from(srv.port).unwrap(),
                other => panic!("{other}"),
            })
            .collect()
    }

    fn ask(&mut self, name: &str) -> Vec<u8> {
        self.ask_as(name, RecordType::A, [127, 0, 0, 1])
    }

    fn sorted(&mut self, name: &str, client: [u8; 4]) -> Vec<u8> {
        let mut all = self.ask_as(name, RecordType::A, client);
        all.sort_unstable();
        all
    }
}

fn query(name: &str, rtype: RecordType) -> Message {
    let mut request = Message::new(7, MessageType::Query, OpCode::Query);
    request.add_query(Query::query(DnsName::from_ascii(format!("{name}.mesh.")).unwrap(), rtype));
    request
}

/// An instance at 10.0.0.`last`, with a port of the same number.
fn at(last: u8, labels: &[(&str, &str)]) -> Instance {
    Instance {
        health: Health::Healthy,
        labels: labels.iter().copied().collect(),
        ..Instance::at(&format!("i{last}"), [10, 0, 0, last].into(), last.into())
    }
}

fn unhealthy(instance: Instance) -> Instance {
    Instance { health: Health::Unhealthy, ..instance }
}

fn split(weights: &[u16]) -> String {
    let group = |(at, weight)| format!("{{ labels = {{ group = \"{at}\" }}, weight = {weight} }}");
    let groups: Vec<_> = weights.iter().enumerate().map(group).collect();
    format!(
        "[services.web]\nfrom = [{{ consul = \"vms\", service = \"web\" }}]\nroutes = [{{ split = [{}] }}]\n",
        groups.join(", ")
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// For any number of instances in each group, and any start of the window.
    #[test]
    fn every_window_of_a_split_has_the_exact_shares(
        groups in prop::collection::vec((0u16..60, 1u8..5), 1..6),
        skip in 0usize..50,
        rtype in prop::sample::select(vec![RecordType::A, RecordType::AAAA, RecordType::SRV]),
    ) {
        let weights: Vec<u16> = groups.iter().map(|(weight, _)| *weight).collect();
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let mut bed = Bed::new(&split(&weights));
        let mut group_of = HashMap::new();
        let mut instances = Vec::new();
        for (group, (_, size)) in groups.iter().enumerate() {
            for _ in 0..*size {
                let last = u8::try_from(instances.len() + 1).unwrap();
                group_of.insert(last, group);
                let v6 = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)]);
                let mut one = at(last, &[("group", &group.to_string())]);
                let v4 = one.addresses().next().unwrap();
                one.target = muster::model::Target::Addresses([v4, v6].into());
                instances.push(one);
            }
        }
        bed.set("web", 0, instances);
        let window: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        let asked: Vec<usize> = (0..skip + window)
            .map(|_| {
                let answer = bed.ask_as("web", rtype, [127, 0, 0, 1]);
                let group = group_of[&answer[0]];
                assert!(answer.iter().all(|last| group_of[last] == group), "one group an answer: {answer:?}");
                group
            })
            .collect();
        for (group, weight) in weights.iter().enumerate() {
            let had = asked[skip..].iter().filter(|asked| **asked == group).count();
            prop_assert_eq!(had, usize::from(*weight), "group {} of {:?}", group, weights);
        }
    }

    /// One address per answer, by instance weights.
    #[test]
    fn with_one_answer_each_instances_get_their_weights(weights in prop::collection::vec(0u16..20, 1..8)) {
        let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        prop_assume!(total > 0);
        let mut bed = Bed::new("[services.web]\nmax_answers = 1\nfrom = [{ consul = \"vms\", service = \"web\" }]\n");
        let instance = |(place, weight): (usize, &u16)| Instance { weight: *weight, ..at(u8::try_from(place).unwrap(), &[]) };
        bed.set("web", 0, weights.iter().enumerate().map(instance).collect());
        let mut had = vec![0; weights.len()];
        for _ in 0..total {
            had[usize::from(bed.ask("web")[0])] += 1_u16;
        }
        prop_assert_eq!(had, weights);
    }
}

const KUMA: &str = r#"
[services.magnanimo]
from = [{ kubernetes = "eks", namespace = "kong-mesh-app", selector = "app=magnanimo" }]
[services.other]
from = [{ consul = "vms", service = "other" }]
[services.benigno]
from = [{ kubernetes = "eks", namespace = "kong-mesh-app", selector = "app=benigno" }]
routes = [
  { clients = { service = "magnanimo" }, split = [
      { labels = { version = "v1" }, weight = 90 },
      { labels = { version = "v2" }, weight = 10 } ] },
  { clients = { kube_namespace = "batch", labels = { tier = "night" } }, split = [{ labels = { version = "v2" }, weight = 1 }] },
  { clients = { cidr = "10.9.0.0/16" }, split = [{ labels = { version = "v1" }, weight = 1 }] },
]
"#;

fn kuma() -> Bed {
    let mut bed = Bed::new(KUMA);
    bed.set("magnanimo", 0, vec![at(20, &[("app", "magnanimo")])]);
    bed.set("benigno", 0, vec![at(1, &[("version", "v1")]), at(2, &[("version", "v2")])]);
    bed
}

/// How many of 100 lookups get the second version first.
fn second_of_100(bed: &mut Bed, client: [u8; 4]) -> usize {
    (0..100).filter(|_| bed.ask_as("benigno", RecordType::A, client)[0] == 2).count()
}

#[test]
fn a_route_is_for_the_instances_of_its_clients_service_only() {
    let mut bed = kuma();
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 20]), 10);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 99]), 50, "others get plain rotation");
    // The client is known as long as its instance exists.
    bed.set("magnanimo", 0, vec![at(21, &[])]);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 20]), 50);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 21]), 10);
}

#[test]
fn pods_of_no_service_are_known_by_namespace_and_labels() {
    let mut bed = kuma();
    let pod = |last, namespace: &str, labels: &[(&str, &str)]| Instance {
        kube_namespace: Some(namespace.into()),
        ..at(last, labels)
    };
    bed.clients(vec![
        pod(30, "batch", &[("tier", "night")]),
        pod(31, "batch", &[("tier", "day")]),
        pod(32, "shop", &[("tier", "night")]),
        // The same pod as the service's.
        pod(20, "kong-mesh-app", &[("app", "magnanimo")]),
    ]);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 30]), 100);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 31]), 50);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 32]), 50);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 20]), 10);
}

#[test]
fn networks_are_matched_as_well() {
    let mut bed = kuma();
    assert_eq!(second_of_100(&mut bed, [10, 9, 1, 1]), 0);
}

#[test]
fn an_address_that_several_share_matches_nothing_and_is_counted() {
    let mut bed = kuma();
    let ambiguous = |bed: &Bed| {
        let text = bed.metrics.render(&[]).unwrap();
        let line = text.lines().find(|line| line.starts_with("muster_clients_ambiguous_total")).unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    };
    // A VM with the same address: the client may be either.
    bed.set("other", 0, vec![at(20, &[])]);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 20]), 50);
    assert_eq!(ambiguous(&bed), "100");
    // A pod in its host's network.
    bed.set("other", 0, Vec::new());
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 20]), 10);
    bed.set("magnanimo", 0, vec![Instance { shares_address: true, ..at(20, &[]) }]);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 20]), 50);
}

#[test]
fn an_address_that_went_to_another_pod_matches_nothing_while_the_old_pod_is_reported() {
    let mut bed = kuma();
    let pod = |id: &str| Instance { id: id.into(), kube_namespace: Some("shop".into()), ..at(20, &[]) };
    bed.set("magnanimo", 0, vec![pod("old")]);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 20]), 10);
    bed.clients(vec![pod("shop/old")]);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 20]), 10, "the same pod");
    bed.clients(vec![pod("shop/old"), pod("shop/new")]);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 20]), 50);
    bed.set("magnanimo", 0, vec![]);
    bed.clients(vec![pod("shop/new")]);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 20]), 50, "the new pod is another one");
    // An endpoint without a pod: the Service names the address of whichever pod has it.
    bed.set("magnanimo", 0, vec![at(20, &[])]);
    assert_eq!(second_of_100(&mut bed, [10, 0, 0, 20]), 10);
}

#[test]
fn an_ambiguous_address_counts_only_where_it_decides() {
    let mut bed = Bed::new(&format!(
        "{KUMA}[services.near]\nprefer = \"zone\"\nfrom = [{{ consul = \"vms\", service = \"n\" }}]\n"
    ));
    bed.set("magnanimo", 0, vec![at(20, &[])]);
    bed.set("other", 0, vec![at(20, &[])]);
    bed.set("near", 0, vec![Instance { locality: Some("eu-west-1a".into()), ..at(5, &[]) }, at(6, &[])]);
    for _ in 0..10 {
        bed.ask_as("near", RecordType::A, [10, 0, 0, 20]);
    }
    let text = bed.metrics.render(&[]).unwrap();
    assert!(text.lines().any(|line| line == "muster_clients_ambiguous_total 0"), "{text}");
}

#[test]
fn a_zone_may_be_known_from_the_configuration_alone() {
    let mut bed = Bed::new(
        r#"
[services.web]
from = [{ consul = "vms", service = "web" }]
routes = [{ clients = { locality = "eu-west-1a" }, split = [{ labels = { version = "v1" }, weight = 1 }] }]
"#,
    );
    bed.set("web", 0, vec![at(1, &[("version", "v1")]), at(2, &[("version", "v2")])]);
    assert_eq!(bed.sorted("web", [10, 8, 1, 1]), [1], "a client that no source reports");
    assert_eq!(bed.sorted("web", [10, 7, 1, 1]), [1, 2]);
    // A source's report takes precedence.
    bed.clients(vec![Instance {
        target: muster::model::Target::Addresses([IpAddr::from([10, 8, 1, 1])].into()),
        locality: Some("eu-west-1b".into()),
        ..at(9, &[])
    }]);
    assert_eq!(bed.sorted("web", [10, 8, 1, 1]), [1, 2]);
    // Two that share a node's address are both in the node's zone.
    let on_node = |id: &str| Instance {
        id: id.into(),
        target: muster::model::Target::Addresses([IpAddr::from([10, 7, 1, 1])].into()),
        locality: Some("eu-west-1a".into()),
        shares_address: true,
        ..at(9, &[])
    };
    bed.clients(vec![on_node("a"), on_node("b")]);
    assert_eq!(bed.sorted("web", [10, 7, 1, 1]), [1]);
}

#[test]
fn each_type_of_question_has_turns_of_its_own() {
    let mut bed = Bed::new(&split(&[1, 1]));
    let both = |last: u8, group: &str| {
        let v6 = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)]);
        let mut one = at(last, &[("group", group)]);
        one.target = muster::model::Target::Addresses([[10, 0, 0, last].into(), v6].into());
        one
    };
    bed.set("web", 0, vec![both(1, "0"), both(2, "1")]);
    for rtypes in [[RecordType::A, RecordType::AAAA], [RecordType::SRV, RecordType::A]] {
        for rtype in rtypes {
            // A stub resolver queries both types in turn. Each type alone is split in halves.
            let mut had = [0; 2];
            for _ in 0..10 {
                for asked in rtypes {
                    let first = bed.ask_as("web", asked, [127, 0, 0, 1])[0];
                    had[usize::from(first == 2)] += u8::from(asked == rtype);
                }
            }
            assert_eq!(had, [5, 5], "{rtype} of {rtypes:?}");
        }
    }
}

fn with_subnet(address: [u8; 4], prefix: u8) -> Message {
    let mut request = query("benigno", RecordType::A);
    let mut edns = Edns::new();
    edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new(address.into(), prefix, 0)));
    request.edns = Some(edns);
    request
}

fn scope(answer: &Message) -> Option<u8> {
    match answer.edns.as_ref()?.option(EdnsCode::Subnet)? {
        EdnsOption::Subnet(subnet) => Some(subnet.scope_prefix()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trusted_forwarder_says_for_whom_it_asks() {
    let mut bed = kuma();
    let mut second = |forwarder: [u8; 4], request: &Message| {
        let answers: Vec<_> = (0..100).map(|_| bed.exchange(request, forwarder.into())).collect();
        let scope = scope(&answers[0]);
        let second = RData::A(std::net::Ipv4Addr::new(10, 0, 0, 2).into());
        (answers.iter().filter(|answer| answer.answers[0].data == second).count(), scope)
    };
    assert_eq!(second([10, 0, 0, 53], &with_subnet([10, 0, 0, 20], 32)), (10, Some(32)));
    // A prefix is not a client's address, but it is in a network.
    assert_eq!(second([10, 0, 0, 53], &with_subnet([10, 0, 0, 0], 24)), (50, Some(24)));
    assert_eq!(second([10, 0, 0, 53], &with_subnet([10, 9, 7, 0], 24)), (0, Some(24)));
    assert_eq!(second([10, 0, 0, 53], &with_subnet([10, 0, 0, 0], 8)), (50, Some(8)));
    // Other clients may write anything, so their option is ignored.
    assert_eq!(second([10, 0, 0, 54], &with_subnet([10, 0, 0, 20], 32)), (50, None));
    // An answer that does not depend on the client is good for all.
    let mut plain = with_subnet([10, 0, 0, 20], 32);
    plain.queries = query("magnanimo", RecordType::A).queries;
    assert_eq!(second([10, 0, 0, 53], &plain).1, Some(0));
}

#[test]
fn a_malformed_subnet_of_a_trusted_forwarder_is_formerr() {
    let mut bed = kuma();
    let mut request = query("benigno", RecordType::A);
    let mut edns = Edns::new();
    edns.options_mut().insert(EdnsOption::Unknown(8, vec![0, 1, 24, 24, 10, 0, 0]));
    request.edns = Some(edns);
    let mut code = |last| bed.exchange(&request, [10, 0, 0, last].into()).metadata.response_code;
    assert_eq!(code(53), ResponseCode::FormErr);
    assert_eq!(code(54), ResponseCode::NoError);
}

#[test]
fn who_is_near_gets_what_is_near_and_spills_over() {
    let mut bed = Bed::new(
        "[services.web]\nprefer = \"zone\"\nspill_below = \"30%\"\nfrom = [{ consul = \"vms\", service = \"web\" }]\n",
    );
    let zoned = |last, zone: &str| Instance { locality: Some(zone.into()), ..at(last, &[]) };
    let all = || {
        vec![zoned(1, "eu-west-1a"), zoned(2, "eu-west-1a"), zoned(3, "eu-west-1b"), zoned(4, "us-east-1a")]
    };
    bed.set("web", 0, all());
    let (a, b, nowhere) = ([10, 8, 0, 9], [10, 0, 0, 3], [10, 0, 0, 99]);
    assert_eq!(bed.sorted("web", a), [1, 2], "by its network");
    assert_eq!(bed.sorted("web", b), [3], "by the instance that it is");
    assert_eq!(bed.sorted("web", nowhere), [1, 2, 3, 4]);
    let mut half = all();
    half[0] = unhealthy(half[0].clone());
    bed.set("web", 0, half.clone());
    assert_eq!(bed.sorted("web", a), [2]);
    half[1] = unhealthy(half[1].clone());
    bed.set("web", 0, half.clone());
    assert_eq!(bed.sorted("web", a), [3], "the region");
    half[2] = unhealthy(half[2].clone());
    bed.set("web", 0, half);
    assert_eq!(bed.sorted("web", a), [4], "everybody");
}

#[test]
fn failing_over_is_at_once_and_returning_waits_for_hold_down() {
    let mut bed = Bed::new(
        "[services.web]\nhold_down = \"30s\"\nfailover = [{ source = \"eks\" }, { source = \"vms\" }]\n\
         from = [{ kubernetes = \"eks\", namespace = \"a\", selector = \"b=c\" }, { consul = \"vms\", service = \"web\" }]\n",
    );
    let first = || vec![at(1, &[]), at(2, &[])];
    bed.set("web", 1, vec![at(11, &[])]);
    bed.set("web", 0, first());
    assert_eq!(bed.sorted("web", [127, 0, 0, 1]), [1, 2]);
    bed.set("web", 0, first().into_iter().map(unhealthy).collect());
    assert_eq!(bed.ask("web"), [11]);
    bed.set("web", 0, first());
    assert_eq!(bed.ask("web"), [11], "held down");
    bed.wait(29);
    assert_eq!(bed.ask("web"), [11]);
    bed.wait(1);
    assert_eq!(bed.sorted("web", [127, 0, 0, 1]), [1, 2]);
    // All are unhealthy: fail open on the first tier.
    bed.set("web", 1, vec![unhealthy(at(11, &[]))]);
    bed.set("web", 0, first().into_iter().map(unhealthy).collect());
    assert_eq!(bed.sorted("web", [127, 0, 0, 1]), [1, 2]);
}

#[test]
fn further_names_and_aliases_answer_with_the_services_instances() {
    let mut bed = Bed::new(
        "[services.web]\nfrom = [{ consul = \"vms\", service = \"web\" }]\n\
         names = { \"v2.web\" = { labels = { version = \"v2\" } }, canary = { labels = { version = \"v2\" } } }\n\
         [services.www]\nalias = \"web\"\nmax_answers = 1\n[services.mail]\nalias = \"mail.example.com\"\n",
    );
    bed.set("web", 0, vec![at(1, &[("version", "v1")]), at(2, &[("version", "v2")])]);
    assert_eq!(bed.sorted("web", [127, 0, 0, 1]), [1, 2]);
    assert_eq!(bed.ask("v2.web"), [2]);
    assert_eq!(bed.ask("canary"), [2]);
    assert_eq!(bed.ask("www").len(), 1);
    assert_eq!(bed.ask("i2.www"), [2]);
    let answer = bed.exchange(&query("mail", RecordType::AAAA), [127, 0, 0, 1].into());
    let RData::CNAME(target) = &answer.answers[0].data else { panic!("{answer}") };
    assert_eq!(target.0.to_ascii(), "mail.example.com.");
}
