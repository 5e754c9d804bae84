use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use hickory_proto::rr::RecordType;

use super::ExplainQuery;
use crate::{
    catalog::state::Catalog,
    config,
    model::{
        Explained, FOR_EVERY_CLIENT, Health, Instance, Member, MemberStatus, Name, NameKind, NamedPort,
        Protocol, StaleMembers, Staleness, Update,
    },
};

const FROM: &str = r#"from = [{ consul = "others", service = "a" }, { consul = "vms", service = "b" }]"#;

/// A catalog with `web.shop`, whose two members have reported `reports`; `None`: not synced.
fn catalog(service: &str, reports: [Option<Vec<Instance>>; 2]) -> Catalog {
    let server = "[consul.others]\n[consul.vms]\n[[locality]]\ncidr = \"10.9.1.0/24\"\nzone = \"eu-1a\"\n";
    let zone = format!("namespace = \"shop\"\n[services.web]\n{FROM}\n{service}\n");
    let files = [(PathBuf::from("muster.toml"), server.to_owned()), (PathBuf::from("zones/shop.toml"), zone)];
    let config = config::load_from(&files).unwrap().config;
    let members: Vec<Member> = config.namespaces[0].services[0].members().map(|(member, _)| member).collect();
    let mut catalog = Catalog::new(&config, 1);
    for (member, instances) in members.into_iter().zip(reports) {
        if let Some(instances) = instances {
            catalog.apply(Update::Reset { member, instances });
        }
    }
    catalog.publish();
    catalog
}

fn synced(service: &str, instances: Vec<Instance>) -> Catalog {
    catalog(service, [Some(instances), Some(Vec::new())])
}

fn instance(last: u8, change: impl FnOnce(&mut Instance)) -> Instance {
    let mut instance = Instance::at(&format!("i{last}"), [10, 0, 0, last].into(), 80);
    instance.health = Health::Healthy;
    instance.labels = [("version", if last < 5 { "v1" } else { "v2" })].into_iter().collect();
    change(&mut instance);
    instance
}

fn healthy(last: u8) -> Instance {
    instance(last, |_| {})
}

fn unhealthy(last: u8) -> Instance {
    instance(last, |instance| {
        instance.health = Health::Unhealthy;
        instance.reason = Some(Arc::from("http: 500"));
    })
}

fn explain(catalog: &Catalog, name: &str, client: [u8; 4]) -> Explained {
    let query = ExplainQuery {
        name: name.parse().unwrap(),
        qtype: RecordType::A,
        client: IpAddr::from(client),
        limit: 1000,
        stale: StaleMembers::default(),
    };
    catalog.explain(&query)
}

/// One line per instance such as `i1 yes: healthy`, sorted by label.
fn verdicts(catalog: &Catalog, client: [u8; 4]) -> Vec<String> {
    let service = explain(catalog, "web.shop", client).service.unwrap();
    let verdict = |instance: &crate::model::ExplainedInstance| {
        format!("{} {}: {}", instance.label, if instance.answered { "yes" } else { "no" }, instance.why)
    };
    let mut verdicts: Vec<_> = service.instances.iter().map(verdict).collect();
    verdicts.sort();
    verdicts
}

const UNKNOWN: [u8; 4] = [127, 0, 0, 1];

#[test]
fn ineligible_instances_give_the_failed_check() {
    let draining = instance(3, |instance| instance.health = Health::Draining);
    let warning = instance(4, |instance| instance.health = Health::Warning);
    let catalog = synced("", vec![healthy(1), unhealthy(2), draining, warning]);
    assert_eq!(
        verdicts(&catalog, UNKNOWN),
        ["i1 yes: healthy", "i2 no: unhealthy: http: 500", "i3 no: draining", "i4 yes: warning (accepted)",]
    );
}

#[test]
fn answered_ineligible_instances_give_a_reason() {
    let catalog = synced("", vec![unhealthy(1)]);
    let open = "unhealthy: http: 500; answered because none is eligible (fail-open)";
    assert_eq!(verdicts(&catalog, UNKNOWN), [format!("i1 yes: {open}")]);
    assert!(explain(&catalog, "web.shop", UNKNOWN).service.unwrap().routes[0].failed_open);

    let catalog = synced("panic_threshold = 50", vec![healthy(1), unhealthy(2), unhealthy(3)]);
    let panics = "unhealthy: http: 500; answered because too few are eligible (panic_threshold)";
    assert_eq!(
        verdicts(&catalog, UNKNOWN),
        ["i1 yes: healthy".to_owned(), format!("i2 yes: {panics}"), format!("i3 yes: {panics}")]
    );

    let catalog = synced("when_all_unhealthy = \"none\"", vec![unhealthy(1)]);
    assert_eq!(verdicts(&catalog, UNKNOWN), ["i1 no: unhealthy: http: 500"]);
}

