//! Tests of what a catalog carries over a change of its configuration.

use std::path::PathBuf;

use super::*;
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

    /// Goes over to `to`; every source starts anew.
    fn go_over(&mut self, to: Arc<Config>) -> Retained {
        let members = to.namespaces.iter().flat_map(|namespace| &namespace.services);
        let members: Vec<Member> =
            members.flat_map(|service| service.members()).map(|(member, _)| member).collect();
        let change = Reconfiguration {
            from: Arc::clone(&self.config),
            to: Arc::clone(&to),
            serial: 2,
            restarted: to.consul.iter().map(|source| source.id.clone()).collect(),
            probed: members.into_iter().collect(),
        };
        self.config = to;
        self.catalog.reconfigure(&change)
    }

    fn member(&self, place: u16) -> Member {
        let service = &self.config.namespaces[0].services[0];
        service.members().nth(place.into()).unwrap().0
    }

    /// Lets the member in this place say that it has one instance, at 10.0.0.`address`.
    fn say(&mut self, place: u16, address: u8) {
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

    fn read<T>(&self, name: &str, read: impl Fn(&Service) -> T) -> Option<T> {
        read_service(&self.catalog.snapshot(), name, read)
    }

    fn addresses(&self) -> Vec<u8> {
        self.read("web.shop", addresses).unwrap()
    }
}

fn instance(address: u8) -> Instance {
    Instance {
        health: Health::Healthy,
        ..Instance::at(&format!("i{}", address / 3), [10, 0, 0, address].into(), 80)
    }
}

fn read_service<T>(snapshot: &Snapshot, name: &str, read: impl Fn(&Service) -> T) -> Option<T> {
    let name: Name = name.parse().unwrap();
    match snapshot.view().lookup(name.as_wire()) {
        Lookup::Service(service, 0) => Some(read(service)),
        _ => None,
    }
}

/// The last octets of what is answered, sorted.
fn addresses(service: &Service) -> Vec<u8> {
    let mut last: Vec<_> = pool(service).v4.records.iter().map(|address| address.octets()[3]).collect();
    last.sort_unstable();
    last
}

/// What an unknown name gets: `nxdomain` or `servfail`.
fn unknown_name(snapshot: &Snapshot) -> &'static str {
    let name: Name = "nobody.shop".parse().unwrap();
    match snapshot.view().lookup(name.as_wire()) {
        Lookup::NxDomain(_) => "nxdomain",
        Lookup::NotSynced(_) => "servfail",
        other => panic!("{other:?}"),
    }
}

/// The only pool of a service that is the same for all.
fn pool(service: &Service) -> &Pool {
    let Answers::Same(pool) = &service.answers else { panic!("{service:?}") };
    pool
}

fn rotations(service: &Service) -> [RotationId; 3] {
    let pool = pool(service);
    [pool.v4.rotation, pool.v6.rotation, pool.srv.rotation]
}

#[test]
fn the_shape_of_answers_changes_and_nothing_else_does() {
    let mut running = Running::new(web(&[&consul("a")]));
    running.say(0, 1);
    let before = running.read("web.shop", rotations);
    running.go_over(config(&format!("ttl = 9\n[services.web]\nmax_answers = 3\nfrom = [{}]", consul("a"))));
    assert_eq!(running.read("web.shop", |web| (web.ttl, web.max_answers)), Some((9, 3)));
    assert_eq!(running.read("web.shop", |web| web.all_synced), Some(true));
    assert_eq!(running.addresses(), [1]);
    let after = running.read("web.shop", rotations);
    assert_eq!(before, after, "rotation goes on");
    assert_eq!(running.read("web.shop", |web| web.zone.serial), Some(2));
    assert_eq!(running.catalog.health_counts(), [1, 0, 0, 0, 0]);
}

#[test]
fn a_member_keeps_what_it_said_wherever_it_stands_now() {
    let mut running = Running::new(web(&[&consul("a"), &consul("b"), &consul("c")]));
    for (place, address) in [(0, 1), (1, 2), (2, 3)] {
        running.say(place, address);
    }
    running.go_over(web(&[&consul("c"), &consul("a")]));
    assert_eq!(running.addresses(), [1, 3], "b is gone");
    assert_eq!(running.read("web.shop", |web| web.all_synced), Some(true));
    running.say(0, 30);
    assert_eq!(running.addresses(), [1, 30], "the first one is c now");
}

