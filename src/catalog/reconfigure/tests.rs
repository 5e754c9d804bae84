//! Tests of what a catalog carries over to another configuration.

use std::{path::PathBuf, time::Instant};

use super::*;
use crate::model::Instance;
use crate::{
    catalog::{Answers, Lookup, Pool, RotationId, Service, Snapshot},
    config,
    model::{Health, Update},
};

/// A configuration with two Consul sources and these lines in the zone file of `shop`.
fn config(zone: &str) -> Arc<Config> {
    config_with("", &format!("namespace = \"shop\"\n{zone}"))
}

fn consul(service: &str) -> String {
    format!("{{ consul = \"vms\", service = \"{service}\" }}")
}

/// As [`config`], with these lines in `muster.toml`.
fn config_with(server: &str, zone: &str) -> Arc<Config> {
    let files = [
        (PathBuf::from("muster.toml"), format!("{server}\n[consul.vms]\n[consul.others]\n")),
        (PathBuf::from("zones/shop.toml"), zone.to_owned()),
    ];
    Arc::new(config::load_from(&files).unwrap_or_else(|report| panic!("{report}")).config)
}

/// A service `web` with these members.
fn web(members: &[&str]) -> Arc<Config> {
    config(&format!("[services.web]\nfrom = [{}]", members.join(", ")))
}

struct Running {
    catalog: Catalog,
    config: Arc<Config>,
}

impl Running {
    fn new(config: Arc<Config>) -> Self {
        Self { catalog: Catalog::new(&config, 1), config }
    }

    /// Moves to `to`; every source restarts, and was current.
    fn reload(&mut self, to: Arc<Config>) -> Retained {
        self.reload_with(to, Vec::new())
    }

    fn reload_with(&mut self, to: Arc<Config>, freshness: Vec<(Arc<WatchSubject>, Freshness)>) -> Retained {
        let members = to.namespaces.iter().flat_map(|namespace| &namespace.services);
        let members: Vec<Member> =
            members.flat_map(|service| service.members()).map(|(member, _)| member).collect();
        let change = Reconfiguration {
            from: Arc::clone(&self.config),
            to: Arc::clone(&to),
            serial: 2,
            restarted: to.consul.iter().map(|source| source.id.clone()).collect(),
            probed: members.into_iter().collect(),
            freshness,
        };
        self.config = to;
        self.catalog.reconfigure(&change)
    }

    fn member(&self, place: u16) -> Member {
        let service = &self.config.namespaces[0].services[0];
        service.members().nth(place.into()).unwrap().0
    }

    /// Makes the member in this place report one instance, at 10.0.0.`address`.
    fn report(&mut self, place: u16, address: u8) {
        let member = self.member(place);
        self.reset(member, &[address]);
    }

    fn reset(&mut self, member: Member, addresses: &[u8]) {
        let instances = addresses.iter().map(|address| instance(*address)).collect();
        self.catalog.apply(Update::Reset { member, instances });
        self.catalog.publish();
    }

    fn imported(&mut self, names: &[&str]) {
        let services = names.iter().map(|name| name.parse().unwrap()).collect();
        self.catalog.apply(Update::Imported { import: self.import(), services });
        self.catalog.publish();
    }

    fn import(&self) -> Import {
        self.config.namespaces[0].imports().next().unwrap().0
    }

    /// The member of `web.shop` that the import has.
    fn import_member(&self) -> Member {
        let source = self.import().source;
        Member { service: "web.shop".parse().unwrap(), source, place: Member::IMPORTED }
    }

    fn read<T>(&self, name: &str, read: impl Fn(&Service) -> T) -> Option<T> {
        read_service(&self.catalog.snapshot(), name, read)
    }

    fn addresses(&self) -> Vec<u8> {
        self.read("web.shop", addresses).unwrap()
    }
}

fn members(retained: &Retained) -> HashSet<&Member> {
    retained.members.keys().collect()
}

/// The retained imports, and whether each list is complete.
fn imports(retained: &Retained) -> HashMap<&Import, bool> {
    retained.imports.iter().map(|(import, entry)| (import, entry.is_complete)).collect()
}

