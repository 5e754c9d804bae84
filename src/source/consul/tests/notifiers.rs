//! With more watches than connections, notifiers say which services to query.

use super::{
    fake::SeenRequest,
    shared_connections::{services, start_many},
    *,
};

const HEALTH: &str = "/v1/health/service/";

/// Starts 60 watches on 8 connections, and waits until all have synced and been swept.
async fn start_notified(consul: &FakeConsul) -> Source {
    let source = start_many(consul, 60, 8).await;
    let swept = |state: &fake::FakeState| state.is_open(3) && asked_now(&state.seen) == 120;
    consul.until("all are asked for the first time and by the first sweep", swept).await;
    consul.change(|state| state.seen.clear());
    source
}

/// The services that were queried.
fn queried(seen: &[SeenRequest]) -> Vec<String> {
    seen.iter().filter_map(|seen| seen.path.strip_prefix(HEALTH)).map(str::to_owned).collect()
}

/// Whether every service has been queried, and only the notifiers wait.
fn is_swept(state: &fake::FakeState) -> bool {
    let distinct: std::collections::BTreeSet<_> = queried(&state.seen).into_iter().collect();
    state.is_open(3) && distinct.len() == 60
}

/// The number of queries for services that do not wait.
fn asked_now(seen: &[SeenRequest]) -> usize {
    seen.iter().filter(|seen| seen.path.starts_with(HEALTH) && seen.get("index").is_none()).count()
}

/// The first label of the service that the next update is about.
async fn next_changed(source: &mut Source) -> String {
    let (Update::Reset { member, .. } | Update::Upsert { member, .. }) = source.next().await else {
        panic!("no change of a member");
    };
    member.service.to_string().split('.').next().unwrap().to_owned()
}

/// `count` instances whose check has this status.
fn with_status(count: u8, status: &str) -> Vec<serde_json::Value> {
    let id = |i| format!("w{i}");
    (0..count).map(|i| entry(&id(i), &format!("10.0.0.{i}"), status)).collect()
}

#[tokio::test]
async fn a_changed_check_costs_one_query() {
    let consul = FakeConsul::start().await;
    let mut source = start_notified(&consul).await;
    for status in ["critical", "warning", "passing"] {
        consul.set("s7", with_status(1, status));
        assert_eq!(next_changed(&mut source).await, "s7");
    }
    consul.until("only the notifiers wait", |state| state.is_open(3)).await;
    let asked = queried(&consul.seen());
    // Leaving one list and entering the other can be two notices.
    assert!((3..=6).contains(&asked.len()) && asked.iter().all(|service| service == "s7"), "{asked:?}");
    assert_eq!(source.report().notes, Vec::<String>::new());
    source.assert_silent();
}

#[tokio::test]
async fn a_nodes_check_costs_a_query_for_each_of_its_services() {
    let consul = FakeConsul::start().await;
    let on_node = |node: &str, status: &str| {
        let mut entries = with_status(1, "passing");
        entries[0]["Service"]["ID"] = "moved".into();
        entries[0]["Node"]["Node"] = node.into();
        entries[0]["Checks"][0] =
            serde_json::json!({ "Node": node, "CheckID": "serfHealth", "Status": status });
        entries
    };
    let mut source = start_notified(&consul).await;
    consul.change(|state| {
        state.index += 1;
        state.list_index = state.index;
        for (service, node) in [("s1", "n2"), ("s2", "n2"), ("s3", "n3")] {
            let entries = on_node(node, "passing");
            state.services.insert(service.into(), fake::FakeService { index: state.index, entries });
        }
    });
    for _ in 0..3 {
        next_changed(&mut source).await;
    }
    consul.until("all are swept", is_swept).await;
    consul.change(|state| state.seen.clear());
    consul.change(|state| {
        state.index += 1;
        state.checks_index = state.index;
        for service in ["s1", "s2"] {
            let entries = on_node("n2", "critical");
            state.services.insert(service.into(), fake::FakeService { index: state.index, entries });
        }
    });
    for _ in 0..2 {
        next_changed(&mut source).await;
    }
    let mut asked = queried(&consul.seen());
    asked.sort();
    assert_eq!(asked, ["s1", "s2"]);
}

