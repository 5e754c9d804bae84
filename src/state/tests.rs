use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    record::{
        ImportRecord, InstanceRecord, MemberRecord, decode, encode, import_key, import_of, member_key,
        member_of,
    },
    restore::{Clocks, restore},
    rules::Rules,
    store::{Batch, Store, Stored},
};
use crate::{
    config::{self, Config},
    model::{Health, Import, Instance, Member, NamedPort, Protocol, Target, Update},
};

const HOUR: u64 = 3_600_000;

fn config(server: &str, zone: &str) -> Config {
    let files = [
        (PathBuf::from("muster.toml"), server.to_owned()),
        (PathBuf::from("zones/shop.toml"), format!("namespace = \"shop\"\n{zone}")),
    ];
    config::load_from(&files).unwrap_or_else(|report| panic!("{report}")).config
}

const SOURCE: &str = "[consul.vms]\n";
const WEB: &str = "[services.web]\nfrom = [{ consul = \"vms\", service = \"a\" }]\n\
                   [[import]]\nconsul = \"vms\"\nexclude = [\"web\"]\n";

fn web(config: &Config) -> Member {
    config.namespaces[0].services[0].members().next().unwrap().0
}

fn import(config: &Config) -> Import {
    config.namespaces[0].imports().next().unwrap().0
}

fn imported(config: &Config, name: &str) -> Member {
    Member { service: name.parse().unwrap(), place: Member::IMPORTED, ..web(config) }
}

fn instances(id: &str) -> Vec<InstanceRecord> {
    vec![InstanceRecord::new(&Instance::at(id, [10, 0, 0, 1].into(), 80))]
}

/// What is stored of `web`, the import and one of its two names.
fn stored(config: &Config, alive: u64) -> Stored {
    let rules = Rules::new(config);
    let members = [web(config), imported(config, "db.shop"), imported(config, "gone.shop")];
    let member = |member: Member| {
        let record = MemberRecord { rule: rules.member(&member).unwrap(), instances: instances("i") };
        (member_key(&member), encode(&record))
    };
    let names = ["db.shop", "mail.shop"].map(str::to_owned).into();
    let record = ImportRecord { rule: rules.import(&import(config)).unwrap(), names };
    Stored {
        alive,
        members: members.map(member).into(),
        imports: vec![(import_key(&import(config)), encode(&record))],
        ..Stored::default()
    }
}

