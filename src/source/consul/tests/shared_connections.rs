//! More watches than connections share them.

use std::collections::HashSet;

use super::*;

pub(super) fn services(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("s{i}")).collect()
}

pub(super) async fn start_many(consul: &FakeConsul, count: usize, connections: usize) -> Source {
    for service in services(count) {
        consul.set(&service, many(1));
    }
    let mut settings = settings(&consul.address);
    settings.max_connections = connections;
    let members = services(count).iter().map(|service| followed(query(service))).collect();
    let mut source = start(settings, members, Vec::new());
    for _ in 0..count {
        assert_eq!(source.reset().await, ["w0"]);
    }
    source
}

#[tokio::test]
async fn shared_connections_miss_no_change() {
    let consul = FakeConsul::start().await;
    consul.change(|state| state.denies_checks = true);
    let mut source = start_many(&consul, 60, 8).await;
    // Every service changes once. Each change is seen within about one round of 4 s; the limit
    // leaves room for a busy machine, but is far below a wait of 300 s.
    for service in services(60) {
        consul.set(&service, many(2));
    }
    let changed = Instant::now();
    let mut seen = HashSet::new();
    while seen.len() < 60 {
        match source.next().await {
            Update::Reset { member, instances } if instances.len() == 2 => {
                assert!(seen.insert(member.service.to_string()), "{} twice", member.service);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(changed.elapsed() < Duration::from_secs(60), "{:?}", changed.elapsed());
    consul.until("queries continue", |state| state.seen.len() > 200).await;
    let peak = consul.change(|state| state.peak);
    assert!(peak <= 8, "{peak} concurrent requests");
    source.assert_silent();
}

#[tokio::test]
async fn with_a_connection_for_each_watch_waits_are_long() {
    let consul = FakeConsul::start().await;
    let _source = start_many(&consul, 8, 8).await;
    consul.until("all wait", |state| state.seen.len() == 16).await;
    let seen = consul.seen();
    assert!(seen.iter().skip(8).all(|seen| seen.get("wait") == Some("300000ms")), "{seen:?}");
}

#[tokio::test]
async fn a_new_watch_gets_a_connection_from_waiting_ones() {
    let consul = FakeConsul::start().await;
    consul.set("s0", many(1));
    consul.set("s1", many(1));
    let mut settings = settings(&consul.address);
    settings.max_connections = 3;
    let rule = imports::rule(&["*"], &[]);
    let mut source = start(settings, Vec::new(), vec![(imports::import(), rule)]);
    assert!(matches!(source.next().await, Update::Imported { .. }));
    source.reset().await;
    source.reset().await;
    consul.until("each waits on its own connection", |state| state.is_open(3)).await;
    let started = Instant::now();
    consul.set("s2", many(1));
    assert!(matches!(source.next().await, Update::Imported { services, .. } if services.len() == 3));
    assert_eq!(source.reset().await, ["w0"]);
    for service in ["s0", "s1"] {
        let path = format!("/v1/health/service/{service}");
        let is_shortened = |seen: &fake::SeenRequest| seen.path == path && seen.get("wait") == Some("4000ms");
        consul.until("a long wait is shortened", |state| state.seen.iter().any(is_shortened)).await;
    }
    assert!(
        started.elapsed() < Duration::from_secs(200),
        "not after a wait of 300 s: {:?}",
        started.elapsed()
    );
}