fn instance(address: u8) -> Instance {
    Instance {
        health: Health::Healthy,
        ..Instance::at(&format!("i{}", address / 3), [10, 0, 0, address].into(), 80)
    }
}

fn read_service<T>(snapshot: &Snapshot, name: &str, read: impl Fn(&Service) -> T) -> Option<T> {
    let name: Name = name.parse().unwrap();
    match snapshot.view().lookup(name.wire()) {
        Lookup::Service(service, 0) => Some(read(service)),
        _ => None,
    }
}

/// The last octets of the answered addresses, sorted.
fn addresses(service: &Service) -> Vec<u8> {
    let mut last: Vec<_> = pool(service).v4.records.iter().map(|address| address.octets()[3]).collect();
    last.sort_unstable();
    last
}

/// The answer to a name that nothing has: `nxdomain` or `servfail`.
fn unknown_name(snapshot: &Snapshot) -> &'static str {
    let name: Name = "missing.shop".parse().unwrap();
    match snapshot.view().lookup(name.wire()) {
        Lookup::NxDomain(_) => "nxdomain",
        Lookup::NotSynced(_) => "servfail",
        other => panic!("{other:?}"),
    }
}

/// The only pool of a service that is the same for every client.
fn pool(service: &Service) -> &Pool {
    let Answers::Same(pool) = &service.answers else { panic!("{service:?}") };
    pool
}

fn rotations(service: &Service) -> [RotationId; 3] {
    let pool = pool(service);
    [pool.v4.rotation, pool.v6.rotation, pool.srv.rotation]
}

#[test]
fn answer_settings_change_and_nothing_else_does() {
    let mut running = Running::new(web(&[&consul("a")]));
    running.report(0, 1);
    let before = running.read("web.shop", rotations);
    running.reload(config(&format!("ttl = 9\n[services.web]\nmax_answers = 3\nfrom = [{}]", consul("a"))));
    assert_eq!(running.read("web.shop", |web| (web.ttl, web.max_answers)), Some((9, 3)));
    assert_eq!(running.read("web.shop", |web| web.all_synced), Some(true));
    assert_eq!(running.addresses(), [1]);
    let after = running.read("web.shop", rotations);
    assert_eq!(before, after, "rotation continues");
    assert_eq!(running.read("web.shop", |web| web.zone.serial), Some(2));
    assert_eq!(running.catalog.health_counts(), [1, 0, 0, 0, 0]);
}

#[test]
fn a_member_keeps_its_state_wherever_it_moves() {
    let mut running = Running::new(web(&[&consul("a"), &consul("b"), &consul("c")]));
    for (place, address) in [(0, 1), (1, 2), (2, 3)] {
        running.report(place, address);
    }
    running.reload(web(&[&consul("c"), &consul("a")]));
    assert_eq!(running.addresses(), [1, 3], "b is gone");
    assert_eq!(running.read("web.shop", |web| web.all_synced), Some(true));
    running.report(0, 30);
    assert_eq!(running.addresses(), [1, 30], "the first member is c now");
}

#[test]
fn a_changed_member_keeps_the_instances_of_its_place() {
    let mut running = Running::new(web(&[&consul("a")]));
    running.report(0, 1);
    let known = running.reload(web(&[&consul("b")]));
    assert_eq!((running.addresses(), running.read("web.shop", |web| web.all_synced)), (vec![1], Some(true)));
    assert_eq!(members(&known), HashSet::from([&running.member(0)]));
    running.report(0, 2);
    assert_eq!(running.addresses(), [2]);
}

#[test]
fn a_service_that_moves_to_another_source_stays_answered() {
    let mut running = Running::new(web(&[&consul("a")]));
    running.report(0, 1);
    running.reload(web(&[&consul("a"), &consul("b")]));
    assert_eq!((running.addresses(), running.read("web.shop", |web| web.all_synced)), (vec![1], Some(false)));
    running.report(1, 2);
    let known = running.reload(web(&["{ consul = \"others\", service = \"a\" }"]));
    assert_eq!(running.addresses(), [1, 2], "although both members use the same id");
    assert_eq!(members(&known), HashSet::from([&running.member(0)]), "so that it expires");
    running.report(0, 3);
    assert_eq!(running.addresses(), [3]);
    running.reload(web(&[&consul("b")]));
    let member = running.member(0);
    running.catalog.apply(Update::Expired { member });
    running.catalog.publish();
    assert_eq!((running.addresses(), running.read("web.shop", |web| web.all_synced)), (vec![], Some(false)));
    running.reload(web(&[&consul("c")]));
    assert_eq!(running.read("web.shop", |web| web.all_synced), Some(false), "nothing was left to keep");
}