#[test]
fn weight_0_is_left_out_while_others_have_more() {
    let idle = || instance(1, |instance| instance.weight = 0);
    let catalog = synced("", vec![idle(), healthy(2)]);
    assert_eq!(verdicts(&catalog, UNKNOWN), ["i1 no: weight 0, while others have more", "i2 yes: healthy"]);
    assert_eq!(verdicts(&synced("", vec![idle()]), UNKNOWN), ["i1 yes: healthy"]);
}

#[test]
fn a_split_shows_shares_and_instances_in_no_group() {
    let split = "[[services.web.routes]]\nsplit = [{ labels = { version = \"v1\" }, weight = 3 }, \
                 { labels = { version = \"v2\" }, weight = 1 }]";
    let other = instance(9, |instance| instance.labels = [("version", "v3")].into_iter().collect());
    let catalog = synced(split, vec![healthy(1), healthy(5), other]);
    assert_eq!(
        verdicts(&catalog, UNKNOWN),
        ["i1 yes: healthy", "i5 yes: healthy", "i9 no: in no group of the route"]
    );
    let service = explain(&catalog, "web.shop", UNKNOWN).service.unwrap();
    let groups: Vec<_> = service.routes[0].groups.iter().map(|group| (group.share, &group.records)).collect();
    assert_eq!(groups, [(75.0, &vec!["10.0.0.1".to_owned()]), (25.0, &vec!["10.0.0.5".to_owned()])]);

    let off = split.replace("weight = 1", "weight = 0");
    let catalog = synced(&off, vec![healthy(1), healthy(5)]);
    assert_eq!(verdicts(&catalog, UNKNOWN)[1], "i5 no: its group has weight 0, while another has more");
}

#[test]
fn a_route_says_why_it_matches_or_not() {
    let routes = "[[services.web.routes]]\nclients = { labels = { version = \"v2\" } }\n\
                  split = [{ labels = { version = \"v1\" }, weight = 1 }]";
    let twin = instance(6, |instance| {
        instance.labels = [("version", "v1")].into_iter().collect();
        instance.target = crate::model::Target::Addresses([[10, 0, 0, 7].into()].into());
        instance.port = 81;
    });
    let catalog = synced(routes, vec![healthy(1), healthy(5), healthy(7), twin]);
    let routes = |client: [u8; 4]| {
        let service = explain(&catalog, "web.shop", client).service.unwrap();
        service.routes.iter().map(|route| (route.matched, route.why.clone())).collect::<Vec<_>>()
    };
    let all =
        |matched| (matched, if matched { FOR_EVERY_CLIENT } else { "route 1 takes precedence" }.to_owned());
    assert_eq!(routes([10, 0, 0, 5]), [(true, "the instance at 10.0.0.5 matches".to_owned()), all(false)]);
    assert_eq!(
        routes([10, 0, 0, 1]),
        [(false, "the instance at 10.0.0.1 does not match".to_owned()), all(true)]
    );
    let unknown = "no source reports an instance at 127.0.0.1".to_owned();
    assert_eq!(routes(UNKNOWN), [(false, unknown), all(true)]);
    let shared = "ambiguous: 10.0.0.7 is shared and only some of its instances match".to_owned();
    assert_eq!(routes([10, 0, 0, 7]), [(false, shared), all(true)]);
    assert!(explain(&catalog, "web.shop", [10, 0, 0, 7]).client.ambiguous);
    let known_as = explain(&catalog, "web.shop", [10, 0, 0, 5]).client.known_as;
    assert_eq!(known_as.iter().map(|known| known.id.as_str()).collect::<Vec<_>>(), ["i5"]);
}