#[test]
fn a_member_that_asks_otherwise_keeps_the_instances_of_its_place_until_it_is_heard() {
    let mut running = Running::new(web(&[&consul("a")]));
    running.say(0, 1);
    let known = running.go_over(web(&[&consul("b")]));
    assert_eq!((running.addresses(), running.read("web.shop", |web| web.all_synced)), (vec![1], Some(true)));
    assert_eq!(known.members, HashSet::from([running.member(0)]));
    running.say(0, 2);
    assert_eq!(running.addresses(), [2]);
}

#[test]
fn a_new_member_is_unheard_and_a_service_that_moves_to_another_source_is_answered_all_the_while() {
    let mut running = Running::new(web(&[&consul("a")]));
    running.say(0, 1);
    running.go_over(web(&[&consul("a"), &consul("b")]));
    assert_eq!((running.addresses(), running.read("web.shop", |web| web.all_synced)), (vec![1], Some(false)));
    running.say(1, 2);
    let known = running.go_over(web(&["{ consul = \"others\", service = \"a\" }"]));
    assert_eq!(running.addresses(), [1, 2], "also where both call it by one id");
    assert_eq!(known.members, HashSet::from([running.member(0)]), "so that it expires");
    running.say(0, 3);
    assert_eq!(running.addresses(), [3]);
    running.go_over(web(&[&consul("b")]));
    let member = running.member(0);
    running.catalog.apply(Update::Expired { member });
    running.catalog.publish();
    assert_eq!((running.addresses(), running.read("web.shop", |web| web.all_synced)), (vec![], Some(false)));
    running.go_over(web(&[&consul("c")]));
    assert_eq!(running.read("web.shop", |web| web.all_synced), Some(false), "nothing was left to keep");
}

#[test]
fn what_was_never_heard_stays_unheard() {
    let mut running = Running::new(web(&[&consul("a")]));
    let known = running.go_over(config(&format!("[services.web]\nttl = 5\nfrom = [{}]", consul("a"))));
    assert_eq!(running.read("web.shop", |web| web.all_synced), Some(false));
    assert!(known.members.is_empty(), "{known:?}");
}

#[test]
fn services_and_namespaces_that_are_gone_are_gone_and_their_cursors_are_used_again() {
    let two = |services: [&str; 2]| {
        config(&services.map(|name| format!("[services.{name}]\nfrom = [{}]\n", consul(name))).concat())
    };
    let mut running = Running::new(two(["a", "b"]));
    let kept = running.read("a.shop", |a| pool(a).v4.rotation);
    for round in 0..20 {
        running.go_over(two(["a", &format!("n{round}")]));
        assert_eq!(running.catalog.service_count(), 2);
    }
    assert_eq!(running.read("b.shop", |_| ()), None);
    assert_eq!(running.read("a.shop", |a| pool(a).v4.rotation), kept);
    let highest = running.read("n19.shop", |n| pool(n).srv.rotation.index()).unwrap();
    assert!(highest < 9, "three services at a time need no {highest} cursors");
    let snapshot = running.catalog.snapshot();
    assert_eq!(unknown_name(&snapshot), "nxdomain");
}

#[test]
fn readers_of_the_old_snapshot_see_the_old_state_whole_and_it_is_freed_after_them() {
    let mut running = Running::new(web(&[&consul("a")]));
    running.say(0, 1);
    let old = Arc::new(running.catalog.snapshot());
    running.go_over(config(&format!("ttl = 9\n[services.other]\nfrom = [{}]", consul("a"))));
    let before = read_service(&old, "web.shop", |web| (addresses(web), web.ttl, web.zone.serial));
    assert_eq!(before, Some((vec![1], 0, 1)));
    assert_eq!(read_service(&old, "other.shop", |_| ()), None);
    let zone = old.view().services().first().map(|web| Arc::downgrade(&web.zone)).unwrap();
    assert!(zone.upgrade().is_some());
    drop(old);
    assert!(zone.upgrade().is_none(), "nothing holds the old tables any more");
}

#[test]
fn an_import_keeps_its_names_and_its_word_on_which_do_not_exist() {
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
        running.go_over(config("[[import]]\nconsul = \"others\"\n[[import]]\nconsul = \"vms\"\nttl = 7\n"));
    assert_eq!((running.addresses(), running.read("web.shop", |web| web.ttl)), (vec![1], Some(7)));
    assert_eq!(running.read("web.shop", |web| pool(web).v4.rotation), rotation);
    assert_eq!(unknown_name(&running.catalog.snapshot()), "servfail", "the new import has not been heard");
    let moved = Import { place: 1, ..running.config.namespaces[0].imports().nth(1).unwrap().0 };
    assert_eq!(known.imports, HashMap::from([(moved, true)]));
    assert_eq!(known.members, HashSet::from([web]));

    running.go_over(config(import));
    assert_eq!(unknown_name(&running.catalog.snapshot()), "nxdomain");
    running.imported(&["web.shop"]);
    assert_eq!(running.addresses(), [1]);
    assert_eq!(running.catalog.service_count(), 1, "the list still takes names away");
}

