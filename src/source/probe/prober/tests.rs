use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, net::TcpListener, sync::Barrier};

use super::{
    super::fake::{DEADLINE, FakeServer},
    *,
};
use crate::config::TlsCheck;

fn tcp() -> HealthCheck {
    HealthCheck { kind: CheckKind::Tcp, interval: DEADLINE, timeout: DEADLINE, rise: 1, fall: 1, port: None }
}

fn http_check() -> HttpCheck {
    HttpCheck { path: "/".into(), tls: None, host: None, status: HttpCheck::DEFAULT_STATUS, body: None }
}

fn http() -> HealthCheck {
    HealthCheck { kind: CheckKind::Http(http_check()), ..tcp() }
}

fn instance(addresses: &[IpAddr], port: u16) -> Instance {
    Instance { target: Target::Addresses(addresses.into()), ..Instance::at("i", addresses[0], port) }
}

fn localhost(port: u16) -> Instance {
    let mut instance = Instance::at("i", Ipv4Addr::LOCALHOST.into(), port);
    instance.target = Target::Host("localhost".parse().unwrap());
    instance
}

async fn probe(instance: &Instance, check: &HealthCheck) -> ProbeResult {
    Prober::new().probe(instance, check).await
}

#[tokio::test]
async fn the_checks_port_overrides_the_instances() {
    let server = FakeServer::silent().await;
    let instance = instance(&[server.refused().ip()], server.address.port());
    assert_eq!(probe(&instance, &tcp()).await, ProbeResult::Failed("connection refused".into()));
    let other = FakeServer::silent().await;
    let elsewhere = self::instance(&[other.address.ip()], 1);
    let check = HealthCheck { port: Some(other.address.port()), ..tcp() };
    assert!(matches!(probe(&elsewhere, &check).await, ProbeResult::Passed(_)));
}

#[tokio::test]
async fn a_probe_without_a_port_fails_with_advice() {
    let result = probe(&instance(&[Ipv4Addr::LOCALHOST.into()], 0), &tcp()).await;
    assert_eq!(result, ProbeResult::Failed("no port to probe; give the instance or its check a port".into()));
}

#[tokio::test]
async fn a_probe_without_an_address_fails() {
    let mut nowhere = Instance::at("i", Ipv4Addr::LOCALHOST.into(), 1);
    nowhere.target = Target::Addresses(Box::default());
    assert_eq!(probe(&nowhere, &tcp()).await, ProbeResult::Failed("no address to probe".into()));
}

#[tokio::test]
async fn every_address_must_pass_and_a_failed_one_is_named() {
    let server = FakeServer::silent().await;
    let (good, other) = (server.address, server.refused());
    let both = instance(&[good.ip(), other.ip()], good.port());
    let result = probe(&both, &tcp()).await;
    assert_eq!(result, ProbeResult::Failed("127.0.0.2: connection refused".into()));
    let _also = TcpListener::bind(other).await.unwrap();
    assert!(matches!(probe(&both, &tcp()).await, ProbeResult::Passed(_)));
}

#[tokio::test]
async fn a_silent_server_fails_after_the_timeout() {
    let server = FakeServer::silent().await;
    let check = HealthCheck { timeout: Duration::from_millis(50), ..http() };
    let result = probe(&instance(&[server.address.ip()], server.address.port()), &check).await;
    assert_eq!(result, ProbeResult::Failed("timeout after 50ms".into()));
}

#[tokio::test]
async fn one_passing_address_of_a_host_is_enough() {
    let server = FakeServer::silent().await;
    let prober = Prober::new();
    let addresses = [server.refused().ip(), server.address.ip()];
    let port = server.address.port();
    let result = prober.probe_all(&addresses, port, &tcp(), None, DEADLINE, Required::Any).await;
    assert_eq!(result, ProbeResult::Passed("127.0.0.1: connection opened".into()));
    let refused = &addresses[..1];
    let result = prober.probe_all(refused, port, &tcp(), None, DEADLINE, Required::Any).await;
    assert_eq!(result, ProbeResult::Failed("connection refused".into()));
}