#[test]
fn tiers_stand_by_and_are_held() {
    let tiers = "failover = [{ labels = { version = \"v1\" } }, { labels = { version = \"v2\" } }]";
    let stands_by = "i5 no: tier 2 stands by while tier 1 is used";
    let mut catalog = synced(tiers, vec![healthy(1), healthy(5)]);
    assert_eq!(verdicts(&catalog, UNKNOWN), ["i1 yes: healthy", stands_by]);

    let member = catalog.services.values().next().unwrap().members.keys().next().unwrap().clone();
    let report = |catalog: &mut Catalog, first: Instance| {
        catalog.apply(Update::Reset { member: member.clone(), instances: vec![first, healthy(5)] });
        catalog.publish();
    };
    report(&mut catalog, unhealthy(1));
    let too_few = "i1 no: tier 1 has too few eligible instances; tier 2 is used";
    assert_eq!(verdicts(&catalog, UNKNOWN), [too_few, "i5 yes: healthy"]);

    report(&mut catalog, healthy(1));
    let waits = "i1 no: tier 1 has recovered; tier 2 is held for 30 s more (hold_down)";
    assert_eq!(verdicts(&catalog, UNKNOWN), [waits, "i5 yes: healthy"]);
    let group = &explain(&catalog, "web.shop", UNKNOWN).service.unwrap().routes[0].groups[0];
    assert_eq!((group.tier, group.hold_down_seconds), (Some(2), Some(30)));
}

#[test]
fn distant_instances_are_left_out_for_near_clients() {
    let at = |last, zone: &str| instance(last, |instance| instance.locality = Some(zone.into()));
    let catalog = synced("prefer = \"zone\"", vec![at(1, "eu-1a"), at(2, "eu-1b"), healthy(3)]);
    assert_eq!(
        verdicts(&catalog, [10, 9, 1, 1]),
        [
            "i1 yes: healthy",
            "i2 no: in eu-1b; only instances in the client's zone eu-1a are answered",
            "i3 no: availability zone unknown; only instances in the client's zone eu-1a are answered",
        ]
    );
    assert_eq!(verdicts(&catalog, UNKNOWN), ["i1 yes: healthy", "i2 yes: healthy", "i3 yes: healthy"]);
}

#[test]
fn all_reports_are_listed_and_the_worst_counts() {
    let reports = [Some(vec![healthy(1)]), Some(vec![unhealthy(1)])];
    let catalog = catalog("when_all_unhealthy = \"none\"", reports);
    assert_eq!(verdicts(&catalog, UNKNOWN), ["i1 no: unhealthy: http: 500"]);
    let service = explain(&catalog, "web.shop", UNKNOWN).service.unwrap();
    let reports: Vec<_> =
        service.instances[0].reports.iter().map(|report| (report.member, &*report.health)).collect();
    assert_eq!(reports, [(Some(0), "healthy"), (Some(1), "unhealthy")]);
}

#[test]
fn the_best_of_one_sources_reports_counts_and_the_others_are_named() {
    let old = instance(1, |instance| {
        instance.id = "old".into();
        instance.health = Health::Unhealthy;
    });
    let catalog = synced("", vec![healthy(1), old]);
    assert_eq!(
        verdicts(&catalog, UNKNOWN),
        ["i1 yes: healthy (consul.others also reports old as unhealthy; its best report counts)"]
    );
}

#[test]
fn names_that_are_not_services_say_what_they_are() {
    let catalog = catalog("", [None, None]);
    let found = |name| {
        let Explained { kind, note, .. } = explain(&catalog, name, UNKNOWN);
        (kind, note)
    };
    let (not_synced, note) = found("web.shop");
    assert_eq!(not_synced, NameKind::Service);
    assert!(note.contains("not synced yet: consul.others #0, consul.vms #1"), "{note}");
    assert!(note.contains("SERVFAIL"), "{note}");
    assert_eq!(found("wep.shop"), (NameKind::NxDomain, "no such service in shop".into()));
    assert_eq!(found("database.shop"), (NameKind::NxDomain, "no such service in shop".into()));
    let elsewhere = "in none of the namespaces";
    assert_eq!(found("example.com"), (NameKind::External, elsewhere.into()));
    assert_eq!(found("shop").0, NameKind::Namespace);
    assert_eq!(found("ns.shop").0, NameKind::Namespace);
    assert_eq!(found("i1.web.shop").0, NameKind::NotSynced);
    let meant = |name: &str| catalog.snapshot().suggest(&name.parse().unwrap());
    assert_eq!(meant("wep.shop"), "; did you mean web.shop?");
    assert_eq!(meant("web"), "; did you mean web.shop?");
    assert_eq!([meant("database.shop"), meant("example.com")], ["", ""]);
}

