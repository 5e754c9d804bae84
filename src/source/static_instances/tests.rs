use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, Receiver},
    time::timeout,
};

use super::{
    super::probe::fake::{DEADLINE, FakeServer},
    *,
};
use crate::{
    config::{CheckKind, GuardRule, HttpCheck, MemberRule, StaticMember},
    model::{Labels, Member, Protocol, Retained, SourceId, SourceKind},
    source::Outbox,
    telemetry::{SourceStatus, StatusBoard},
};

fn source() -> SourceId {
    SourceId { kind: SourceKind::Static, name: "static".into() }
}

fn followed(service: &str, instances: Vec<Instance>, check: Option<HealthCheck>) -> FollowedMember {
    let member = Member { service: service.parse().unwrap(), source: source(), place: 0 };
    let query = SourceQuery::Static(StaticMember { instances, check });
    let rule = MemberRule {
        source: source(),
        labels: Labels::default(),
        port_name: None,
        guard: GuardRule::default(),
        query,
    };
    FollowedMember { member, rule }
}

fn check(rise: u32, fall: u32) -> HealthCheck {
    let http =
        HttpCheck { path: "/".into(), tls: None, host: None, status: HttpCheck::DEFAULT_STATUS, body: None };
    let interval = Duration::from_millis(5);
    HealthCheck { kind: CheckKind::Http(http), interval, timeout: DEADLINE, rise, fall, port: None }
}

fn instance_at(address: SocketAddr) -> Instance {
    Instance::at("one", address.ip(), address.port())
}

/// The source, running; dropping `task` stops it.
struct Running {
    inbox: Receiver<Update>,
    status: Arc<SourceStatus>,
    task: JoinSet<()>,
}

impl Running {
    fn new(members: Vec<FollowedMember>) -> Self {
        Self::retaining(Retained::default(), members)
    }

    fn retaining(retained: Retained, members: Vec<FollowedMember>) -> Self {
        let (outbox, inbox) = mpsc::channel(64);
        let status = StatusBoard::default().add(source());
        let context = SourceContext {
            outbox: Outbox::new(outbox),
            status: Arc::clone(&status),
            max_stale: DEADLINE,
            retained: Arc::new(retained.into()),
        };
        let mut task = JoinSet::new();
        task.spawn(run(members, context, Arc::default(), oneshot::channel().0));
        Self { inbox, status, task }
    }

    async fn update(&mut self) -> Option<Update> {
        timeout(DEADLINE, self.inbox.recv()).await.expect("an update within the deadline")
    }

    async fn reset(&mut self) -> Vec<Instance> {
        match self.update().await {
            Some(Update::Reset { instances, .. }) => instances,
            other => panic!("expected a reset, got {other:?}"),
        }
    }

    /// Health and reason of the next update, which must be an upsert of `one`.
    async fn upsert(&mut self) -> (Health, String) {
        match self.update().await {
            Some(Update::Upsert { instance, .. }) => {
                assert_eq!(&*instance.id, "one");
                (instance.health, instance.reason.unwrap().to_string())
            }
            other => panic!("expected an upsert, got {other:?}"),
        }
    }
}

async fn more_requests(server: &mut FakeServer, count: usize) {
    while !server.no_more_requests() {}
    for _ in 0..count {
        server.request().await;
    }
}

#[tokio::test]
async fn without_a_check_instances_are_healthy_at_once() {
    let one = Instance::at("one", Ipv4Addr::LOCALHOST.into(), 80);
    let members = ["a.test", "b.test"].map(|service| followed(service, vec![one.clone()], None));
    let mut running = Running::new(members.into());
    for _ in 0..2 {
        let instances = running.reset().await;
        assert_eq!(instances.len(), 1);
        assert_eq!(instances[0].health, Health::Healthy);
        assert_eq!(instances[0].reason.as_deref(), Some("no check"));
    }
    let synced = async {
        while running.status.report().synced < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, synced).await.unwrap();
    let report = running.status.report();
    assert!(report.is_ready());
    assert_eq!((report.connecting, report.updates), (0, 2));
}

