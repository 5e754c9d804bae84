//! The source against a fake Consul: the updates that follow from its responses.

mod acls;
mod failures;
mod host_names;
mod imports;
mod notifiers;
mod queries;
mod shared_connections;
mod stale_servers;
mod tls;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use super::{
    fake::{Behavior, FakeConsul, entry},
    *,
};
use crate::{
    config::{ConsulQuery, GuardRule, MemberRule},
    model::{Health, Instance, Labels, Member, Name, SourceId, SourceKind, Update},
    source::Outbox,
    telemetry::{SourceReport, SourceStatus, StatusBoard},
};

/// The source under test; it stops when dropped.
struct Source {
    inbox: mpsc::Receiver<Update>,
    /// The rest of the changes that came in one update.
    changes: VecDeque<Update>,
    status: Arc<SourceStatus>,
    task: AbortOnDropHandle<()>,
}

fn id() -> SourceId {
    SourceId { kind: SourceKind::Consul, name: "vms".into() }
}

fn settings(address: &str) -> ConsulSource {
    ConsulSource {
        id: id(),
        address: address.to_owned(),
        datacenter: None,
        token_file: None,
        ca_file: None,
        server_name: None,
        client_certificate: None,
        wait: ConsulSource::DEFAULT_WAIT,
        max_connections: ConsulSource::DEFAULT_MAX_CONNECTIONS,
        stale: false,
        max_lag: ConsulSource::DEFAULT_MAX_LAG,
        guard: GuardRule::default(),
    }
}

fn query(service: &str) -> ConsulQuery {
    ConsulQuery { service: service.into(), tags: Vec::new(), filter: None, datacenter: None, port: None }
}

fn followed(query: ConsulQuery) -> FollowedMember {
    let service: Name = format!("{}.test", query.service).parse().unwrap();
    let rule = MemberRule {
        source: id(),
        labels: Labels::default(),
        port_name: None,
        guard: GuardRule::default(),
        query: SourceQuery::Consul(query),
    };
    FollowedMember { member: Member { service, source: id(), place: 0 }, rule }
}

/// Limits that even a stalled machine keeps.
fn generous() -> ConsulTiming {
    ConsulTiming { grace: Duration::from_secs(60), ..ConsulTiming::default() }
}

fn start(settings: ConsulSource, members: Vec<FollowedMember>, imports: Vec<(Import, ImportRule)>) -> Source {
    start_with(settings, generous(), members, imports)
}

fn start_with(
    settings: ConsulSource,
    timing: ConsulTiming,
    members: Vec<FollowedMember>,
    imports: Vec<(Import, ImportRule)>,
) -> Source {
    start_into(mpsc::channel(64), settings, timing, members, imports)
}

fn start_into(
    (outbox, inbox): (mpsc::Sender<Update>, mpsc::Receiver<Update>),
    settings: ConsulSource,
    timing: ConsulTiming,
    members: Vec<FollowedMember>,
    imports: Vec<(Import, ImportRule)>,
) -> Source {
    // The first test installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let status = StatusBoard::default().add(id());
    let context = SourceContext {
        outbox: Outbox::new(outbox),
        status: Arc::clone(&status),
        max_stale: Duration::from_secs(3600),
        retained: Arc::default(),
    };
    let task = AbortOnDropHandle::new(tokio::spawn(run_with(
        Agent::new(settings, timing),
        members,
        imports,
        context,
    )));
    Source { inbox, changes: VecDeque::new(), status, task }
}

impl Source {
    /// Follows the service `web`.
    fn start_web(consul: &FakeConsul) -> Self {
        start(settings(&consul.address), vec![followed(query("web"))], Vec::new())
    }