#[test]
fn instances_over_the_limit_are_omitted_and_paged() {
    let catalog = synced("", (1..9).map(healthy).collect());
    let name: Name = "web.shop".parse().unwrap();
    let query = ExplainQuery {
        name: name.clone(),
        qtype: RecordType::A,
        client: UNKNOWN.into(),
        limit: 3,
        stale: StaleMembers::default(),
    };
    let service = catalog.explain(&query).service.unwrap();
    assert_eq!((service.instances.len(), service.omitted), (3, 5));
    assert_eq!(service.routes[0].groups[0].records.len(), 3);

    let mut after: Option<String> = None;
    let mut pages = Vec::new();
    while let Some(page) = catalog.list_instances(&name, after.as_deref(), 3, &StaleMembers::default()) {
        pages
            .push(page.instances.iter().map(|instance| instance.label.clone()).collect::<Vec<_>>().join(" "));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, ["i1 i2 i3", "i4 i5 i6", "i7 i8"]);
    assert!(catalog.list_instances(&"no.shop".parse().unwrap(), None, 3, &StaleMembers::default()).is_none());
}

#[test]
fn services_are_paged_with_their_subset_names() {
    let names = "names = { v2 = { labels = { version = \"v2\" } } }";
    let catalog = synced(names, vec![healthy(1), unhealthy(5)]);
    let snapshot = catalog.snapshot();
    let mut after: Option<Name> = None;
    let mut listed = Vec::new();
    for _ in 0..2 {
        let page = catalog.list_services(&snapshot.names_after(after.as_ref(), 1), &StaleMembers::default());
        listed.extend(page.services);
        after = page.next.map(|next| next.parse().unwrap());
    }
    assert_eq!(after, None);
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = listed.iter().map(|listed| (listed.name.as_str(), listed.service.as_str())).collect();
    assert_eq!(names, [("v2.shop", "web.shop"), ("web.shop", "web.shop")]);
    assert_eq!(listed[1].health, [("healthy".to_owned(), 1), ("unhealthy".to_owned(), 1)].into());
    assert!(listed[1].synced && !listed[1].imported);
}

#[test]
fn later_reports_of_the_same_health_keep_its_age() {
    let mut catalog = synced("", vec![healthy(1)]);
    let member = catalog.services.values().next().unwrap().members.keys().next().unwrap().clone();
    let mut age_after = |instance: Option<Instance>| {
        catalog.set_time(catalog.now + Duration::from_secs(90));
        if let Some(instance) = instance {
            catalog.apply(Update::Reset { member: member.clone(), instances: vec![instance] });
        }
        explain(&catalog, "web.shop", UNKNOWN).service.unwrap().instances[0].reports[0].age_seconds
    };
    assert_eq!(age_after(None), 90);
    assert_eq!(age_after(Some(instance(1, |instance| instance.weight = 7))), 180);
    assert_eq!(age_after(Some(unhealthy(1))), 0);
}

#[test]
fn reverse_and_browsed_names_say_what_they_are() {
    let server = "reverse = \"10.0.0.0/8\"\n[consul.vms]\n".to_owned();
    let zone = "namespace = \"shop\"\ndns_sd = true\nservices.web = { from = { consul = \"vms\", service = \"web\" } }";
    let files = [("muster.toml".into(), server), ("zones/shop.toml".into(), zone.to_owned())];
    let config = config::load_from(&files).unwrap().config;
    let mut catalog = Catalog::new(&config, 1);
    let explain = |catalog: &Catalog, name: &str| {
        let query = ExplainQuery {
            name: name.parse().unwrap(),
            qtype: RecordType::PTR,
            client: [127, 0, 0, 1].into(),
            limit: 10,
            stale: StaleMembers::default(),
        };
        let explained = catalog.explain(&query);
        (explained.kind, explained.note)
    };
    let not_synced = "no such port in shop yet: not all of its services have synced";
    assert_eq!(explain(&catalog, "_http._tcp.shop"), (NameKind::NotSynced, not_synced.to_owned()));
    let (member, _) = config.namespaces[0].services[0].members().next().unwrap();
    let mut instance = Instance::at("a", [10, 0, 0, 1].into(), 80);
    let port = NamedPort { name: "http".into(), protocol: Protocol::Tcp, port: 80 };
    instance.named_ports = [port].into();
    catalog.apply(Update::Reset { member, instances: vec![instance] });
    catalog.publish();
    let address = "the reverse name of an address of a.web.shop".to_owned();
    assert_eq!(explain(&catalog, "1.0.0.10.in-addr.arpa"), (NameKind::Pointer, address));
    let unknown = "no instance has this address".to_owned();
    assert_eq!(explain(&catalog, "2.0.0.10.in-addr.arpa"), (NameKind::NxDomain, unknown));
    assert_eq!(explain(&catalog, "_http._tcp.shop").0, NameKind::Pointer);
    assert_eq!(
        explain(&catalog, "b._dns-sd._udp.shop").1,
        "a browsing domain of DNS-SD, which leads to shop"
    );
}

