//! How soon a change shows in the answers, counted from when the source itself reports it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{consul::Consul, kube::Kube, muster::Muster, rig::percentile};

/// Flips measured per source, at least.
const FLIPS: usize = 200;

/// Longest median: it tells watching from polling, even on a busy machine. The p99 is only printed:
/// among few flips it is the slowest one, and one stall of the machine is not muster's fault.
const BOUND: Duration = Duration::from_millis(250);

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let (p50, p99) = (percentile(&took, 0.5), percentile(&took, 0.99));
    println!("{what}: {} flips, from the source's word to the answer: p50 {p50:?}, p99 {p99:?}", took.len());
    assert!(p50 < BOUND, "{what}: half of all flips took {p50:?} or longer");
}

/// The answers may follow before the source's report reaches the test: then the time is zero.
fn since(told: Instant, seen: Instant) -> Duration {
    seen.saturating_duration_since(told)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make e2e"]
async fn consul_checks_flip_in_the_answers_when_consul_tells() {
    let folder = tempfile::tempdir().unwrap();
    let consul = Consul::start("consul", folder.path()).await;
    consul.register_ttl("web", "web-1", "10.0.0.1", 80).await;
    consul.register_ttl("web", "web-2", "10.0.0.2", 80).await;
    let zone = "namespace = \"shop\"\n[services.web]\nfrom = [{ consul = \"vms\", service = \"web\" }]";
    let sources = format!("[consul.vms]\naddress = \"{}\"", consul.address());
    let muster = Muster::start(folder.path(), &sources, zone).await;
    muster.wait_for_addresses("web.shop", &["10.0.0.1", "10.0.0.2"]).await;

    let mut took = Vec::new();
    for flip in 0..FLIPS {
        let there = flip % 2 == 1;
        let index = consul.index("web").await;
        let (told, seen, ()) = tokio::join!(
            consul.blocking("web", index),
            muster.wait_for_address("web.shop", "10.0.0.1", there),
            consul.flip("web-1", if there { "pass" } else { "fail" }),
        );
        took.push(since(told.1, seen));
        // Real checks pause between flips; a watch has a budget for those that do not.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    report("Consul, TTL check", took);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make e2e"]
async fn pods_flip_in_the_answers_when_the_api_server_tells() {
    let folder = tempfile::tempdir().unwrap();
    let kube = Kube::start(folder.path()).await;
    kube.namespace("apps").await;
    kube.node("n1", "eu-1a").await;
    let labels = json!({ "app": "web" });
    kube.ready_pod("apps", "web-1", &labels, "10.1.0.1").await;
    kube.ready_pod("apps", "web-2", &labels, "10.1.0.2").await;
    let zone = "namespace = \"shop\"\n[services.web]\n\
        from = [{ kubernetes = \"eks\", namespace = \"apps\", selector = \"app=web\", port = \"http\" }]";
    let sources = format!("[kubernetes.eks]\nkubeconfig = \"{}\"", kube.kubeconfig("admin-token").display());
    let muster = Muster::start(folder.path(), &sources, zone).await;
    muster.wait_for_addresses("web.shop", &["10.1.0.1", "10.1.0.2"]).await;
    let mut watch = kube.watch_pods("apps", "app%3Dweb").await;

    let path = "/api/v1/namespaces/apps/pods/web-1";
    let label = |value: &str| json!({ "metadata": { "labels": { "app": value } } });
    let mut took: [Vec<Duration>; 4] = Default::default();
    let [readiness, labelled, terminating, deleted] = &mut took;
    // Seven flips per round.
    for _ in 0..FLIPS.div_ceil(7) {
        for ready in [false, true] {
            let (event, seen, ()) = tokio::join!(
                watch.next(),
                muster.wait_for_address("web.shop", "10.1.0.1", ready),
                kube.set_ready("apps", "web-1", ready),
            );
            readiness.push(since(event.2, seen));
        }
        for (value, there) in [("other", false), ("web", true)] {
            let patch = label(value);
            let (event, seen, ()) = tokio::join!(
                watch.next(),
                muster.wait_for_address("web.shop", "10.1.0.1", there),
                kube.patch(path, &patch),
            );
            assert_eq!(event.0, if there { "ADDED" } else { "DELETED" });
            labelled.push(since(event.2, seen));
        }
        let (event, seen, ()) = tokio::join!(
            watch.next(),
            muster.wait_for_address("web.shop", "10.1.0.1", false),
            kube.delete_pod("apps", "web-1", false),
        );
        assert_eq!(event.0, "MODIFIED", "it only got its deletionTimestamp");
        terminating.push(since(event.2, seen));
        kube.delete_pod("apps", "web-1", true).await;
        while watch.next().await.0 != "DELETED" {}
        // Ready again under its old name: ADDED without an address, then MODIFIED.
        kube.ready_pod("apps", "web-1", &labels, "10.1.0.1").await;
        watch.next().await;
        let event = watch.next().await;
        deleted.push(since(event.2, muster.wait_for_address("web.shop", "10.1.0.1", true).await));
        // Deleted at once, without a grace period.
        let (event, seen, ()) = tokio::join!(
            watch.next(),
            muster.wait_for_address("web.shop", "10.1.0.1", false),
            kube.delete_pod("apps", "web-1", true),
        );
        deleted.push(since(event.2, seen));
        assert_eq!(event.1, "web-1");
        kube.ready_pod("apps", "web-1", &labels, "10.1.0.1").await;
        while watch.next().await.0 != "MODIFIED" {}
        muster.wait_for_address("web.shop", "10.1.0.1", true).await;
    }
    let all: Vec<_> = took.iter().flatten().copied().collect();
    assert!(all.len() >= FLIPS, "{} flips", all.len());
    let [readiness, labelled, terminating, deleted] = took;
    report("Kubernetes, readiness", readiness);
    report("Kubernetes, labels", labelled);
    report("Kubernetes, deletionTimestamp", terminating);
    report("Kubernetes, deleted and back", deleted);
    report("Kubernetes, all", all);
}
