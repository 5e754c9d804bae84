//! docs/CONFIG.md has every key that the readers take, and no other; its examples load.

use std::collections::BTreeSet;

use super::{
    super::{load::read_texts, toml::DiagnosticSink},
    load_texts,
};

const REFERENCE: &str = include_str!("../../../docs/CONFIG.md");

const SERVER: &str = "[listen]\n[access.responses]\n[access.cookies]\n[consul.vms]\ndamping = {}\n[kubernetes.eks]\n[cache]\n\
     [forward]\n\".\" = { to = \"10.0.0.2\" }\n[[locality]]\n";

/// Has every kind of table.
const ZONE: &str = r#"
namespace = "shop"
[services.web]
from = [
  { consul = "vms", service = "web" },
  { kubernetes = "eks", namespace = "shop", selector = "app=web" },
  { static = [{ address = "10.0.0.5:80" }], check = { tcp = true } },
]
routes = [{ clients = { service = "a" }, split = [{ labels = {}, weight = 1 }] }]
failover = [{ source = "eks" }]
names = { "v2.web" = { locality = "a" } }
[[import]]
consul = "vms"
"#;

/// Kinds of tables and their keys, as the headings and the first columns of the reference have
/// them.
fn documented() -> BTreeSet<(&'static str, &'static str)> {
    let mut kind = "";
    let mut keys = BTreeSet::new();
    for line in REFERENCE.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            kind = heading;
        } else if let Some(key) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) {
            keys.insert((kind, key));
        }
    }
    keys
}

/// The reference's examples: the file name in the first line's comment, and the text.
fn examples() -> Vec<(&'static str, &'static str)> {
    REFERENCE
        .split("```toml\n# ")
        .skip(1)
        .filter_map(|block| block.split("```").next()?.split_once('\n'))
        .collect()
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let files = [("muster.toml".into(), SERVER.to_owned()), ("shop.toml".into(), ZONE.to_owned())];
    let sink = DiagnosticSink::default();
    read_texts(&files, None, &sink);
    let known = sink.known.into_inner();
    let documented = documented();
    let missing: Vec<_> = known.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not documented: {missing:?}, not known: {unknown:?}");
    assert!(known.len() > 120, "{known:?}");
}

#[test]
fn the_examples_of_the_reference_load() {
    let examples = examples();
    assert_eq!(examples.len(), 15);
    let server = examples[0].1;
    for (file, text) in examples {
        let zone = "namespace = \"other\"";
        let (server, zone) = if file == "muster.toml" { (text, zone) } else { (server, text) };
        if let Err(report) = load_texts(server, zone) {
            panic!("{file}\n{text}\n{report}");
        }
    }
}
