//! A real API server: pods that flap, and a thousand members of one namespace.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use serde_json::json;

use super::{
    Flips,
    account::{Account, connections},
    flapping::{TOLERATED, Truth, delays, has_dead, lacks_live},
    spread,
};
use crate::{kube::Kube, load::Client, muster::Muster};

/// Pods of the service that flaps.
const PODS: u16 = 20;
/// How long they flap at each rate.
const LASTS: Duration = Duration::from_secs(20);
/// Members of one namespace.
const MEMBERS: u16 = 1000;
/// How many of their pods change, one after the other.
const CHANGES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make faults"]
async fn flapping_pods_cost_no_wrong_answer() {
    let folder = tempfile::tempdir().unwrap();
    let kube = Arc::new(cluster(folder.path()).await);
    for at in 0..PODS {
        kube.ready_pod("apps", &name(at), &json!({ "app": "web" }), &address(at).to_string()).await;
    }
    let zone = "namespace = \"shop\"\nmax_answers = 20\n[services.web]\n\
        from = [{ kubernetes = \"eks\", namespace = \"apps\", selector = \"app=web\", port = 80 }]";
    let mut muster = Muster::start(folder.path(), &sources(&kube), zone).await;
    let all: Vec<String> = (0..PODS).map(|at| address(at).to_string()).collect();
    muster.wait_for_addresses("web.shop", &all.iter().map(String::as_str).collect::<Vec<_>>()).await;

    println!("Kubernetes, one selector with {PODS} pods, whose readiness flaps for {LASTS:?} a row:");
    for rate in [4, 20, 50] {
        let account = Account::open(muster.process().id());
        let watcher = watch(&kube).await;
        let load = Client::new(muster.dns, "web.shop", "127.0.0.1").keep_asking();
        let flips = flap(&kube, rate).await;
        // The last change has time to arrive.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let answers = load.end();
        kube.delete_pod("apps", "end", true).await;
        let truth = watcher.await.unwrap();
        let own = account.percent();
        let wrong = answers.iter().filter(|answer| has_dead(answer, &truth)).count();
        let lacking = answers.iter().filter(|answer| lacks_live(answer, &truth)).count();
        let mut delays = delays(&answers, &truth);
        println!(
            "  {rate}/s: {flips} flips, {} answers, {wrong} with a dead address, {lacking} without a live one; \
             from the API server to the answer: {}; muster {own:.0} % of a core",
            answers.len(),
            spread(&mut delays),
        );
        assert!(truth.len() > flips / 2, "the watcher has seen {} states", truth.len());
        assert_eq!((wrong, lacking), (0, 0), "older than {TOLERATED:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make faults"]
async fn a_thousand_members_of_a_namespace_share_connections() {
    let folder = tempfile::tempdir().unwrap();
    let kube = cluster(folder.path()).await;
    let created = futures_util::stream::iter(0..MEMBERS).for_each_concurrent(16, |at| {
        let kube = &kube;
        async move {
            kube.ready_pod("apps", &name(at), &json!({ "app": name(at) }), &address(at).to_string()).await;
        }
    });
    created.await;
    let mut zone = "namespace = \"shop\"\nwhen_all_unhealthy = \"none\"\n".to_owned();
    for at in 0..MEMBERS {
        let name = name(at);
        zone += &format!(
            "[services.{name}]\nfrom = [{{ kubernetes = \"eks\", namespace = \"apps\", selector = \"app={name}\", \
             port = 80 }}]\n"
        );
    }
    let started = Instant::now();
    let mut muster = Muster::start(folder.path(), &sources(&kube), &zone).await;
    for at in 0..MEMBERS {
        muster.wait_for_address(&format!("{}.shop", name(at)), &address(at).to_string(), true).await;
    }
    let synced = started.elapsed();
    let mut most = connections(muster.process().id(), kube.port());
    let mut events = kube.watch_pods("apps", "").await;
    let mut took = Vec::new();
    for change in 0..CHANGES {
        let at = rand::random_range(0..MEMBERS);
        let pod_name = name(at);
        let (service, address) = (format!("{pod_name}.shop"), address(at).to_string());
        for ready in [false, true] {
            let told = async {
                loop {
                    let (_, pod, told) = events.next().await;
                    if pod == pod_name {
                        return told;
                    }
                }
            };
            let answered = muster.wait_for_address(&service, &address, ready);
            let (told, answered, ()) = tokio::join!(told, answered, kube.set_ready("apps", &pod_name, ready));
            took.push(answered.saturating_duration_since(told));
        }
        if change % 20 == 0 {
            most = most.max(connections(muster.process().id(), kube.port()));
        }
    }
    println!(
        "Kubernetes, {MEMBERS} members of one namespace: all answered after {synced:.1?}, at most {most} \
         connections; from the API server to the answer: {}",
        spread(&mut took),
    );
    assert!((1..=8).contains(&most), "{most} connections");
}

async fn cluster(folder: &std::path::Path) -> Kube {
    let kube = Kube::start(folder).await;
    kube.namespace("apps").await;
    kube.node("n1", "eu-1a").await;
    kube
}

fn sources(kube: &Kube) -> String {
    format!("[kubernetes.eks]\nkubeconfig = \"{}\"\n", kube.kubeconfig("admin-token").display())
}

fn name(at: impl std::fmt::Display) -> String {
    format!("web-{at}")
}

fn address(at: u16) -> IpAddr {
    let [high, low] = (at + 1).to_be_bytes();
    [10, 1, high, low].into()
}

/// Follows the pods as muster does, until the pod `end` is deleted.
async fn watch(kube: &Arc<Kube>) -> tokio::task::JoinHandle<Truth> {
    kube.ready_pod("apps", "end", &json!({ "app": "end" }), "10.9.0.1").await;
    let mut ready: BTreeSet<IpAddr> = (0..PODS).map(address).collect();
    let mut truth = vec![(Instant::now(), ready.clone())];
    let mut events = kube.watch_pods("apps", "").await;
    tokio::spawn(async move {
        loop {
            let (event, told) = events.next_event().await;
            let pod = &event["object"];
            if pod["metadata"]["name"] == "end" {
                if event["type"] == "DELETED" {
                    return truth;
                }
                continue;
            }
            let address: IpAddr = pod["status"]["podIP"].as_str().unwrap().parse().unwrap();
            let conditions = pod["status"]["conditions"].as_array().unwrap();
            match conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True") {
                true => ready.insert(address),
                false => ready.remove(&address),
            };
            truth.push((told, ready.clone()));
        }
    })
}

/// Flips the readiness of random pods at this rate; at least half stay ready. Returns the number of
/// flips.
async fn flap(kube: &Kube, rate: u32) -> usize {
    let mut next = Flips::new(PODS.into());
    let mut flips = 0;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let began_at = Instant::now();
    while began_at.elapsed() < LASTS {
        ticks.tick().await;
        let Some((at, ready)) = next.next() else { continue };
        kube.set_ready("apps", &name(at), ready).await;
        flips += 1;
    }
    for at in next.dead {
        kube.set_ready("apps", &name(at), true).await;
    }
    flips
}
