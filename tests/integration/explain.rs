//! `explain` predicts the answers: random services and clients, compared with the answer path.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hickory_proto::rr::RecordType;
use muster::{
    catalog::{Catalog, ExplainQuery, SnapshotCell},
    config::{
        self, Amount, AnswerOrder, AnswerSettings, ClientFilter, Config, Failover, Group, InstanceFilter,
        LocalityRule, Near, Nearness, Route, SubsetName, WhenAllUnhealthy,
    },
    dns::{Responder, Rotation},
    model::{
        Explained, ExplainedInstance, GivenAnswer, Health, Instance, Member, Name, NamedPort, Network,
        Protocol, StaleMembers, Target, Update,
    },
    telemetry::Metrics,
};
use proptest::prelude::*;

const ZONE: &str = "namespace = \"shop\"\n[services.web]\n\
    from = [{ consul = \"vms\", service = \"a\" }, { consul = \"vms\", service = \"b\" }]\n";

fn arb_place() -> impl Strategy<Value = Target> {
    let v4 = |last: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let v6 = |last: u8| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()));
    let addresses = |addresses: Vec<IpAddr>| Target::Addresses(addresses.into());
    (0..14u8, 1..12u8).prop_map(move |(kind, last)| match kind {
        0..8 => addresses(vec![v4(last)]),
        8..10 => addresses(vec![v6(last)]),
        10..13 => addresses(vec![v4(last), v6(last)]),
        _ => Target::Host(format!("h{last}.example").parse().unwrap()),
    })
}

fn arb_instance() -> impl Strategy<Value = Instance> {
    let health = prop::sample::select(vec![
        Health::Healthy,
        Health::Healthy,
        Health::Healthy,
        Health::Warning,
        Health::Unknown,
        Health::Unhealthy,
        Health::Draining,
    ]);
    let port = prop::sample::select(vec![80, 80, 81, 0]);
    let zone = prop::sample::select(vec![None, Some("eu-1a"), Some("eu-1b"), Some("us-1a")]);
    let given = (0..16u8, arb_place(), port, health, 0..4u16, zone, any::<(bool, bool)>());
    (given, 1..3u8, 1..3u8).prop_map(
        |((id, target, port, health, weight, zone, (named, shares)), version, tier)| {
            let http = NamedPort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 };
            Instance {
                target,
                health,
                weight,
                named_ports: if named { [http].into() } else { Arc::default() },
                labels: [("version", format!("v{version}")), ("tier", tier.to_string())]
                    .into_iter()
                    .collect(),
                locality: zone.map(Into::into),
                shares_address: shares && id == 0,
                reason: Some("its check".into()),
                ..Instance::at(&format!("i{id}"), [10, 0, 0, 1].into(), port)
            }
        },
    )
}

fn label(key: &str, value: String) -> InstanceFilter {
    InstanceFilter { labels: [(key, value)].into_iter().collect(), ..InstanceFilter::default() }
}

/// Order, nearness, panic threshold, size and health rules of a service.
fn arb_answers() -> impl Strategy<Value = AnswerSettings> {
    let order = prop::sample::select(vec![
        AnswerOrder::Rotate,
        AnswerOrder::Rotate,
        AnswerOrder::Random,
        AnswerOrder::Weighted,
    ]);
    let near = (prop::sample::select(vec![Near::Zone, Near::Region]), 1..101u8)
        .prop_map(|(prefer, spill_below)| Nearness { prefer, spill_below });
    let panic = prop::sample::select(vec![0, 0, 60]);
    (order, prop::option::of(near), panic, 1..9usize, any::<(bool, bool)>()).prop_map(
        |(order, nearness, panic_threshold, max_answers, (none, strict))| AnswerSettings {
            order,
            nearness,
            panic_threshold,
            max_answers,
            when_all_unhealthy: if none { WhenAllUnhealthy::None } else { WhenAllUnhealthy::All },
            accept: if strict { [Health::Healthy].into_iter().collect() } else { Default::default() },
            ..AnswerSettings::default()
        },
    )
}

fn arb_group() -> impl Strategy<Value = Group> {
    (1..4u8, 0..3u16, any::<bool>()).prop_map(|(version, weight, strict)| Group {
        filter: label("version", format!("v{version}")),
        weight,
        strict,
    })
}

