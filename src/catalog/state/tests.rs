//! Tests of the catalog's state; `tests/scripts` tests the answers.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::{
    catalog::{Answers, Lookup, Pool, Service, Snapshot},
    config::{self, AnswerSettings},
    model::{SourceId, SourceKind},
};

const SERVER: &str = "[consul.vms]\naddress = \"http://127.0.0.1:8500\"\n";

fn catalog(services: usize) -> (Catalog, Snapshot, Vec<Member>) {
    // Without fail-open, whose answer depends on whether an instance was ever healthy.
    let mut zone = String::from("namespace = \"shop\"\nwhen_all_unhealthy = \"none\"\n");
    for at in 0..services {
        zone += &format!(
            "[services.s{at}]\nfrom = [{{ consul = \"vms\", service = \"s{at}\" }}, {{ consul = \"vms\", service = \"t\" }}]\n"
        );
    }
    zone += "[[import]]\nconsul = \"vms\"\n";
    let files = [(PathBuf::from("muster.toml"), SERVER.to_owned()), (PathBuf::from("zones/a.toml"), zone)];
    let config = config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false))).config;
    let catalog = Catalog::new(&config, 1);
    let snapshot = catalog.snapshot();
    let members =
        config.namespaces[0].services.iter().flat_map(|s| s.members()).map(|(member, _)| member).collect();
    (catalog, snapshot, members)
}

fn instance(id: u8, address: u8, health: Health) -> Instance {
    Instance { health, ..Instance::at(&format!("i{id}"), [10, 0, 0, address].into(), 80) }
}

/// The result of `read` for a service; `None` if there is no such service.
fn service<T>(snapshot: &Snapshot, name: &str, read: impl Fn(&Service) -> T) -> Option<T> {
    let name: Name = name.parse().unwrap();
    let view = snapshot.view();
    match view.lookup(name.wire()) {
        Lookup::Service(service, 0) => Some(read(service)),
        _ => None,
    }
}

fn is_absent(snapshot: &Snapshot, name: &str) -> bool {
    let name: Name = name.parse().unwrap();
    matches!(snapshot.view().lookup(name.wire()), Lookup::NxDomain(_))
}

fn is_empty_non_terminal(snapshot: &Snapshot, name: &str) -> bool {
    let name: Name = name.parse().unwrap();
    matches!(snapshot.view().lookup(name.wire()), Lookup::EmptyNonTerminal(_))
}

fn import() -> Import {
    let source = SourceId { kind: SourceKind::Consul, name: "vms".into() };
    Import { apex: "shop".parse().unwrap(), source, place: 0 }
}

/// Everything about a service that readers see, except cursor ids, which differ between catalogs.
/// numbers).
fn view(service: &Service) -> String {
    let records = |pool: &Pool| {
        let of_ports: Vec<_> = pool.ports.iter().map(|list| &list.records).collect();
        format!(
            "{:?} {:?} {:?} {:?} {of_ports:?}",
            pool.v4.records, pool.v6.records, pool.hosts, pool.srv.records
        )
    };
    let pools: Vec<_> = service.pools().map(records).collect();
    let instances: Vec<_> = service.instances.iter().collect();
    format!("{} {} {pools:?} {:?} {instances:?}", service.name, service.all_synced, service.ports)
}

/// The only pool of a service that is the same for every client.
fn pool(service: &Service) -> &Pool {
    let Answers::Same(pool) = &service.answers else { panic!("{service:?}") };
    pool
}

#[test]
fn a_change_compiles_its_own_service_only() {
    let (mut catalog, zone, members) = catalog(10);
    for member in &members {
        catalog.apply(Update::Reset {
            member: member.clone(),
            instances: vec![instance(1, 1, Health::Healthy)],
        });
    }
    assert_eq!(catalog.publish(), 10);
    let address = |service: &Service| std::ptr::from_ref(service).addr();
    let before: Vec<_> = zone.view().services().into_iter().map(address).collect();
    catalog.apply(Update::Upsert { member: members[0].clone(), instance: instance(1, 1, Health::Unhealthy) });
    assert_eq!(catalog.publish(), 1);
    let after: Vec<_> = zone.view().services().into_iter().map(address).collect();
    let kept = before.iter().zip(&after).filter(|(old, new)| old == new).count();
    assert_eq!(kept, 9, "the others are the same objects as before");
    catalog.apply(Update::Upsert { member: members[0].clone(), instance: instance(1, 1, Health::Unhealthy) });
    catalog.apply(Update::Reset {
        member: members[1].clone(),
        instances: vec![instance(1, 1, Health::Healthy)],
    });
    catalog.apply(Update::Remove { member: members[2].clone(), id: "unheard-of".into() });
    assert_eq!(catalog.publish(), 0);
}

#[test]
fn cursor_ids_survive_changes_and_are_reused() {
    let (mut catalog, zone, members) = catalog(1);
    let before = service(&zone, "s0.shop", |s| pool(s).v4.rotation).unwrap();
    catalog.apply(Update::Reset {
        member: members[0].clone(),
        instances: vec![instance(1, 1, Health::Healthy)],
    });
    catalog.publish();
    assert_eq!(service(&zone, "s0.shop", |s| pool(s).v4.rotation).unwrap(), before);

    let mut highest = 0;
    for round in 0..50 {
        let name: Name = format!("n{round}.shop").parse().unwrap();
        catalog.apply(Update::Imported { import: import(), services: vec![name] });
        catalog.publish();
        highest =
            highest.max(service(&zone, &format!("n{round}.shop"), |s| pool(s).srv.rotation.index()).unwrap());
    }
    assert!(highest < 16, "two services at once do not need {highest} cursors");
}

