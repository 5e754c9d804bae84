//! Kuma's canary: nine in ten lookups of benigno by magnanimo go to v1; other clients are not
//! affected.

use serde_json::json;

use crate::{
    kube::Kube,
    load::{Client, together},
    muster::Muster,
};

/// Loopback addresses, since magnanimo queries from its own.
const MAGNANIMO: &str = "127.0.40.1";
const TESTER: &str = "127.0.40.9";
const OTHER_CLIENT: &str = "127.0.40.77";
const V1: [&str; 3] = ["127.0.50.1", "127.0.50.2", "127.0.50.3"];
const V2: &str = "127.0.50.4";

const ZONE: &str = r#"
namespace = "kong-mesh-app"

[services.magnanimo]
from = [{ kubernetes = "eks", namespace = "kong-mesh-app", selector = "app=magnanimo", port = 4000 }]

[services.benigno]
from = [{ kubernetes = "eks", namespace = "kong-mesh-app", selector = "app=benigno", port = 5000 }]
max_answers = 1
routes = [
  { clients = { service = "magnanimo" }, split = [
      { labels = { version = "v1" }, weight = 90 },
      { labels = { version = "v2" }, weight = 10 } ] },
  { clients = { kube_namespace = "qa" }, split = [{ labels = { version = "v2" }, weight = 1 }] },
]
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make e2e"]
async fn who_asks_decides() {
    let folder = tempfile::tempdir().unwrap();
    let kube = Kube::start(folder.path()).await;
    for namespace in ["kong-mesh-app", "qa", "muster"] {
        kube.namespace(namespace).await;
    }
    kube.node("n1", "eu-1a").await;
    for (at, address) in V1.iter().enumerate() {
        let labels = json!({ "app": "benigno", "version": "v1" });
        kube.ready_pod("kong-mesh-app", &format!("benigno-v1-{at}"), &labels, address).await;
    }
    kube.ready_pod("kong-mesh-app", "benigno-v2", &json!({ "app": "benigno", "version": "v2" }), V2).await;
    kube.ready_pod("kong-mesh-app", "magnanimo", &json!({ "app": "magnanimo" }), MAGNANIMO).await;
    kube.ready_pod("qa", "tester", &json!({ "run": "tester" }), TESTER).await;

    // With exactly the rights of the project's own manifest.
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes/rbac.yaml");
    kube.create_manifest(&std::fs::read_to_string(manifest).unwrap()).await;
    let kubeconfig = kube.kubeconfig(&kube.token("muster", "muster").await);
    let sources =
        format!("[kubernetes.eks]\nkubeconfig = \"{}\"\nidentify_clients = true\n", kubeconfig.display());
    let muster = Muster::start(folder.path(), &sources, ZONE).await;
    muster.ready().await;
    muster.wait_for_addresses("magnanimo.kong-mesh-app", &[MAGNANIMO]).await;

    let ask = |client: &str| Client::new(muster.dns, "benigno.kong-mesh-app", client);
    let firsts = ask(MAGNANIMO).firsts(200);
    println!("magnanimo, 200 lookups: {firsts:?}");
    assert!(together(&firsts, &V1).abs_diff(180) <= 1, "{firsts:?}");
    assert!(together(&firsts, &[V2]).abs_diff(20) <= 1, "{firsts:?}");

    let firsts = ask(OTHER_CLIENT).firsts(200);
    println!("another client: {firsts:?}");
    assert!(firsts.values().all(|count| *count == 50) && firsts.len() == 4, "plain rotation: {firsts:?}");

    let firsts = ask(TESTER).firsts(20);
    println!("a pod that is no instance of anything, in the namespace qa: {firsts:?}");
    assert_eq!(together(&firsts, &[V2]), 20, "{firsts:?}");

    // The pod goes, and another one gets its address.
    kube.delete_pod("kong-mesh-app", "magnanimo", true).await;
    muster.wait_for_addresses("magnanimo.kong-mesh-app", &[]).await;
    kube.ready_pod("qa", "tester-2", &json!({ "run": "tester" }), MAGNANIMO).await;
    crate::rig::wait_for("the address is the tester's", || async {
        (together(&ask(MAGNANIMO).firsts(20), &[V2]) == 20).then_some(())
    })
    .await;
}