    /// Returns the next change; the failures of members are left out.
    async fn next(&mut self) -> Update {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return change;
            }
            let next = tokio::time::timeout(Duration::from_secs(60), self.inbox.recv()).await;
            let next = next.unwrap_or_else(|_| panic!("no update; {:?}", self.report()));
            match next.expect("the source has stopped") {
                Update::Failed { .. } => {}
                Update::Changes(changes) => self.changes.extend(changes),
                update => return update,
            }
        }
    }

    /// The next update, which must be a `Reset`: its instances' ids.
    async fn reset(&mut self) -> Vec<String> {
        match self.next().await {
            Update::Reset { instances, .. } => {
                instances.iter().map(|instance| instance.id.to_string()).collect()
            }
            other => panic!("expected a reset, got {other:?}"),
        }
    }

    /// Fails if an update is empty; returns when the watches have synced again after a failure.
    async fn synced_without_a_loss(&mut self, watches: usize) {
        let start = Instant::now();
        while self.report().synced < watches || self.report().failing > 0 {
            if let Ok(update) = self.inbox.try_recv() {
                assert_not_empty(&update);
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", self.report());
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits for an error of this kind; returns the last error's message.
    async fn error(&mut self, kind: &str) -> String {
        let start = Instant::now();
        loop {
            let report = self.report();
            if report.errors.contains_key(kind) {
                return report.last_error.unwrap().message;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "no {kind} error in {report:?}");
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn report(&self) -> SourceReport {
        self.status.report()
    }

    /// Fails if there is an update that the test has not taken.
    fn assert_silent(&mut self) {
        if let Ok(update) = self.inbox.try_recv()
            && !matches!(update, Update::Failed { .. })
        {
            panic!("expected no update, got {update:?}");
        }
    }
}

fn assert_not_empty(update: &Update) {
    match update {
        Update::Reset { instances, .. } => assert!(!instances.is_empty(), "{update:?}"),
        Update::Imported { services, .. } => assert!(!services.is_empty(), "{update:?}"),
        Update::Upsert { .. } | Update::Changes(_) => {}
        other => panic!("{other:?}"),
    }
}

fn many(count: u8) -> Vec<serde_json::Value> {
    (0..count).map(|i| entry(&format!("w{i}"), &format!("10.0.0.{i}"), "passing")).collect()
}

#[tokio::test]
async fn the_first_update_is_a_reset_and_later_ones_are_changes() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(20));
    let mut source = Source::start_web(&consul);
    assert_eq!(source.reset().await.len(), 20);
    let mut changed = many(20);
    changed[3] = entry("w3", "10.0.0.3", "critical");
    consul.set("web", changed);
    match source.next().await {
        Update::Upsert { instance: Instance { id, health, reason, .. }, .. } => {
            assert_eq!((&*id, health, reason.as_deref()), ("w3", Health::Unhealthy, Some("HTTP: said so")));
        }
        other => panic!("{other:?}"),
    }
    let mut fewer = many(20);
    fewer.remove(0);
    fewer[2] = entry("w3", "10.0.0.3", "critical");
    consul.set("web", fewer);
    assert!(matches!(source.next().await, Update::Remove { id, .. } if &*id == "w0"));
}

#[tokio::test]
async fn a_service_without_instances_is_an_empty_reset() {
    let consul = FakeConsul::start().await;
    let mut source = Source::start_web(&consul);
    assert!(source.reset().await.is_empty());
    consul.set("web", many(1));
    assert_eq!(source.reset().await, ["w0"]);
}

#[tokio::test]
async fn a_response_without_a_change_sends_nothing() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(2));
    let mut source = Source::start_web(&consul);
    source.reset().await;
    for returns in 2..6 {
        consul.until("a query waits", |state| state.seen.len() == returns).await;
        consul.set("web", many(2));
    }
    consul.until("the last response was read", |state| state.seen.len() == 6).await;
    source.assert_silent();
}