#[test]
fn an_import_that_asks_for_other_names_keeps_the_old_ones_until_its_list_is_heard() {
    let mut running = Running::new(config("[[import]]\nconsul = \"vms\"\n"));
    running.imported(&["web.shop", "old.shop"]);
    let known = running.go_over(config("[[import]]\nconsul = \"vms\"\nexclude = [\"old\"]\n"));
    assert!(running.read("old.shop", |_| ()).is_some());
    assert_eq!(unknown_name(&running.catalog.snapshot()), "servfail", "it may be one of the new ones");
    assert_eq!(known.imports, HashMap::from([(running.import(), false)]));
    running.imported(&["web.shop"]);
    assert_eq!(running.read("old.shop", |_| ()), None);
    assert_eq!(unknown_name(&running.catalog.snapshot()), "nxdomain");
}

#[test]
fn a_name_that_the_file_names_now_is_the_files_and_keeps_its_rotation() {
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
    running.go_over(config(&format!("[services.web]\nfrom = [{}]\n{import}", consul("b"))));
    assert_eq!(running.addresses(), [1], "until the file's member is heard");
    assert_eq!(running.read("web.shop", |web| pool(web).v4.rotation), rotation);
    running.reset(member, &[9]);
    assert_eq!(running.addresses(), [1], "the import no longer speaks for it");
    running.say(0, 2);
    assert_eq!(running.addresses(), [2]);
    running.go_over(config(import));
    assert_eq!(running.addresses(), [2], "listed still, and kept until it is heard as an import's");
}

#[test]
fn what_probes_found_is_told_only_of_members_that_were_probed() {
    let check = "check = { tcp = true }";
    let fixed = |rest: &str| web(&[&format!("{{ static = [\"10.0.0.1:80\"]{rest} }}")]);
    let mut running = Running::new(fixed(""));
    running.say(0, 1);
    let known = running.go_over(fixed(&format!(", {check}")));
    assert!(known.instances.is_empty(), "it was taken for healthy without a probe: {known:?}");
    running.say(0, 1);
    let known = running.go_over(fixed(&format!(", {check}, labels = {{ a = \"b\" }}")));
    assert_eq!(known.instances, HashMap::from([(running.member(0), vec![instance(1)])]));
    assert!(known.members.is_empty(), "static is not among the sources that start anew");
}

/// What is at the reverse name of 10.0.0.1: `nobody`, `elsewhere`, or the names of who has it.
fn reverse_name(running: &Running) -> String {
    let name: Name = "1.0.0.10.in-addr.arpa".parse().unwrap();
    match running.catalog.snapshot().view().lookup(name.as_wire()) {
        Lookup::Address(_, names) => names.as_slice().iter().map(|name| format!("{name} ")).collect(),
        Lookup::NxDomain(_) => "nobody".to_owned(),
        Lookup::External => "elsewhere".to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reverse_networks_come_and_go() {
    let zone = format!("namespace = \"shop\"\nservices.web = {{ from = {} }}", consul("web"));
    let mut running = Running::new(config_with("", &zone));
    running.say(0, 1);
    assert_eq!(reverse_name(&running), "elsewhere");
    running.go_over(config_with("reverse = \"10.0.0.0/16\"", &zone));
    assert_eq!(reverse_name(&running), "i0.web.shop ");
    running.say(0, 2);
    assert_eq!(reverse_name(&running), "nobody");
    running.say(0, 1);
    running.go_over(config_with("reverse = \"10.0.0.1/32\"", &zone));
    let view = running.catalog.snapshot();
    let name: Name = "1.0.0.10.in-addr.arpa".parse().unwrap();
    assert_eq!(view.view().instances_at(name.as_wire()).map(|names| names.as_slice().len()), Some(1));
    running.go_over(config_with("reverse = \"192.168.0.0/16\"", &zone));
    assert_eq!(reverse_name(&running), "elsewhere");
}

#[test]
fn a_namespace_goes_before_a_reverse_network_of_its_name() {
    let zone = format!("namespace = \"10.in-addr.arpa\"\nservices.web = {{ from = {} }}", consul("web"));
    let mut running = Running::new(config_with("reverse = \"10.0.0.0/8\"", &zone));
    running.say(0, 1);
    assert_eq!(reverse_name(&running), "nobody");
    assert_eq!(running.read("web.10.in-addr.arpa", addresses), Some(vec![1]));
}