#[tokio::test]
async fn the_first_probe_comes_soon_and_decides() {
    let up = FakeServer::http(204, "").await;
    let down = FakeServer::http(503, "").await;
    for (server, health, reason) in
        [(&up, Health::Healthy, "http 204"), (&down, Health::Unhealthy, "http 503, expected 200-399")]
    {
        let rare = HealthCheck { interval: Duration::from_secs(3600), ..check(9, 9) };
        let mut running =
            Running::new(vec![followed("a.test", vec![instance_at(server.address)], Some(rare))]);
        let first = running.reset().await.remove(0);
        assert_eq!(first.health, Health::Unknown);
        assert_eq!(first.reason.as_deref(), Some("not probed yet"));
        assert_eq!(running.upsert().await, (health, reason.to_owned()));
    }
}

#[tokio::test]
async fn only_turns_of_health_are_reported() {
    let status = Arc::new(AtomicU16::new(200));
    let mut server = FakeServer::switched(Arc::clone(&status)).await;
    let mut running =
        Running::new(vec![followed("a.test", vec![instance_at(server.address)], Some(check(2, 3)))]);
    running.reset().await;
    assert_eq!(running.upsert().await.0, Health::Healthy);
    for (code, health, reason) in
        [(500, Health::Unhealthy, "http 500, expected 200-399"), (201, Health::Healthy, "http 201")]
    {
        more_requests(&mut server, 5).await;
        assert!(running.inbox.try_recv().is_err(), "nothing has changed");
        status.store(code, Ordering::Relaxed);
        assert_eq!(running.upsert().await, (health, reason.to_owned()));
    }
    status.store(202, Ordering::Relaxed);
    more_requests(&mut server, 5).await;
    assert!(running.inbox.try_recv().is_err(), "another reason is no change of health");
    assert_eq!(running.status.report().updates, 4);
}

#[tokio::test]
async fn every_instance_has_its_own_health() {
    let (up, down) = (FakeServer::http(200, "").await, FakeServer::http(500, "").await);
    let mut instances = vec![instance_at(up.address), instance_at(down.address)];
    instances[1].id = "two".into();
    let mut running = Running::new(vec![followed("a.test", instances, Some(check(1, 1)))]);
    assert_eq!(running.reset().await.len(), 2);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let Some(Update::Upsert { instance, .. }) = running.update().await else { panic!("an upsert") };
        seen.push((instance.id.to_string(), instance.health));
    }
    seen.sort();
    assert_eq!(seen, [("one".to_owned(), Health::Healthy), ("two".to_owned(), Health::Unhealthy)]);
}

#[tokio::test]
async fn labels_and_port_name_are_on_every_update() {
    let server = FakeServer::http(200, "").await;
    let mut member = followed("a.test", vec![instance_at(server.address)], Some(check(1, 1)));
    member.rule.labels = [("version", "v1")].into_iter().collect();
    member.rule.port_name = Some(("http".into(), Protocol::Tcp));
    let mut running = Running::new(vec![member]);
    let reset = running.reset().await.remove(0);
    let Some(Update::Upsert { instance, .. }) = running.update().await else { panic!("an upsert") };
    for instance in [reset, instance] {
        assert_eq!(instance.labels.get("version"), Some("v1"));
        assert_eq!(instance.named_ports.len(), 1);
    }
}

#[tokio::test]
async fn dropping_the_source_stops_every_probe() {
    let server = FakeServer::silent().await;
    let mut running =
        Running::new(vec![followed("a.test", vec![instance_at(server.address)], Some(check(1, 1)))]);
    running.reset().await;
    running.task.shutdown().await;
    // Every probe holds a sender: the channel ends when the last of them is gone.
    assert_eq!(running.update().await, None);
    assert_eq!(running.status.report().synced, 0);
}

#[tokio::test]
async fn the_source_ends_when_the_catalog_stops() {
    let server = FakeServer::silent().await;
    let mut running =
        Running::new(vec![followed("a.test", vec![instance_at(server.address)], Some(check(1, 1)))]);
    running.reset().await;
    drop(running.inbox);
    timeout(DEADLINE, running.task.join_next()).await.expect("it ends").unwrap().unwrap();
}

