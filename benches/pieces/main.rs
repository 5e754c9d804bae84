//! The pieces of an answer and of an update, each by itself: `make pieces`.
//!
//! Times functions, while `load` measures a server and `instructions` counts. The effect of a
//! change on one piece shows here first.

#![allow(
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a program that measures has no outside, and ends by panicking when something is wrong"
)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hickory_proto::rr::RecordType;
use muster::{
    catalog::Catalog,
    config,
    model::{Health, Instance, Member, Update},
    wire::WireName,
};
use testkit::bed::{self, Bed, query};

/// The query in class CH: it is read and refused, for any name.
fn of_class_chaos(mut query: Vec<u8>, edns: bool) -> Vec<u8> {
    let end = query.len() - if edns { 11 } else { 0 };
    query[end - 1] = 3;
    query
}

/// Reading a request and repeating its question: every answer needs it.
fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    let mut bed = Bed::default();
    for (name, edns) in [("plain", false), ("edns", true)] {
        let query = of_class_chaos(query("s500", RecordType::A, edns), edns);
        assert_eq!(bed.answer(&query)[3] & 0x0f, 5, "REFUSED");
        group.bench_function(name, |b| b.iter(|| black_box(bed.answer(black_box(&query))).len()));
    }
}

/// Finding a name in the snapshot.
fn look_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("look_up");
    let snapshot = bed::catalog(&bed::load("", bed::zone(1000)), bed::instance).snapshot();
    let view = snapshot.view();
    for (name, below) in [("service", "s500"), ("instance", "i3.s500"), ("absent", "nothing")] {
        let query = query(below, RecordType::A, false);
        let wire_name = WireName::new(&query[12..query.len() - 4]).expect("a question's name");
        group.bench_function(name, |b| b.iter(|| black_box(view.lookup(black_box(wire_name)))));
    }
}

/// Whole answers. Their time beyond `parse` and `look_up` is deciding and encoding.
fn answer(c: &mut Criterion) {
    let mut group = c.benchmark_group("answer");
    let mut bed = Bed::default();
    let kinds = [
        ("a_10", "s500", RecordType::A),
        ("aaaa_10", "s500", RecordType::AAAA),
        ("srv_10", "s500", RecordType::SRV),
        ("nodata", "nodata", RecordType::A),
        ("nxdomain", "nothing", RecordType::A),
    ];
    for (name, below, rtype) in kinds {
        let query = query(below, rtype, true);
        group.bench_function(name, |b| b.iter(|| black_box(bed.answer(black_box(&query))).len()));
    }
}

/// One change of health, from the update to the published snapshot.
fn compile(c: &mut Criterion) {
    const SPLIT: &str = "routes = [{ split = [{ labels = { half = \"a\" }, weight = 90 }, { labels = { half = \"b\" }, weight = 10 }] }]";
    let mut group = c.benchmark_group("compile");
    for (name, count, keys) in [("10", 10, ""), ("10_split", 10, SPLIT), ("100", 100, ""), ("1000", 1000, "")]
    {
        let zone = format!(
            "namespace = \"bed.test\"\n[services.s]\nfrom = [{{ consul = \"vms\", service = \"s\" }}]\n{keys}\n"
        );
        let files = [("muster.toml".into(), "[consul.vms]\n".to_owned()), ("zones/bed.toml".into(), zone)];
        let loaded = config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false)));
        let mut catalog = Catalog::new(&loaded.config, 1);
        let service = loaded.config.namespaces[0].services.first().expect("a service");
        let (member, _) = service.members().next().expect("a member");
        let instances = (0..count).map(|at| instance(at, Health::Healthy)).collect();
        catalog.apply(Update::Reset { member: member.clone(), instances });
        assert_eq!(catalog.publish(), 1);
        let mut flips = [Health::Unhealthy, Health::Healthy].into_iter().cycle();
        group.bench_function(name, |b| {
            b.iter_batched(
                || upsert(&member, instance(count / 2, flips.next().unwrap_or_default())),
                |update| {
                    catalog.apply(update);
                    assert_eq!(catalog.publish(), 1);
                },
                BatchSize::SmallInput,
            );
        });
    }
}

fn upsert(member: &Member, instance: Instance) -> Update {
    Update::Upsert { member: member.clone(), instance }
}

fn instance(at: u16, health: Health) -> Instance {
    let [high, low] = at.to_be_bytes();
    let half = if at.is_multiple_of(2) { "a" } else { "b" };
    Instance {
        health,
        labels: [("half", half)].into_iter().collect(),
        ..Instance::at(&format!("i{at}"), [10, 0, high, low].into(), 80)
    }
}

criterion_group!(pieces, parse, look_up, answer, compile);
criterion_main!(pieces);