fn clocks(wall: u64) -> Clocks {
    Clocks { wall, monotonic: Instant::now() }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn an_instance_is_the_same_after_a_round_trip() {
    let text = |text: &str| Some(text.into());
    let http = NamedPort { name: "http".into(), protocol: Protocol::Udp, port: 81 };
    let instance = Instance {
        named_ports: [http].into(),
        health: Health::Draining,
        reason: text("maintenance \"mode\""),
        weight: 0,
        labels: [("version", "v1"), ("a", "ä")].into_iter().collect(),
        locality: text("eu-west-1a"),
        datacenter: text("dc1"),
        kube_namespace: text("apps"),
        shares_address: true,
        ..Instance::at("web-1", "2001:db8::1".parse().unwrap(), 80)
    };
    let host = Instance { target: Target::Host("www.example.net".parse().unwrap()), ..instance.clone() };
    for instance in [instance, host] {
        let record: InstanceRecord = decode(&encode(&InstanceRecord::new(&instance))).unwrap();
        assert_eq!(record.instance(), Some(instance));
    }
}

#[test]
fn keys_lead_back_to_members_and_imports() {
    let config = config(SOURCE, WEB);
    for member in [web(&config), imported(&config, "db.shop"), Member::clients(web(&config).source)] {
        assert_eq!(member_of(&member_key(&member)), Some(member));
    }
    assert_eq!(import_of(&import_key(&import(&config))), Some(import(&config)));
    assert_eq!(member_of("[\"web.shop\",\"eureka\",\"vms\",0]"), None);
}

#[test]
fn a_fingerprint_covers_the_query_and_not_its_timing() {
    let fingerprint = |server: &str, zone: &str| {
        let config = config(server, zone);
        Rules::new(&config).member(&web(&config)).unwrap()
    };
    let before = fingerprint(SOURCE, WEB);
    assert_eq!(fingerprint("[consul.vms]\nwait = \"60s\"\nstale = false\n", WEB), before);
    assert_ne!(fingerprint("[consul.vms]\naddress = \"http://127.0.0.2:8500\"\n", WEB), before);
    for rule in
        ["service = \"b\"", "service = \"a\", tags = [\"x\"]", "service = \"a\", labels = { v = \"1\" }"]
    {
        assert_ne!(fingerprint(SOURCE, &WEB.replace("service = \"a\"", rule)), before, "{rule}");
    }
}

#[test]
fn records_with_the_same_rule_are_restored_imports_first() {
    let config = config(SOURCE, WEB);
    let restored = restore(stored(&config, HOUR), &Rules::new(&config), DAY, clocks(2 * HOUR));
    let subjects: Vec<String> = restored
        .updates
        .iter()
        .map(|update| match update {
            Update::Imported { services, .. } => format!("{} names", services.len()),
            Update::Reset { member, instances } => format!("{} {}", member.service, instances.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(subjects, ["2 names", "web.shop 1", "db.shop 1"], "no import lists gone.shop");
    assert_eq!(restored.retained.members.len(), 2);
    assert_eq!(restored.retained.imports.len(), 1);

    let changed = self::config(SOURCE, &WEB.replace("\"a\"", "\"b\"").replace("\"web\"", "\"mail\""));
    let restored = restore(stored(&config, HOUR), &Rules::new(&changed), DAY, clocks(2 * HOUR));
    assert!(restored.updates.is_empty(), "{:?}", restored.updates);
}

#[test]
fn ages_count_from_the_loss_or_from_the_last_write() {
    let config = config(SOURCE, WEB);
    let rules = Rules::new(&config);
    let now = clocks(30 * HOUR);
    let age = |stored: Stored, now: Clocks| {
        let restored = restore(stored, &rules, DAY, now);
        let since = restored.retained.members.get(&web(&config));
        since.map(|since| now.monotonic.saturating_duration_since(*since).as_secs() / 3600)
    };
    assert_eq!(age(stored(&config, 29 * HOUR), now), Some(1), "current at the last write");
    let lost = |since| Stored {
        stale_members: vec![(member_key(&web(&config)), since)],
        ..stored(&config, 29 * HOUR)
    };
    assert_eq!(age(lost(10 * HOUR), now), Some(20), "lost before the last write");
    assert_eq!(age(lost(5 * HOUR), now), None, "older than max_stale");
    assert_eq!(age(stored(&config, 31 * HOUR), now), Some(0), "the clock has gone back");
}

#[test]
fn probed_instances_keep_their_health_for_their_first_probe() {
    let zone = |check: &str| {
        format!("[services.web]\nfrom = [{{ static = [\"10.0.0.1:80\"], check = {{ {check} }} }}]\n")
    };
    let config = config("", &zone("tcp = true"));
    let web = web(&config);
    let rule = Rules::new(&config).member(&web).unwrap();
    let stored = |alive| Stored {
        alive,
        members: vec![(member_key(&web), encode(&MemberRecord { rule, instances: instances("i") }))],
        ..Stored::default()
    };
    let restored = restore(stored(HOUR), &Rules::new(&config), DAY, clocks(HOUR));
    assert!(restored.updates.is_empty(), "the file has the instances");
    assert_eq!(restored.retained.instances[&web].len(), 1);
    assert!(restored.retained.doubtful.contains(&web));
    let other = self::config("", &zone("http = \"/\""));
    assert!(restore(stored(HOUR), &Rules::new(&other), DAY, clocks(HOUR)).retained.instances.is_empty());
}

fn write(store: &Store, key: &str) {
    let mut batch = Batch::default();
    batch.members.insert(key.to_owned(), Some(b"value".to_vec()));
    batch.stale_members.insert(key.to_owned(), Some(7));
    store.write(&batch, 1).unwrap();
}

#[test]
fn a_store_has_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("not/yet/there");
    let (store, stored) = Store::open(&folder).unwrap();
    assert_eq!((stored.alive, stored.members.len()), (0, 0));
    write(&store, "a");
    write(&store, "b");
    let mut batch = Batch::default();
    batch.members.insert("a".to_owned(), None);
    batch.stale_members.insert("b".to_owned(), None);
    store.write(&batch, 2).unwrap();
    drop(store);
    let (store, stored) = Store::open(&folder).unwrap();
    assert_eq!(stored.alive, 2);
    assert_eq!(stored.members, [("b".to_owned(), b"value".to_vec())]);
    assert_eq!(stored.stale_members, [("a".to_owned(), 7)]);
    store.write(&Batch { clear: true, ..Batch::default() }, 3).unwrap();
    drop(store);
    assert!(Store::open(&folder).unwrap().1.members.is_empty());
}

#[test]
fn a_store_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    write(&store, "a");
    let error = Store::open(folder.path()).unwrap_err();
    assert!(error.contains("another process"), "{error}");
    write(&store, "b");
    assert!(!folder.path().join("last-known-good.redb.bad").exists());
}

#[test]
fn a_damaged_store_is_kept_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last-known-good.redb");
    let (store, _) = Store::open(folder.path()).unwrap();
    (0..500).for_each(|at| write(&store, &format!("{at}")));
    drop(store);
    let good = fs::read(&path).unwrap();
    let cut = |length| good[..length].to_vec();
    let noise = |from: usize| {
        let mut bytes = good.clone();
        bytes.iter_mut().skip(from).enumerate().for_each(|(at, byte)| *byte ^= (at * 31 + 7) as u8);
        bytes
    };
    let cases =
        [cut(1), cut(300), cut(good.len() / 2), cut(good.len() - 4096), noise(0), noise(64), noise(8192)];
    for (at, bytes) in cases.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        let (store, stored) = Store::open(folder.path()).unwrap();
        assert!(stored.members.is_empty() || stored.members.len() == 500, "case {at}");
        if stored.members.is_empty() {
            assert_eq!(fs::read(folder.path().join("last-known-good.redb.bad")).unwrap().len(), bytes.len());
        }
        write(&store, "a");
    }
}