#[tokio::test]
async fn a_registration_is_found_by_its_check_and_by_a_sweep() {
    let consul = FakeConsul::start().await;
    let mut source = start_notified(&consul).await;
    consul.change(|state| state.peak = 0);
    consul.set("s50", with_status(2, "passing"));
    assert_eq!(next_changed(&mut source).await, "s50");
    consul.until("the sweep ends", is_swept).await;
    let mut swept = queried(&consul.seen());
    let first = swept.iter().position(|service| service == "s50").unwrap();
    assert!(first < 20, "its new check names it, before the sweep comes to it: {first}");
    // The sweep may come to it before it has asked, or ask it again.
    swept.sort();
    swept.dedup();
    let mut all = services(60);
    all.sort();
    assert_eq!(swept, all, "each once");
    let seen = consul.seen();
    let mut swept = seen.iter().filter(|seen| seen.path.starts_with(HEALTH));
    let waits = |seen: &SeenRequest| seen.get("index").is_some() || seen.get("stale").is_some();
    assert!(!swept.any(waits), "the leader is asked, and does not wait: {seen:?}");
    let peak = consul.change(|state| state.peak);
    assert!(peak <= 8, "{peak} concurrent requests");
    source.assert_silent();
}

#[tokio::test]
async fn a_registration_without_a_check_is_found_by_a_sweep() {
    let consul = FakeConsul::start().await;
    let mut source = start_notified(&consul).await;
    let mut entries = with_status(2, "passing");
    entries[1]["Checks"] = serde_json::json!([]);
    consul.set("s50", entries);
    assert_eq!(next_changed(&mut source).await, "s50");
    consul.until("the sweep ends", is_swept).await;
}

#[tokio::test]
async fn a_new_service_is_imported_at_once() {
    let consul = FakeConsul::start().await;
    for service in services(20) {
        consul.set(&service, many(1));
    }
    let mut settings = settings(&consul.address);
    settings.max_connections = 8;
    let mut source = start(settings, Vec::new(), vec![(imports::import(), imports::rule(&["*"], &[]))]);
    assert!(matches!(source.next().await, Update::Imported { .. }));
    for _ in 0..20 {
        source.reset().await;
    }
    consul.until("only the notifiers wait", |state| state.is_open(3)).await;
    consul.set("new", many(1));
    assert!(matches!(source.next().await, Update::Imported { services, .. } if services.len() == 21));
    assert_eq!(source.reset().await, ["w0"]);
}

#[tokio::test]
async fn without_permission_watches_take_turns_and_the_status_says_so() {
    let consul = FakeConsul::start().await;
    consul.change(|state| state.denies_checks = true);
    let mut source = start_many(&consul, 60, 8).await;
    let asked = |state: &fake::FakeState| state.seen.iter().any(|seen| seen.path.contains("state/critical"));
    consul.until("the notifiers fail", |state| asked(state) && state.is_open(8)).await;
    let [note] = source.report().notes.try_into().unwrap();
    assert!(note.starts_with("60 watches take turns on 8 connections"), "{note}");
    assert!(note.ends_with("permission denied: Permission denied"), "{note}");
    assert_eq!(source.report().errors.len(), 0, "no watch has failed");
    consul.set("s50", with_status(1, "critical"));
    assert_eq!(next_changed(&mut source).await, "s50", "in its turn");
    // A new permission is found by itself.
    consul.change(|state| state.denies_checks = false);
    while !source.report().notes.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    consul.set("s50", with_status(1, "passing"));
    assert_eq!(next_changed(&mut source).await, "s50", "by a notice");
}

#[tokio::test]
async fn changes_while_the_notifiers_were_gone_are_found() {
    let consul = FakeConsul::start().await;
    let mut source = start_notified(&consul).await;
    consul.change(|state| {
        // A change that no notifier tells of, since the index of the lists has gone back.
        (state.checks_index, state.list_index) = (1, 1);
        state.index += 1;
        let entries = with_status(1, "critical");
        state.services.insert("s8".into(), fake::FakeService { index: state.index, entries });
    });
    // The notifiers wait for an index that is not there; the next change ends their wait.
    consul.behave(Behavior::Immediate);
    consul.until("they have seen it", |state| state.is_open(0) || state.seen.len() > 6).await;
    consul.behave(Behavior::Normal);
    assert_eq!(next_changed(&mut source).await, "s8");
}