#[tokio::test]
async fn blocking_queries_carry_the_last_index() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    let mut source = Source::start_web(&consul);
    source.reset().await;
    consul.until("a query waits", |state| state.seen.len() == 2).await;
    let seen = consul.seen();
    assert_eq!((seen[0].get("index"), seen[0].get("wait")), (None, None));
    assert_eq!((seen[1].get("index"), seen[1].get("wait")), (Some("41"), Some("300000ms")));
    assert!(seen.iter().all(|seen| seen.get("passing").is_none()), "health is judged here");
}

#[tokio::test]
async fn after_an_index_goes_back_changes_are_seen_again() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    let mut settings = settings(&consul.address);
    settings.wait = Duration::from_millis(50);
    let mut source = start(settings, vec![followed(query("web"))], Vec::new());
    source.reset().await;
    consul.change(|state| {
        state.index = 7;
        let web = state.services.get_mut("web").unwrap();
        web.index = 7;
        web.entries = many(3);
    });
    assert_eq!(source.reset().await.len(), 3);
    consul
        .until("the watch queries with the new index", |state| {
            state.seen.last().unwrap().get("index") == Some("7")
        })
        .await;
    consul.set("web", many(4));
    assert_eq!(source.reset().await.len(), 4);
}

#[tokio::test]
async fn an_empty_response_of_a_lost_stream_is_not_trusted() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(2));
    let mut source = Source::start_web(&consul);
    source.reset().await;
    consul.behave(Behavior::LostStream);
    consul.until("the watch has seen the empty response often", |state| state.seen.len() > 12).await;
    source.assert_silent();
    consul.behave(Behavior::Normal);
    consul.set("web", many(3));
    assert_eq!(source.reset().await.len(), 3);
}

#[tokio::test]
async fn an_index_of_zero_does_not_disable_waiting() {
    let consul = FakeConsul::start().await;
    consul.change(|state| state.list_index = 0);
    let mut source = Source::start_web(&consul);
    assert!(source.reset().await.is_empty());
    consul.until("a query waits", |state| state.seen.len() == 2).await;
    assert_eq!(consul.seen()[1].get("index"), Some("1"));
}

#[tokio::test]
async fn a_response_that_lags_too_far_is_taken_from_the_leader() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    consul.change(|state| state.last_contact = 10_000);
    let mut settings = settings(&consul.address);
    settings.stale = true;
    let mut source = start(settings, vec![followed(query("web"))], Vec::new());
    assert_eq!(source.reset().await, ["w0"]);
    consul.until("a query waits", |state| state.seen.len() == 2).await;
    let seen = consul.seen();
    assert!(seen.iter().all(|seen| seen.get("stale").is_some()), "a lag of max_lag is allowed: {seen:?}");
    assert_eq!(seen[1].get("wait"), Some("10000ms"), "no longer than max_lag");
    consul.change(|state| state.last_contact = 10_001);
    consul.set("web", many(2));
    assert_eq!(source.reset().await, ["w0", "w1"]);
    let seen = consul.seen();
    let leader = seen.iter().find(|seen| seen.get("stale").is_none()).expect("a query to the leader");
    assert_eq!(leader.get("index"), None, "and it does not wait");
}

#[tokio::test]
async fn dropping_the_future_ends_every_query() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    consul.set("db", many(1));
    let rule = imports::rule(&["web"], &[]);
    let source =
        start(settings(&consul.address), vec![followed(query("db"))], vec![(imports::import(), rule)]);
    consul.until("three queries wait", |state| state.is_open(3) && state.seen.len() >= 6).await;
    drop(source);
    consul.until("no query is open", |state| state.is_open(0)).await;
    assert_eq!(consul.open(), 0);
}

#[tokio::test]
async fn a_stopped_program_ends_the_source() {
    let consul = FakeConsul::start().await;
    let mut source = Source::start_web(&consul);
    source.reset().await;
    source.inbox.close();
    consul.until("a query waits", |state| state.seen.len() == 2).await;
    consul.set("web", vec![entry("w", "10.0.0.1", "passing"), json!({})]);
    tokio::time::timeout(Duration::from_secs(60), &mut source.task).await.expect("it ends").unwrap();
}
