//! More watches than connections.

use std::collections::HashSet;

use super::*;

fn services(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("s{i}")).collect()
}

async fn crowd(consul: &FakeConsul, count: usize, connections: usize) -> Source {
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
async fn more_watches_than_connections_take_turns_and_every_change_is_seen() {
    let consul = FakeConsul::start().await;
    let mut source = crowd(&consul, 60, 8).await;
    // Every service changes once; each change is seen within about one round of 4 s, here with much room for a busy
    // machine, and in any case before a wait of 300 s is over.
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
    consul.until("the turns go on", |state| state.seen.len() > 200).await;
    let peak = consul.change(|state| state.peak);
    assert!(peak <= 8, "{peak} requests at one time");
    source.assert_silent();
}

#[tokio::test]
async fn waits_are_long_while_there_is_a_connection_for_each() {
    let consul = FakeConsul::start().await;
    let _source = crowd(&consul, 8, 8).await;
    consul.until("all wait", |state| state.seen.len() == 16).await;
    let seen = consul.seen();
    assert!(seen.iter().skip(8).all(|seen| seen.get("wait") == Some("300000ms")), "{seen:?}");
}

#[tokio::test]
async fn who_comes_late_gets_a_turn_from_those_who_wait_long() {
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
        let gives_way = |seen: &fake::Seen| seen.path == path && seen.get("wait") == Some("4000ms");
        consul.until("those who waited long give way", |state| state.seen.iter().any(gives_way)).await;
    }
    assert!(
        started.elapsed() < Duration::from_secs(200),
        "not after a wait of 300 s: {:?}",
        started.elapsed()
    );
}