#[test]
fn a_member_that_never_synced_stays_so() {
    let mut running = Running::new(web(&[&consul("a")]));
    let known = running.reload(config(&format!("[services.web]\nttl = 5\nfrom = [{}]", consul("a"))));
    assert_eq!(running.read("web.shop", |web| web.all_synced), Some(false));
    assert!(known.members.is_empty(), "{known:?}");
}

#[test]
fn removed_services_are_gone_and_their_cursors_are_reused() {
    let two = |services: [&str; 2]| {
        config(&services.map(|name| format!("[services.{name}]\nfrom = [{}]\n", consul(name))).concat())
    };
    let mut running = Running::new(two(["a", "b"]));
    let kept = running.read("a.shop", |a| pool(a).v4.rotation);
    for round in 0..20 {
        running.reload(two(["a", &format!("n{round}")]));
        assert_eq!(running.catalog.service_count(), 2);
    }
    assert_eq!(running.read("b.shop", |_| ()), None);
    assert_eq!(running.read("a.shop", |a| pool(a).v4.rotation), kept);
    let highest = running.read("n19.shop", |n| pool(n).srv.rotation.index()).unwrap();
    assert!(highest < 9, "three services at once do not need {highest} cursors");
    let snapshot = running.catalog.snapshot();
    assert_eq!(unknown_name(&snapshot), "nxdomain");
}

#[test]
fn the_old_snapshot_stays_whole_and_is_freed_after_readers() {
    let mut running = Running::new(web(&[&consul("a")]));
    running.report(0, 1);
    let old = Arc::new(running.catalog.snapshot());
    running.reload(config(&format!("ttl = 9\n[services.other]\nfrom = [{}]", consul("a"))));
    let before = read_service(&old, "web.shop", |web| (addresses(web), web.ttl, web.zone.serial));
    assert_eq!(before, Some((vec![1], 0, 1)));
    assert_eq!(read_service(&old, "other.shop", |_| ()), None);
    let zone = old.view().services().first().map(|web| Arc::downgrade(&web.zone)).unwrap();
    assert!(zone.upgrade().is_some());
    drop(old);
    assert!(zone.upgrade().is_none(), "nothing holds the old tables");
}

#[test]
fn an_import_keeps_its_names_and_stays_synced() {
    let import = "[[import]]\nconsul = \"vms\"\n";
    let mut running = Running::new(config(import));
    running.imported(&["web.shop", "old.shop"]);
    let web = Member {
        service: "web.shop".parse().unwrap(),
        source: running.import().source,
        place: Member::IMPORTED,
    };
    running.reset(web.clone(), &[1]);
    let rotation = running.read("web.shop", |web| pool(web).v4.rotation);

    let known =
        running.reload(config("[[import]]\nconsul = \"others\"\n[[import]]\nconsul = \"vms\"\nttl = 7\n"));
    assert_eq!((running.addresses(), running.read("web.shop", |web| web.ttl)), (vec![1], Some(7)));
    assert_eq!(running.read("web.shop", |web| pool(web).v4.rotation), rotation);
    assert_eq!(unknown_name(&running.catalog.snapshot()), "servfail", "the new import is not synced");
    let moved = Import { place: 1, ..running.config.namespaces[0].imports().nth(1).unwrap().0 };
    assert_eq!(imports(&known), HashMap::from([(&moved, true)]));
    assert_eq!(members(&known), HashSet::from([&web]));

    running.reload(config(import));
    assert_eq!(unknown_name(&running.catalog.snapshot()), "nxdomain");
    running.imported(&["web.shop"]);
    assert_eq!(running.addresses(), [1]);
    assert_eq!(running.catalog.service_count(), 1, "the list still removes names");
}

