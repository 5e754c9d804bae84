//! The commands that query a running server, run from the binary: their output and exit codes; and
//! the fields of the API.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::rr::RecordType;
use muster::{
    catalog::{Catalog, ExplainQuery, SnapshotCell},
    config,
    dns::{Responder, Rotation},
    model::{
        Explained, Health, Instance, InstancePage, NameKind, ServicePage, SourceList, StaleMembers, Update,
    },
    telemetry::Metrics,
};

use testkit::{running::Running, wait::PATIENCE};

use crate::MUSTER;

const ZONE: &str = r#"
namespace = "shop"
[services.web]
from = [{ static = ["127.0.0.11:80", "127.0.0.12:80"] }]
names = { first = { labels = { version = "v1" } } }
"#;

/// A server and the commands that query it.
struct Commanded {
    server: Running,
}

impl Commanded {
    fn start() -> Self {
        Self { server: Running::of("[listen]\ndns = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n", ZONE) }
    }

    fn get(&self, page: &str) -> String {
        let mut stream = TcpStream::connect(self.server.server().admin().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {page} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn muster(&self, arguments: &[&str]) -> Output {
        let at = self.server.server().admin().unwrap().to_string();
        muster(&[arguments, &["--at", &at]].concat())
    }

    fn json<T: serde::de::DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let output = self.muster(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn muster(arguments: &[&str]) -> Output {
    let mut command = Command::new(MUSTER);
    command.args(arguments).env_remove("MUSTER_CONFIG").env_remove("NO_COLOR").output().unwrap()
}

#[test]
fn what_is_known_is_printed_as_tables_and_as_json() {
    let running = Commanded::start();
    let explained: Explained = running.json(&["explain", "web.shop"]);
    assert_eq!(explained.kind, NameKind::Service);
    assert_eq!(explained.answer.unwrap().answers.len(), 2);
    let instances: InstancePage = running.json(&["instances", "web.shop"]);
    let addresses: Vec<_> = instances.instances.iter().flat_map(|one| &one.reports[0].addresses).collect();
    assert_eq!(addresses.len(), 2);
    let services: ServicePage = running.json(&["services"]);
    let names: Vec<_> = services.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["first.shop", "web.shop"]);
    let sources: SourceList = running.json(&["sources"]);
    assert!(sources.sources.iter().all(|source| source.source == "static" && source.ready));

    for (arguments, shows) in [
        (&["explain", "web.shop", "-t", "SRV", "--client", "10.1.2.3"][..], "127.0.0.11:80"),
        (&["services"], "web.shop"),
        (&["instances", "web.shop"], "127.0.0.12:80"),
        (&["sources"], "ready"),
    ] {
        let plain = running.muster(arguments);
        let text = String::from_utf8(plain.stdout).unwrap();
        assert!(plain.status.success() && text.contains(shows), "{text}");
        assert!(!text.contains('\x1b'), "a pipe gets no colors: {text}");
        let colored = running.muster(&[arguments, &["--color", "always"]].concat());
        assert!(String::from_utf8(colored.stdout).unwrap().contains("\x1b[1m"));
    }
}

/// The index of the admin port names pages that exist as written.
#[test]
fn every_page_of_the_index_is_there() {
    let running = Commanded::start();
    let index = running.get("/");
    let pages: Vec<_> = index.lines().filter_map(|line| line.split(' ').next()).collect();
    let pages: Vec<_> = pages.into_iter().filter(|page| page.starts_with('/')).collect();
    assert_eq!(pages.len(), 7, "{index}");
    for page in pages {
        let answer = running.get(page);
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{page}: {answer}");
        let path = page.split('?').next().unwrap();
        assert!(
            include_str!("../../docs/API.md").contains(&format!("`GET {path}`")),
            "{path} is not documented"
        );
    }
}

#[test]
fn exit_codes_tell_wrong_input_from_an_unreachable_server() {
    let running = Commanded::start();
    let said = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();
    for (arguments, says) in [
        (&["instances", "wep.shop"][..], "there is no service wep.shop; did you mean web.shop?"),
        (&["explain", "a..b"], "name: \"a..b\": a label is empty"),
        (&["explain", "web.shop", "--type", "WRONG"], "is not a record type"),
        (&["explain", "web.shop", "--client", "me"], "invalid IP address"),
        (&["explain", "web.shop", "--limit", "0"], "limit: must be a number from 1 to"),
    ] {
        let output = running.muster(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(said(&output).contains(says), "{output:?}");
        assert!(output.stdout.is_empty());
    }
    // A name that does not exist has an explanation too.
    let absent = running.json::<Explained>(&["explain", "wep.shop"]);
    assert_eq!(absent.kind, NameKind::NxDomain);
    assert_eq!(absent.note, "no such service in shop; did you mean web.shop?");

    // A port that was free a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = muster(&["sources", "--at", &closed]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("is muster running"), "{output:?}");
}

/// Every field of the API is in its documentation.
#[test]
fn the_documentation_has_every_field() {
    let running = Commanded::start();
    let documentation = include_str!("../../docs/API.md");
    let pages: [serde_json::Value; 5] = [
        running.json(&["explain", "web.shop"]),
        running.json(&["explain", "wep.shop"]),
        running.json(&["services"]),
        running.json(&["instances", "web.shop"]),
        running.json(&["sources"]),
    ];
    let mut missing: Vec<String> = Vec::new();
    for page in &pages {
        fields(page, &mut |field| {
            if !documentation.contains(&format!("`{field}`")) {
                missing.push(field.to_owned());
            }
        });
    }
    assert!(missing.is_empty(), "docs/API.md lacks {missing:?}");
}

/// Calls `found` with the name of each field. It does not descend into maps whose keys are data.
fn fields(value: &serde_json::Value, found: &mut dyn FnMut(&str)) {
    const DATA: [&str; 4] = ["labels", "ports", "errors", "health"];
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                found(key);
                if !DATA.contains(&key.as_str()) {
                    fields(value, found);
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

/// Two sources, a split by client, a member that is not synced, tiers and an alias.
const STORY: &str = r#"
namespace = "shop.internal"

[services.frontend]
from = [{ kubernetes = "eks", namespace = "shop", selector = "app=frontend" }]

[services.checkout]
from = [
  { kubernetes = "eks", namespace = "shop", selector = "app=checkout", port = 80 },
  { consul = "vms", service = "checkout" },
]
[[services.checkout.routes]]
clients = { service = "frontend.shop.internal" }
split = [
  { labels = { version = "v1" }, weight = 90 },
  { labels = { version = "v2" }, weight = 10 },
]

[services.db]
from = [{ kubernetes = "eks", namespace = "shop", selector = "app=db", port = 5432 }, { consul = "vms", service = "db" }]
failover = [{ source = "eks" }, { source = "vms" }]

[services.web]
alias = "www.example.net"
"#;

/// The admin port's answer to `/v1/explain`. Tests of `cli` print these same answers.
fn story(name: &str, qtype: RecordType, client: [u8; 4]) -> String {
    let files = [
        (PathBuf::from("muster.toml"), "[consul.vms]\n[kubernetes.eks]".to_owned()),
        (PathBuf::from("zones/shop.toml"), STORY.to_owned()),
    ];
    let config = config::load_from(&files).unwrap().config;
    let mut catalog = Catalog::new(&config, 1);
    let instance = |id: &str, last: u8, port, version: &str, health, reason: &str| Instance {
        health,
        reason: (!reason.is_empty()).then(|| reason.into()),
        labels: [("version", version)].into_iter().collect(),
        ..Instance::at(id, [10, 10, 3, last].into(), port)
    };
    let began = Instant::now();
    let said = |service: &str, place: u16| match (service, place) {
        ("frontend.shop.internal", _) => {
            Some(vec![instance("frontend-5f8c-x7k2p", 9, 0, "v1", Health::Healthy, "")])
        }
        ("checkout.shop.internal", 0) => Some(vec![
            instance("checkout-v1-7d9f-qk4mz", 20, 80, "v1", Health::Healthy, ""),
            instance("checkout-v1-7d9f-zzt8c", 21, 80, "v1", Health::Healthy, ""),
            instance("checkout-v2-66b5-h2xwl", 30, 80, "v2", Health::Healthy, ""),
        ]),
        ("checkout.shop.internal", _) => Some(vec![
            Instance { weight: 0, ..instance("vm-1", 40, 80, "v1", Health::Healthy, "") },
            instance("vm-pod", 30, 80, "v2", Health::Warning, "http: 429 Too Many Requests"),
        ]),
        ("db.shop.internal", 0) => {
            Some(vec![instance("db-0", 50, 5432, "v1", Health::Unhealthy, "not ready: Unready")])
        }
        _ => None,
    };
    catalog.set_time(began);
    for service in &config.namespaces[0].services {
        for (member, _) in service.members() {
            if let Some(instances) = said(&service.name.to_string(), member.place) {
                catalog.apply(Update::Reset { member, instances });
            }
        }
    }
    catalog.set_time(began + Duration::from_secs(3 * 3600));
    let checkout =
        config.namespaces[0].services.iter().find(|one| one.name.to_string() == "checkout.shop.internal");
    let (member, _) = checkout.unwrap().members().next().unwrap();
    let reason = "Ready=False: ContainersNotReady";
    let instance = instance("checkout-v1-7d9f-zzt8c", 21, 80, "v1", Health::Unhealthy, reason);
    catalog.apply(Update::Upsert { member, instance });
    catalog.publish_at(began + Duration::from_secs(3 * 3600 + 40));
    let cell = Arc::new(SnapshotCell::from_pointee(catalog.snapshot()));
    let responder = Responder::new(cell, Arc::new(Metrics::new().unwrap()), None);
    let asked = ExplainQuery {
        name: name.parse().unwrap(),
        qtype,
        client: client.into(),
        limit: 1000,
        stale: StaleMembers::new(),
    };
    let mut explained = catalog.explain(&asked);
    explained.answer = Some(responder.explain((&asked.name, qtype), asked.client, &mut Rotation::default()));
    serde_json::to_string_pretty(&explained).unwrap()
}

#[test]
fn the_fields_are_those_of_the_api() {
    let frontend = [10, 10, 3, 9];
    insta::assert_snapshot!("split", story("checkout.shop.internal", RecordType::A, frontend));
    insta::assert_snapshot!("tier", story("db.shop.internal", RecordType::SRV, [10, 0, 0, 1]));
    insta::assert_snapshot!("alias", story("web.shop.internal", RecordType::A, [10, 0, 0, 1]));
    insta::assert_snapshot!("absent", story("chekout.shop.internal", RecordType::A, [10, 0, 0, 1]));
    insta::assert_snapshot!("stranger", story("frontend.shop.internal", RecordType::A, [192, 0, 2, 1]));
}

#[test]
fn a_resolv_conf_is_not_installed_where_muster_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let old = "nameserver 192.0.2.1\n";
    std::fs::write(file("resolv.conf"), old).unwrap();
    std::fs::create_dir(file("zones")).unwrap();
    std::fs::write(file("zones/odd.toml"), "namespace = \"not-here\"").unwrap();
    // Another server may listen there, but it does not have the namespace.
    let config = "[listen]\ndns = \"127.97.53.1:53\"\n[forward]\n\".\" = \"192.0.2.1\"\n";
    std::fs::write(file("muster.toml"), config).unwrap();
    let (config, path) = (file("muster.toml"), file("resolv.conf"));
    let install = ["resolv-conf", "--config", &config, "--install", "--path", &path];
    let refused = muster(&install);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(error.contains("127.97.53.1:53") && error.contains("--force"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), old);
    let forced = muster(&[&install[..], &["--force"]].concat());
    assert_eq!(forced.status.code(), Some(0), "{forced:?}");
    assert!(std::fs::read_to_string(&path).unwrap().contains("nameserver 127.97.53.1"));
}