#[tokio::test]
async fn a_retained_instance_keeps_its_health() {
    let [one, other] = ["one", "other"].map(|id| Instance::at(id, Ipv4Addr::LOCALHOST.into(), 9));
    let other = Instance { port: 10, ..other };
    let slow = HealthCheck { interval: Duration::from_secs(3600), ..check(3, 3) };
    let members = vec![followed("a.test", vec![one.clone(), other], Some(slow))];
    let before =
        Instance { health: Health::Unhealthy, reason: Some("connection refused".into()), ..one.clone() };
    let retained =
        Retained { instances: [(members[0].member.clone(), vec![before])].into(), ..Retained::default() };
    let mut running = Running::retaining(retained, members);
    let states: Vec<_> = running.reset().await.into_iter().map(|i| (i.health, i.reason.unwrap())).collect();
    assert_eq!(states[0], (Health::Unhealthy, "connection refused".into()));
    assert_eq!(states[1], (Health::Unknown, "not probed yet".into()));
}

#[tokio::test]
async fn a_draining_instance_is_not_probed_and_comes_back_after_a_probe() {
    let (mut server, other) = (FakeServer::http(200, "").await, FakeServer::http(200, "").await);
    let instance = instance_at(server.address);
    let draining = Instance { health: Health::Draining, ..instance.clone() };
    let other = Instance { id: "other".into(), ..instance_at(other.address) };
    let members = vec![followed("a.test", vec![draining.clone(), other], Some(check(1, 1)))];
    let mut running = Running::new(members);
    assert_eq!(running.reset().await[0].health, Health::Draining);
    let Some(Update::Upsert { instance: probed, .. }) = running.update().await else { panic!("an upsert") };
    assert_eq!(&*probed.id, "other");
    assert!(server.no_more_requests());

    let members = vec![followed("a.test", vec![instance], Some(check(1, 1)))];
    let retained =
        Retained { instances: [(members[0].member.clone(), vec![draining])].into(), ..Retained::default() };
    let mut running = Running::retaining(retained, members);
    assert_eq!(running.reset().await[0].health, Health::Unknown);
    assert_eq!(running.upsert().await.0, Health::Healthy);
}

#[tokio::test]
async fn after_a_restart_the_first_probe_decides_alone() {
    let server = FakeServer::http(200, "").await;
    let before =
        Instance { health: Health::Unhealthy, reason: Some("timeout".into()), ..instance_at(server.address) };
    let members = vec![followed("a.test", vec![instance_at(server.address)], Some(check(3, 3)))];
    let member = members[0].member.clone();
    let retained = Retained {
        instances: [(member.clone(), vec![before])].into(),
        doubtful: [member].into(),
        ..Retained::default()
    };
    let mut running = Running::retaining(retained, members);
    assert_eq!(running.reset().await[0].health, Health::Unhealthy, "until it is probed");
    assert_eq!(running.upsert().await.0, Health::Healthy, "one of three");
}

#[tokio::test]
async fn an_instance_without_a_route_keeps_its_health_and_says_so() {
    // Connecting fails before anything is sent: a link-local address needs an interface.
    let one = Instance::at("one", "fe80::1".parse().unwrap(), 80);
    let members = vec![followed("a.test", vec![one.clone()], Some(check(1, 1)))];
    let before = Instance { health: Health::Healthy, reason: Some("http 200".into()), ..one };
    let retained =
        Retained { instances: [(members[0].member.clone(), vec![before])].into(), ..Retained::default() };
    let mut running = Running::retaining(retained, members);
    assert_eq!(running.reset().await[0].health, Health::Healthy);
    let (health, reason) = running.upsert().await;
    assert_eq!(health, Health::Healthy);
    let because = "this machine has no route to it";
    assert_eq!(reason, format!("cannot be probed ({because}); healthy before: http 200"));
    let note = format!("1 instance cannot be probed and keeps its health: one of a.test: {because}");
    assert_eq!(running.status.report().notes, [note]);
    running.task.shutdown().await;
    assert_eq!(running.status.report().notes, [""; 0], "the note goes with the instance");
}
