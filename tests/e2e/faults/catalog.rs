//! An import of a whole catalog with more services than connections, from a real Consul with the
//! default limits of its agent.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use rand::RngExt as _;

use super::{
    account::{Account, connections},
    spread,
};
use crate::{consul::Consul, muster::Muster, rig::wait_for};

/// Changes of checks that are measured.
const FLIPS: usize = 300;
/// Registrations that are measured.
const REGISTRATIONS: usize = 100;
/// The most connections that an import may hold.
const MOST_CONNECTIONS: usize = 130;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make faults"]
async fn an_import_of_500_services_is_followed_at_once() {
    follow_import(500).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make faults"]
async fn an_import_of_2000_services_is_followed_at_once() {
    follow_import(2000).await;
}

async fn follow_import(services: usize) {
    let folder = tempfile::tempdir().unwrap();
    let consul = Consul::start("consul", folder.path()).await;
    stream::iter(0..services * 2)
        .for_each_concurrent(16, |i| {
            let (consul, service) = (&consul, i / 2);
            async move {
                consul.register_ttl(&name(service), &id(service, i % 2), &address(service, i % 2), 80).await
            }
        })
        .await;
    let sources = format!("[consul.vms]\naddress = \"{}\"", consul.address());
    let zone = "namespace = \"shop\"\n[[import]]\nconsul = \"vms\"\ninclude = [\"s-*\"]\n";
    let began_at = Instant::now();
    let mut muster = Muster::start(folder.path(), &sources, zone).await;
    wait_for("all services are answered", || async {
        let (_, text) = muster.get("/v1/sources").await?;
        let sources: serde_json::Value = serde_json::from_str(&text).ok()?;
        (sources["sources"][0]["watches"]["synced"] == services + 1).then_some(())
    })
    .await;
    println!("Consul, {services} imported services: all answered {:.1?} after the start", began_at.elapsed());
    // The first sweep and its pause.
    tokio::time::sleep(Duration::from_secs(5)).await;

    let idle = [Account::open(consul.id()), Account::open(muster.process().id())];
    tokio::time::sleep(Duration::from_secs(5)).await;
    let [agent, own] = idle.map(|account| account.percent());
    println!("  idle: agent {agent:.1} % of a core, muster {own:.1} %");

    let mut most = 0;
    let mut flips = Vec::new();
    let process = muster.process().id();
    let accounts = [Account::open(consul.id()), Account::open(process)];
    for _ in 0..FLIPS {
        let service = rand::rng().random_range(0..services);
        let (name, domain) = (name(service), domain(service));
        let (id, address) = (id(service, 0), address(service, 0));
        for to in ["fail", "pass"] {
            let index = consul.index(&name).await;
            let (told, seen, ()) = tokio::join!(
                consul.blocking(&name, index),
                muster.wait_for_address(&domain, &address, to == "pass"),
                consul.flip(&id, to),
            );
            flips.push(seen.saturating_duration_since(told.1));
        }
        most = most.max(connections(process, consul.port()));
    }
    let [agent, own] = accounts.map(|account| account.percent());
    println!(
        "  check flips to answer: {}; agent {agent:.0} % of a core, muster {own:.0} %",
        spread(&mut flips)
    );

    let mut registrations = Vec::new();
    let accounts = [Account::open(consul.id()), Account::open(process)];
    for _ in 0..REGISTRATIONS {
        // At any time within a sweep or its pause.
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(500..1500))).await;
        let service = rand::rng().random_range(0..services);
        let (name, domain) = (name(service), domain(service));
        let (id, address) = (id(service, 2), address(service, 2));
        let index = consul.index(&name).await;
        let (told, seen, ()) = tokio::join!(
            consul.blocking(&name, index),
            muster.wait_for_address(&domain, &address, true),
            consul.register_ttl(&name, &id, &address, 80),
        );
        registrations.push(seen.saturating_duration_since(told.1));
        most = most.max(connections(process, consul.port()));
        tokio::join!(consul.deregister(&id), muster.wait_for_address(&domain, &address, false));
    }
    let [agent, own] = accounts.map(|account| account.percent());
    println!(
        "  registration to answer: {}; agent {agent:.0} % of a core, muster {own:.0} %; at most {most} connections",
        spread(&mut registrations),
    );
    assert!(most <= MOST_CONNECTIONS, "{most} connections");
    assert!(most > 0, "the connections are counted");
}

fn name(service: usize) -> String {
    format!("s-{service}")
}

fn domain(service: usize) -> String {
    format!("s-{service}.shop")
}

fn id(service: usize, instance: usize) -> String {
    format!("s-{service}-{instance}")
}

fn address(service: usize, instance: usize) -> String {
    format!("10.{instance}.{}.{}", service / 250, service % 250 + 1)
}