#[test]
fn a_name_that_an_import_no_longer_lists_is_removed() {
    let (mut catalog, zone, _) = catalog(0);
    let names = ["a.shop", "_x._tcp.shop"].map(|name| name.parse::<Name>().unwrap());
    catalog.apply(Update::Imported { import: import(), services: names.to_vec() });
    catalog.publish();
    assert!(service(&zone, "a.shop", |_| ()).is_some());
    assert!(is_empty_non_terminal(&zone, "_tcp.shop"));
    catalog.apply(Update::Imported { import: import(), services: vec![] });
    catalog.publish();
    assert_eq!((catalog.service_count(), zone.view().services().len()), (0, 0));
    assert!(is_absent(&zone, "_tcp.shop"));
    assert!(is_absent(&zone, "a.shop"));
}

#[test]
fn names_between_an_inner_apex_and_the_outer_one_exist() {
    let zones = [
        "namespace = \"corp\"",
        "namespace = \"eu.shop.corp\"\n[services.web]\nfrom = [{ static = [\"10.0.0.1:80\"] }]",
    ];
    let files: Vec<_> = [("muster.toml".into(), String::new())]
        .into_iter()
        .chain(
            (0..).zip(zones).map(|(at, text)| (PathBuf::from(format!("zones/{at}.toml")), text.to_owned())),
        )
        .collect();
    let snapshot = Catalog::new(&config::load_from(&files).unwrap().config, 1).snapshot();
    assert!(is_empty_non_terminal(&snapshot, "shop.corp"));
    assert!(is_absent(&snapshot, "eu.corp"));
    let apex: Name = "eu.shop.corp".parse().unwrap();
    assert!(matches!(snapshot.view().lookup(apex.wire()), Lookup::Apex(zone) if zone.apex == apex));
}

#[test]
fn the_first_import_in_the_file_decides_the_policy() {
    let zone = "namespace = \"shop\"\n[[import]]\nconsul = \"vms\"\nttl = 7\n[[import]]\nconsul = \"vms\"\nttl = 60\n";
    let files = [("muster.toml".into(), SERVER.to_owned()), ("zones/a.toml".into(), zone.to_owned())];
    let config = config::load_from(&files).unwrap().config;
    let imported = |place: u16, listed: bool| Update::Imported {
        import: Import { place, ..import() },
        services: listed.then(|| "api.shop".parse().unwrap()).into_iter().collect(),
    };
    for order in [[0, 1], [1, 0]] {
        let mut catalog = Catalog::new(&config, 1);
        let snapshot = catalog.snapshot();
        for place in order {
            catalog.apply(imported(place, true));
        }
        catalog.publish();
        assert_eq!(service(&snapshot, "api.shop", |s| s.ttl), Some(7));
        catalog.apply(imported(0, false));
        catalog.publish();
        assert_eq!(service(&snapshot, "api.shop", |s| s.ttl), Some(60), "the other import still lists it");
    }
}

#[test]
fn health_is_counted_over_all_services() {
    let (mut catalog, _, members) = catalog(2);
    let all = |health| (0..3).map(|at| instance(at, at, health)).collect::<Vec<_>>();
    catalog.apply(Update::Reset { member: members[0].clone(), instances: all(Health::Healthy) });
    catalog.apply(Update::Reset { member: members[2].clone(), instances: all(Health::Unhealthy) });
    catalog.publish();
    assert_eq!(catalog.health_counts(), [3, 0, 0, 3, 0]);
    catalog.apply(Update::Expired { member: members[0].clone() });
    catalog.publish();
    assert_eq!(catalog.health_counts(), [0, 0, 0, 3, 0]);
}

#[test]
fn default_ttl_and_size_are_those_of_consul_and_route_53() {
    let answers = AnswerSettings::default();
    assert_eq!((answers.ttl, answers.max_answers), (0, 8));
}

proptest! {
    /// After a reset of every member, only the instances of the resets are left.
    #[test]
    fn reset_leaves_nothing_behind(
        noise in prop::collection::vec((0usize..4, 0u8..6, 0u8..6, 0usize..5, 0u8..4), 0..40),
        last in prop::collection::vec((0usize..4, 0u8..6, 0u8..6, 0usize..5), 0..12),
    ) {
        let (mut used, used_zone, members) = catalog(2);
        for (at, id, address, health, kind) in noise {
            let member = members[at].clone();
            let instance = instance(id, address, Health::ALL[health]);
            used.apply(match kind {
                0 => Update::Reset { member, instances: vec![instance] },
                1 => Update::Remove { member, id: instance.id },
                2 => Update::Expired { member },
                _ => Update::Upsert { member, instance },
            });
            if id == 0 {
                used.publish();
            }
        }
        let (mut fresh, fresh_zone, _) = catalog(2);
        for (at, member) in members.iter().enumerate() {
            let instances: Vec<_> = last
                .iter()
                .filter(|(whose, ..)| *whose == at)
                .map(|(_, id, address, health)| instance(*id, *address, Health::ALL[*health]))
                .collect();
            for catalog in [&mut used, &mut fresh] {
                catalog.apply(Update::Reset { member: member.clone(), instances: instances.clone() });
            }
        }
        used.publish();
        fresh.publish();
        let views = |zone: &Snapshot| zone.view().services().into_iter().map(view).collect::<Vec<_>>();
        prop_assert_eq!(views(&used_zone), views(&fresh_zone));
        prop_assert_eq!(used.health_counts(), fresh.health_counts());
    }
}