#[test]
fn a_service_says_what_is_asked_of_whom_and_expired_is_not_unsynced() {
    let mut catalog = catalog("", [None, None]);
    let members = |catalog: &Catalog| {
        let service = explain(catalog, "web.shop", UNKNOWN).service.unwrap();
        service.members.iter().map(|member| (member.query.clone(), member.state)).collect::<Vec<_>>()
    };
    let of_vms = |state| ("service \"b\"".to_owned(), state);
    assert_eq!(members(&catalog)[1], of_vms(MemberStatus::NotSynced));
    let vms = catalog.services.values().flat_map(|service| service.members.keys()).find(|key| key.place == 1);
    let vms = vms.unwrap().clone();
    catalog.apply(Update::Failed { member: vms.clone() });
    assert_eq!(members(&catalog)[1], of_vms(MemberStatus::Failed));
    catalog.apply(Update::Reset { member: vms.clone(), instances: Vec::new() });
    assert_eq!(members(&catalog)[1], of_vms(MemberStatus::Synced));
    catalog.apply(Update::Expired { member: vms.clone() });
    // A source that fails on does not make it one that never synced.
    catalog.apply(Update::Failed { member: vms.clone() });
    catalog.apply(Update::Expired { member: vms });
    assert_eq!(members(&catalog)[1], of_vms(MemberStatus::Expired));
    let note = explain(&catalog, "web.shop", UNKNOWN).note;
    let expected = "not synced yet: consul.others #0; lost for longer than max_stale: consul.vms #1";
    assert!(note.contains(expected), "{note}");
}

#[test]
fn stale_state_is_told_in_explanations_and_lists() {
    let mut catalog = catalog("", [None, None]);
    let places: Vec<Member> =
        catalog.services.values().flat_map(|service| service.members.keys()).cloned().collect();
    let vms = places.iter().find(|member| member.place == 1).unwrap();
    catalog.apply(Update::Reset { member: vms.clone(), instances: Vec::new() });
    let now = catalog.now;
    let (since, until) = (now - Duration::from_secs(50), Some(now + Duration::from_secs(10)));
    // The other member's watch is as stale, but has no data that could expire.
    let stale: StaleMembers =
        places.iter().map(|member| (member.clone(), Staleness { since, until })).collect();
    let query = ExplainQuery {
        name: "web.shop".parse().unwrap(),
        qtype: RecordType::A,
        client: IpAddr::from(UNKNOWN),
        limit: 10,
        stale,
    };
    let times = |members: Vec<crate::model::ExplainedMember>| {
        members.iter().map(|member| (member.stale_seconds, member.expires_in_seconds)).collect::<Vec<_>>()
    };
    let expected = [(None, None), (Some(50), Some(10))];
    assert_eq!(times(catalog.explain(&query).service.unwrap().members), expected);
    let page = catalog.list_instances(&query.name, None, 10, &query.stale).unwrap();
    assert_eq!(times(page.members), expected);
    let page = catalog.list_services(&(vec![query.name.clone()], false), &query.stale);
    let service = &page.services[0];
    assert_eq!((service.stale_seconds, service.expires_in_seconds), (Some(50), Some(10)));
    assert!(!service.expired);
    catalog.apply(Update::Expired { member: vms.clone() });
    let page = catalog.list_services(&(vec![query.name], false), &query.stale);
    assert_eq!((page.services[0].stale_seconds, page.services[0].expired), (None, true));
}