fn arb_route() -> impl Strategy<Value = Route> {
    let web = ClientFilter { service: Some("web.shop".parse().unwrap()), ..ClientFilter::default() };
    let version =
        ClientFilter { labels: [("version", "v1")].into_iter().collect(), ..ClientFilter::default() };
    let network = Network::v4([10, 0, 0, 0].into(), 29);
    let near = ClientFilter { networks: vec![network], ..ClientFilter::default() };
    let zone = ClientFilter { locality: Some("eu-1a".into()), ..ClientFilter::default() };
    let clients =
        prop::sample::select(vec![None, None, None, Some(web), Some(version), Some(near), Some(zone)]);
    let split = prop::collection::vec(arb_group(), 1..4)
        .prop_filter("a weight above 0", |split| split.iter().any(|group| group.weight > 0));
    (clients, split).prop_map(|(clients, split)| Route { clients, split })
}

#[derive(Debug)]
struct Given {
    /// Earlier reports of the two members, if any, which the later ones replace.
    before: Option<[Option<Vec<Instance>>; 2]>,
    members: [Option<Vec<Instance>>; 2],
    answers: AnswerSettings,
    routes: Vec<Route>,
    failover: Option<Failover>,
    client: IpAddr,
    question: (String, RecordType),
}

fn arb_given() -> impl Strategy<Value = Given> {
    let member = || prop::option::weighted(0.9, prop::collection::vec(arb_instance(), 0..10));
    let amount = prop_oneof![(1..3u32).prop_map(Amount::Count), (1..101u8).prop_map(Amount::Percent)];
    let failover = amount.prop_map(|min_healthy| Failover {
        tiers: vec![label("tier", "1".into()), label("tier", "2".into())],
        min_healthy,
        hold_down: Duration::from_secs(30),
    });
    let routes = prop::collection::vec(arb_route(), 0..3);
    let name = prop::sample::select(vec![
        "web.shop",
        "web.shop",
        "web.shop",
        "web.shop",
        "web.shop",
        "web.shop",
        "web.shop",
        "web.shop",
        "one.shop",
        "_http._tcp.web.shop",
        "i3.web.shop",
        "nothing.web.shop",
        "wep.shop",
        "web.elsewhere",
        "shop",
    ]);
    let types = vec![
        RecordType::A,
        RecordType::A,
        RecordType::AAAA,
        RecordType::SRV,
        RecordType::ANY,
        RecordType::CNAME,
        RecordType::TXT,
    ];
    let question = (name.prop_map(str::to_owned), prop::sample::select(types));
    let client = (1..14u8).prop_map(|last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)));
    let before = prop::option::of([member(), member()]);
    let given = (before, [member(), member()], arb_answers(), routes, prop::option::weighted(0.3, failover));
    (given, client, question).prop_map(|((before, members, answers, routes, failover), client, question)| {
        Given { before, members, answers, routes, failover, client, question }
    })
}

fn config(given: &Given) -> Config {
    let files = [
        (PathBuf::from("muster.toml"), "[consul.vms]".to_owned()),
        (PathBuf::from("zones/shop.toml"), ZONE.to_owned()),
    ];
    let mut config = config::load_from(&files).unwrap().config;
    let network = Some(Network::v4([10, 0, 0, 8].into(), 29));
    config.localities = vec![LocalityRule { network, zone: "eu-1b".into(), region: None }];
    let service = &mut config.namespaces[0].services[0];
    service.answers = given.answers.clone();
    service.routes = given.routes.clone();
    service.failover = given.failover.clone();
    service.names =
        vec![SubsetName { name: "one.shop".parse().unwrap(), filter: label("version", "v1".into()) }];
    config
}

/// A catalog with these reports, and a responder on it.
struct Server {
    catalog: Catalog,
    responder: Responder,
}

impl Server {
    fn new(config: &Config, said: &[[Option<Vec<Instance>>; 2]]) -> Self {
        let members: Vec<Member> =
            config.namespaces[0].services[0].members().map(|(member, _)| member).collect();
        let mut catalog = Catalog::new(config, 1);
        for said in said {
            for (member, instances) in members.iter().zip(said) {
                if let Some(instances) = instances {
                    catalog.apply(Update::Reset { member: member.clone(), instances: instances.clone() });
                }
            }
            catalog.publish();
        }
        let cell = Arc::new(SnapshotCell::from_pointee(catalog.snapshot()));
        Self { catalog, responder: Responder::new(cell, Arc::new(Metrics::new().unwrap()), None) }
    }

    fn explain(&self, name: &Name, qtype: RecordType, client: IpAddr) -> Explained {
        self.catalog.explain(&ExplainQuery {
            name: name.clone(),
            qtype,
            client,
            limit: 1000,
            stale: StaleMembers::new(),
        })
    }
}