#[tokio::test]
async fn a_host_is_resolved_and_sent_as_host_header() {
    let mut server = FakeServer::http(200, "").await;
    let port = server.address.port();
    assert!(matches!(probe(&localhost(port), &http()).await, ProbeResult::Passed(_)));
    assert_eq!(server.header("host").await, format!("localhost:{port}"));
}

#[test]
fn host_leaves_out_the_port_of_the_scheme() {
    let name: Name = "vm-2.corp.example".parse().unwrap();
    assert_eq!(authority(&name, 80, &http()), "vm-2.corp.example");
    assert_eq!(authority(&name, 443, &http()), "vm-2.corp.example:443");
    let https = HttpCheck { tls: Some(TlsCheck::AnyCertificate), ..http_check() };
    let https = HealthCheck { kind: CheckKind::Http(https), ..tcp() };
    assert_eq!(authority(&name, 443, &https), "vm-2.corp.example");
    assert_eq!(authority(&name, 80, &https), "vm-2.corp.example:80");
}

#[tokio::test]
async fn an_address_without_a_route_does_not_count_next_to_another() {
    let server = FakeServer::silent().await;
    let nowhere: IpAddr = "fe80::1".parse().unwrap();
    let port = server.address.port();
    let both = instance(&[server.address.ip(), nowhere], port);
    let expected = "127.0.0.1: connection opened; not probed: fe80::1: this machine has no route to it";
    assert_eq!(probe(&both, &tcp()).await, ProbeResult::Passed(expected.into()));
    let refused = instance(&[nowhere, server.refused().ip()], port);
    let result = probe(&refused, &tcp()).await;
    assert_eq!(result, ProbeResult::Failed("127.0.0.2: connection refused".into()));
    assert!(matches!(probe(&instance(&[nowhere], port), &tcp()).await, ProbeResult::NoRoute(_)));
}

#[test]
fn probes_get_a_share_of_the_files_that_the_process_may_open() {
    assert_eq!([64, 1024, usize::MAX].map(Prober::socket_limit), [16, 128, 1024]);
}

#[tokio::test(start_paused = true)]
async fn first_probes_of_thousands_of_instances_are_spread() {
    let prober = Prober::new();
    let delays = |interval| (0..1000).map(|_| prober.first_probe_delay(interval)).collect::<Vec<_>>();
    let first = delays(DEADLINE);
    assert_eq!(first[0], Duration::ZERO);
    let mut starts: Vec<_> = [first, delays(DEADLINE)].concat();
    starts.dedup();
    assert_eq!(starts.len(), 2000, "members share one pace");
    let latest = delays(Duration::from_millis(100)).into_iter().max().unwrap();
    assert!(latest < Duration::from_millis(50), "half of the interval: {latest:?}");
}

#[tokio::test]
async fn waiting_for_a_lookup_is_no_failure() {
    let server = FakeServer::silent().await;
    let prober = Arc::new(Prober::with_limits(1, 1));
    let busy = Arc::clone(&prober.lookups).acquire_owned().await.unwrap();
    let check = HealthCheck { timeout: Duration::from_millis(200), ..tcp() };
    let instance = localhost(server.address.port());
    let (waiting, at) = (Arc::clone(&prober), instance.clone());
    let probe = tokio::spawn(async move { waiting.probe(&at, &check).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(busy);
    assert!(matches!(probe.await.unwrap(), ProbeResult::Passed(_)));
}

#[tokio::test]
async fn concurrent_probes_are_limited() {
    let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, noted) = (Arc::clone(&running), Arc::clone(&peak));
    // Each request is answered only together with another, so that two probes do run at once.
    let pairs = Arc::new(Barrier::new(2));
    let server = FakeServer::new(move |mut stream| {
        let (now, most, pairs) = (Arc::clone(&counted), Arc::clone(&noted), Arc::clone(&pairs));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            pairs.wait().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let prober = Prober::with_limits(2, 2);
    let (check, instance) = (http(), instance(&[server.address.ip()], server.address.port()));
    let results = futures_util::future::join_all((0..8).map(|_| prober.probe(&instance, &check))).await;
    assert_eq!(results, vec![ProbeResult::Passed("http 200".into()); 8]);
    assert_eq!(peak.load(Ordering::SeqCst), 2);
}