#[test]
fn a_changed_import_keeps_old_names_until_it_syncs() {
    let mut running = Running::new(config("[[import]]\nconsul = \"vms\"\n"));
    running.imported(&["web.shop", "old.shop"]);
    let known = running.reload(config("[[import]]\nconsul = \"vms\"\nexclude = [\"old\"]\n"));
    assert!(running.read("old.shop", |_| ()).is_some());
    assert_eq!(unknown_name(&running.catalog.snapshot()), "servfail", "it may be one of the new ones");
    assert_eq!(imports(&known), HashMap::from([(&running.import(), false)]));
    running.imported(&["web.shop"]);
    assert_eq!(running.read("old.shop", |_| ()), None);
    assert_eq!(unknown_name(&running.catalog.snapshot()), "nxdomain");
}

#[test]
fn an_import_that_is_put_above_another_takes_no_names_away() {
    let import = |include: &str| format!("[[import]]\nconsul = \"vms\"\ninclude = [\"{include}\"]\n");
    for new in ["w*", "we*"] {
        let mut running = Running::new(config(&import("w*")));
        running.imported(&["web.shop"]);
        running.reset(running.import_member(), &[1]);
        running.reload(config(&format!("{}{}", import("a*"), import(new))));
        running.imported(&["api.shop"]);
        assert_eq!(running.addresses(), [1], "the import above does not list it");
        let second = running.config.namespaces[0].imports().nth(1).unwrap().0;
        running.catalog.apply(Update::Imported { import: second, services: Vec::new() });
        running.catalog.publish();
        assert_eq!(running.read("web.shop", |_| ()), None, "neither does the other one");
    }
}

#[test]
fn a_name_that_moves_into_the_file_keeps_its_rotation() {
    let import = "[[import]]\nconsul = \"vms\"\n";
    let mut running = Running::new(config(import));
    running.imported(&["web.shop"]);
    let rotation = running.read("web.shop", |web| pool(web).v4.rotation);
    let member = Member {
        service: "web.shop".parse().unwrap(),
        source: running.import().source,
        place: Member::IMPORTED,
    };
    running.reset(member.clone(), &[1]);
    running.reload(config(&format!("[services.web]\nfrom = [{}]\n{import}", consul("b"))));
    assert_eq!(running.addresses(), [1], "until the file's member syncs");
    assert_eq!(running.read("web.shop", |web| pool(web).v4.rotation), rotation);
    running.reset(member, &[9]);
    assert_eq!(running.addresses(), [1], "the import no longer counts");
    running.report(0, 2);
    assert_eq!(running.addresses(), [2]);
    running.reload(config(import));
    assert_eq!(running.addresses(), [9], "what the import's member said last, also meanwhile");
    running.reload(config(&format!(
        "[services.api]\nfrom = [{}]\nnames = {{ web = {{ labels = {{ a = \"b\" }} }} }}\n{import}",
        consul("b")
    )));
    running.reset(running.import_member(), &[7]);
    running.reload(config(import));
    assert_eq!(running.addresses(), [7], "also if it was a subset name");
}

#[test]
fn only_probed_members_retain_their_health() {
    let check = "check = { tcp = true }";
    let fixed = |rest: &str| web(&[&format!("{{ static = [\"10.0.0.1:80\"]{rest} }}")]);
    let mut running = Running::new(fixed(""));
    running.report(0, 1);
    let known = running.reload(fixed(&format!(", {check}")));
    assert!(known.instances.is_empty(), "it was healthy without a probe: {known:?}");
    running.report(0, 1);
    let known = running.reload(fixed(&format!(", {check}, labels = {{ a = \"b\" }}")));
    assert_eq!(known.instances, HashMap::from([(running.member(0), vec![instance(1)])]));
    assert!(known.members.is_empty(), "static is not among the sources that restart");
}