/// The answer's records of one type, the one that answers the query, as `explain` writes them.
fn records(answer: &GivenAnswer) -> Vec<String> {
    let record = |record: &String| {
        let fields: Vec<_> = record.split_whitespace().collect();
        match fields[3..] {
            ["A" | "AAAA", address] => address.to_owned(),
            ["CNAME", host] => format!("CNAME {}", host.trim_end_matches('.')),
            ["SRV", _, _, port, target] => {
                let target = target.trim_end_matches('.');
                let label = target.strip_suffix(".web.shop").or(target.strip_suffix(".one.shop"));
                format!("{}:{port}", label.unwrap_or(target))
            }
            _ => panic!("{record:?}"),
        }
    };
    let of_namespace = |record: &&String| !record.starts_with("shop.");
    answer.answers.iter().filter(of_namespace).map(record).collect()
}

/// The records that an instance can have in answers to this query.
fn records_of(instance: &ExplainedInstance, qtype: RecordType, port: bool, is_own_name: bool) -> Vec<String> {
    let target = instance.host.as_ref().unwrap_or(&instance.label);
    if port {
        return instance.ports.values().map(|port| format!("{target}:{port}")).collect();
    }
    if qtype == RecordType::SRV && !(is_own_name && instance.host.is_some()) {
        return vec![format!("{target}:{}", instance.port)];
    }
    let alias = instance.host.iter().map(|host| format!("CNAME {host}"));
    let is_of = |address: &&IpAddr| match qtype {
        RecordType::A => address.is_ipv4(),
        RecordType::AAAA => address.is_ipv6(),
        _ => true,
    };
    instance.addresses.iter().filter(is_of).map(ToString::to_string).chain(alias).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_explained_is_what_is_answered(given in arb_given()) {
        let (name, qtype) = &given.question;
        let said: Vec<_> = given.before.iter().chain([&given.members]).cloned().collect();
        let server = Server::new(&config(&given), &said);
        let name: Name = name.parse().unwrap();
        let qtype = *qtype;
        let explained = server.explain(&name, qtype, given.client);
        let mut rotation = Rotation::default();
        let mut peek = || server.responder.explain((&name, qtype), given.client, &mut rotation);
        let service = explained.service.as_ref();
        let route = service.and_then(|service| service.routes.iter().find(|route| route.matched));
        let groups = route.map(|route| route.groups.as_slice()).unwrap_or_default();

        // One round of the groups: each has its share of the answers.
        let weights: Vec<u32> =
            groups.iter().map(|group| if group.share > 0.0 { group.weight.max(1).into() } else { 0 }).collect();
        let divisor = weights.iter().copied().fold(0, num_integer::gcd).max(1);
        let round = weights.iter().sum::<u32>() / divisor;
        let mut counts: BTreeMap<Option<usize>, u32> = BTreeMap::new();
        let mut union = BTreeSet::new();
        for _ in 0..round {
            let records = records(&peek());
            let first = records.first();
            let whose = groups.iter().position(|group| group.share > 0.0 && first.is_some_and(|first| group.records.contains(first)));
            *counts.entry(whose).or_default() += 1;
            union.extend(records);
        }
        let all: Vec<_> = groups.iter().filter(|group| group.share > 0.0).flat_map(|group| &group.records).collect();
        let are_disjoint = all.iter().collect::<BTreeSet<_>>().len() == all.len();
        let is_of_service = matches!(name.to_string().as_str(), "web.shop" | "one.shop" | "_http._tcp.web.shop");
        if are_disjoint && is_of_service {
            for (at, group) in groups.iter().enumerate().filter(|(_, group)| !group.records.is_empty()) {
                let turns = f64::from(counts.get(&Some(at)).copied().unwrap_or(0));
                let expected = group.share * f64::from(round) / 100.0;
                prop_assert!((turns - expected).abs() < 0.01, "group {at}: {turns} of {round} turns\n{explained:#?}");
            }
        }

        // Every record that ever comes is one of an instance marked as answered.
        let rounds = if given.answers.order == AnswerOrder::Random { 3000 } else { 500 };
        for _ in 0..rounds {
            union.extend(records(&peek()));
        }
        let instances = service.map(|service| service.instances.as_slice()).unwrap_or_default();
        let is_port = name.to_string().starts_with('_');
        let mut expected = BTreeSet::new();
        for instance in instances.iter().filter(|instance| instance.answered) {
            let own = records_of(instance, qtype, is_port, name.to_string().starts_with("i3."));
            if qtype == RecordType::ANY && !is_port {
                prop_assert!(own.iter().any(|record| union.contains(record)), "{own:?} {union:?}\n{explained:#?}");
                expected.extend(own.into_iter().filter(|record| union.contains(record)));
            } else {
                expected.extend(own);
            }
        }
        prop_assert!(!instances.iter().any(|one| one.why.is_empty()));
        prop_assert_eq!(union, expected, "{:#?}", explained);
        prop_assert_eq!(server.explain(&name, qtype, given.client), explained, "explaining has changed something");
    }
}
