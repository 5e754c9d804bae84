//! Failover: the checks of the first tier stop under load, and come back.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    consul::Consul,
    kube::Kube,
    load::{Answer, Client},
    muster::Muster,
};

const VMS: [&str; 3] = ["10.10.2.1", "10.10.2.2", "10.10.2.3"];
const PODS: [&str; 2] = ["10.10.3.1", "10.10.3.2"];
const HOLD_DOWN: Duration = Duration::from_secs(2);

const ZONE: &str = r#"
namespace = "shop"
[services.web]
from = [
  { consul = "vms", service = "web" },
  { kubernetes = "eks", namespace = "shop", selector = "app=web", port = 80 },
]
failover = [{ source = "vms" }, { source = "eks" }]
min_healthy = 2
hold_down = "2s"
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make e2e"]
async fn nobody_is_sent_to_a_dead_tier_and_the_return_is_held_down() {
    let folder = tempfile::tempdir().unwrap();
    let consul = Consul::start("consul", folder.path()).await;
    for (at, address) in VMS.iter().enumerate() {
        consul.register_ttl("web", &format!("web-{at}"), address, 80).await;
    }
    let kube = Kube::start(folder.path()).await;
    kube.namespace("shop").await;
    kube.node("n1", "eu-1a").await;
    for (at, address) in PODS.iter().enumerate() {
        kube.ready_pod("shop", &format!("web-{at}"), &json!({ "app": "web" }), address).await;
    }
    let sources = format!(
        "[consul.vms]\naddress = \"{}\"\n[kubernetes.eks]\nkubeconfig = \"{}\"\n",
        consul.address(),
        kube.kubeconfig("admin-token").display(),
    );
    let muster = Muster::start(folder.path(), &sources, ZONE).await;
    muster.ready().await;
    muster.wait_for_addresses("web.shop", &VMS).await;

    let load = Client::new(muster.dns, "web.shop", "127.0.0.1").keep_asking();
    // One after the other, each noted once the answers have followed.
    let mut dead: Vec<(IpAddr, Instant)> = Vec::new();
    for (at, address) in VMS.iter().enumerate() {
        consul.flip(&format!("web-{at}"), "fail").await;
        let seen = muster.wait_for_address("web.shop", address, false).await;
        dead.push((address.parse().unwrap(), seen));
    }
    muster.wait_for_addresses("web.shop", &PODS).await;
    let revived = Instant::now();
    for at in 0..VMS.len() {
        consul.flip(&format!("web-{at}"), "pass").await;
    }
    muster.wait_for_addresses("web.shop", &VMS).await;
    let answers = load.end();

    // A query sent before the change showed may have been answered before it.
    let is_dead = |answer: &&Answer| {
        dead.iter().any(|(address, since)| {
            answer.asked > *since && answer.came < revived && answer.addresses.contains(address)
        })
    };
    let tiers = |answer: &Answer| {
        let of = |tier: &[&str]| answer.addresses.iter().any(|one| tier.contains(&one.to_string().as_str()));
        (of(&VMS), of(&PODS))
    };
    assert_eq!(answers.iter().filter(is_dead).count(), 0, "answers with a dead address");
    assert!(answers.iter().all(|answer| tiers(answer) != (true, true)), "one tier at a time");
    let after = answers.iter().filter(|answer| answer.asked > dead[0].1).count();
    let back = answers.iter().find(|answer| answer.came > revived && tiers(answer).0).unwrap();
    let took = back.came - revived;
    println!(
        "{} answers, {after} after the first failure: none empty, none with a dead address; back {took:?} after \
         the checks began to pass",
        answers.len(),
    );
    assert!(took >= HOLD_DOWN, "back after {took:?}");
}