/// The lookup of the reverse name of 10.0.0.1: `nxdomain`, `external`, or the names of its
/// instances.
fn reverse_name(running: &Running) -> String {
    let name: Name = "1.0.0.10.in-addr.arpa".parse().unwrap();
    match running.catalog.snapshot().view().lookup(name.wire()) {
        Lookup::Address(_, names) => names.as_slice().iter().map(|name| format!("{name} ")).collect(),
        Lookup::NxDomain(_) => "nxdomain".to_owned(),
        Lookup::External => "external".to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reverse_networks_come_and_go() {
    let zone = format!("namespace = \"shop\"\nservices.web = {{ from = {} }}", consul("web"));
    let mut running = Running::new(config_with("", &zone));
    running.report(0, 1);
    assert_eq!(reverse_name(&running), "external");
    running.reload(config_with("reverse = \"10.0.0.0/16\"", &zone));
    assert_eq!(reverse_name(&running), "i0.web.shop ");
    running.report(0, 2);
    assert_eq!(reverse_name(&running), "nxdomain");
    running.report(0, 1);
    running.reload(config_with("reverse = \"10.0.0.1/32\"", &zone));
    let view = running.catalog.snapshot();
    let name: Name = "1.0.0.10.in-addr.arpa".parse().unwrap();
    assert_eq!(view.view().instances_at(name.wire()).map(|names| names.as_slice().len()), Some(1));
    running.reload(config_with("reverse = \"192.168.0.0/16\"", &zone));
    assert_eq!(reverse_name(&running), "external");
}

#[test]
fn a_namespace_takes_precedence_over_a_reverse_network() {
    let zone = format!("namespace = \"10.in-addr.arpa\"\nservices.web = {{ from = {} }}", consul("web"));
    let mut running = Running::new(config_with("reverse = \"10.0.0.0/8\"", &zone));
    running.report(0, 1);
    assert_eq!(reverse_name(&running), "nxdomain");
    assert_eq!(running.read("web.10.in-addr.arpa", addresses), Some(vec![1]));
}

#[test]
fn stale_members_and_imports_keep_their_time_over_reloads() {
    let import = "[[import]]\nconsul = \"vms\"\n";
    let zone = |members: &[&str]| config(&format!("{import}[services.web]\nfrom = [{}]", members.join(", ")));
    let mut running = Running::new(zone(&[&consul("a"), &consul("b")]));
    running.report(0, 1);
    running.report(1, 2);
    running.imported(&["db.shop"]);
    let imported =
        Member { service: "db.shop".parse().unwrap(), place: Member::IMPORTED, ..running.member(0) };
    running.reset(imported.clone(), &[9]);
    let now = Instant::now();
    let ago = |seconds| now.checked_sub(std::time::Duration::from_secs(seconds)).unwrap();
    running.catalog.set_time(now);
    let subject = |member: Member| Arc::new(WatchSubject::Members(vec![member]));
    let retained = running.reload_with(
        zone(&[&consul("b"), &consul("a")]),
        vec![
            (subject(running.member(0)), Freshness::StaleSince(ago(50))),
            (subject(running.member(1)), Freshness::Current),
            (subject(imported.clone()), Freshness::StaleSince(ago(30))),
            (Arc::new(WatchSubject::Import(running.import())), Freshness::StaleSince(ago(40))),
        ],
    );
    let of = |retained: &Retained, member: &Member| retained.members.get(member).copied();
    assert_eq!(of(&retained, &running.member(0)), Some(now), "b was current");
    assert_eq!(of(&retained, &running.member(1)), Some(ago(50)), "a has moved");
    assert_eq!(of(&retained, &imported), Some(ago(30)));
    assert_eq!(retained.imports[&running.import()].stale_since, ago(40));

    // The imported name has no watch until the import syncs.
    let current = vec![(subject(running.member(1)), Freshness::Current)];
    let retained = running.reload_with(zone(&[&consul("c"), &consul("a")]), current);
    assert_eq!(of(&retained, &running.member(1)), Some(now));
    assert_eq!(of(&retained, &imported), Some(ago(30)));
    running.reset(imported.clone(), &[9]);
    let retained = running.reload(zone(&[&consul("c")]));
    assert_ne!(of(&retained, &imported), Some(ago(30)), "it has synced since");
}
