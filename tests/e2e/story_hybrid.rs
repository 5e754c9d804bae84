//! A service half on VMs under Consul and half in Kubernetes, as one name.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use serde_json::json;

use crate::{
    consul::Consul,
    kube::Kube,
    muster::Muster,
    rig::{Page, is_installed, output, with_resolv_conf},
};

const VM_PAGE: &str = "Welcome to Nginx I am run in ec2-server\n";
const POD_PAGE: &str = "<h1>Welcome to nginx!</h1>\n";

/// Where the VM and the pods are: loopback addresses, since the test connects to them.
const VM: &str = "127.0.2.5";
const PODS: [&str; 3] = ["127.0.3.1", "127.0.3.2", "127.0.3.3"];

const ZONE: &str = r#"
namespace = "cloudmapdemo"
ttl = 0

[services.nginx]
from = [
  { consul = "vms", service = "nginx" },
  { kubernetes = "eks", namespace = "my-apps", selector = "app=nginx", port = 80 },
]

[services.web]
from = [{ kubernetes = "eks", namespace = "my-apps", service = "nginx" }]

[[import]]
consul = "vms"
exclude = ["consul"]
"#;

async fn register_vm(consul: &Consul) {
    let body = json!({
        "Name": "nginx", "ID": format!("app-{VM}"), "Address": VM, "Port": 80, "Tags": ["service nginx"],
        "Check": { "HTTP": format!("http://{VM}/index.html"), "Interval": "100ms", "Timeout": "1s" },
    });
    consul.put("/v1/agent/service/register", &body).await;
}

async fn start_pods(kube: &Kube) {
    kube.namespace("my-apps").await;
    kube.node("n1", "eu-1a").await;
    for (at, address) in PODS.iter().enumerate() {
        kube.ready_pod("my-apps", &format!("nginx-{at}"), &json!({ "app": "nginx" }), address).await;
    }
    // The object that the endpoint slice controller would write; these addresses are only data.
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "nginx-abc", "labels": { "kubernetes.io/service-name": "nginx" } },
        "ports": [{ "name": "http", "protocol": "TCP", "port": 80 }],
        "endpoints": [
            { "addresses": ["10.10.3.168"], "conditions": { "ready": true }, "zone": "eu-1a" },
            { "addresses": ["10.10.3.169"], "conditions": { "ready": false } },
            { "addresses": ["10.10.3.170"], "conditions": { "ready": false, "serving": true, "terminating": true } },
        ],
    });
    kube.create("/apis/discovery.k8s.io/v1/namespaces/my-apps/endpointslices", &slice).await;
}

/// Starts muster with exactly the rights of the project's own manifest.
async fn kubernetes_source(kube: &Kube) -> String {
    kube.namespace("muster").await;
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/rbac.yaml");
    kube.create_manifest(&std::fs::read_to_string(manifest).unwrap()).await;
    let token = kube.token("muster", "muster").await;
    format!("[kubernetes.eks]\nkubeconfig = \"{}\"\n", kube.kubeconfig(&token).display())
}

async fn hybrid(consul_binary: &str) {
    let folder = tempfile::tempdir().unwrap();
    let address = |host: &str| SocketAddr::from((host.parse::<std::net::IpAddr>().unwrap(), 80));
    let vm_page = Page::serve(address(VM), VM_PAGE).await;
    let mut pages = Vec::new();
    for pod in PODS {
        pages.push(Page::serve(address(pod), POD_PAGE).await);
    }
    let consul = Consul::start(consul_binary, folder.path()).await;
    register_vm(&consul).await;
    let kube = Kube::start(folder.path()).await;
    start_pods(&kube).await;
    let sources =
        format!("[consul.vms]\naddress = \"{}\"\n{}", consul.address(), kubernetes_source(&kube).await);
    // Port 53, since that is where stub resolvers look.
    let dns: SocketAddr = "127.0.53.53:53".parse().unwrap();
    let muster = Muster::start_on(folder.path(), dns, &sources, ZONE).await;
    muster.ready().await;

    let all = [VM, PODS[0], PODS[1], PODS[2]];
    muster.wait_for_addresses("nginx.cloudmapdemo", &all).await;
    check_dig(&all).await;
    check_rotation(&muster, &all).await;
    check_stub_resolver(folder.path()).await;

    // EndpointSlices: ready ones only, and a name for each.
    muster.wait_for_addresses("web.cloudmapdemo", &["10.10.3.168"]).await;
    assert_eq!(muster.services("_http._tcp.web.cloudmapdemo").await.len(), 1);

    // The VM's server stops: Consul's check fails, and the name follows. Then it comes back.
    vm_page.stop().await;
    muster.wait_for_addresses("nginx.cloudmapdemo", &PODS).await;
    let _vm_page = Page::serve(address(VM), VM_PAGE).await;
    muster.wait_for_addresses("nginx.cloudmapdemo", &all).await;

    // Imported services come and go with Consul's list.
    consul.register_ttl("billing", "billing-1", "10.10.2.6", 8080).await;
    muster.wait_for_addresses("billing.cloudmapdemo", &["10.10.2.6"]).await;
    consul.deregister("billing-1").await;
    muster.wait_for_addresses("billing.cloudmapdemo", &[]).await;
    drop((kube, pages));
}

async fn check_dig(all: &[&str]) {
    let text = output("dig", &["@127.0.53.53", "nginx.cloudmapdemo", "+noall", "+answer", "+comments"]).await;
    println!("$ dig @127.0.53.53 nginx.cloudmapdemo\n{text}");
    assert!(text.contains("status: NOERROR") && text.contains("flags: qr aa rd"), "{text}");
    for address in all {
        let answered = text.lines().any(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            fields == ["nginx.cloudmapdemo.", "0", "IN", "A", address]
        });
        assert!(answered, "{address} with TTL 0 in\n{text}");
    }
}

async fn check_rotation(muster: &Muster, all: &[&str]) {
    let mut counts = BTreeMap::new();
    let mut firsts = Vec::new();
    for _ in 0..10_000 {
        let first = muster.addresses("nginx.cloudmapdemo").await[0].to_string();
        *counts.entry(first.clone()).or_insert(0_u32) += 1;
        firsts.push(first);
    }
    let at = |address: &String| all.iter().position(|a| a == address).unwrap();
    for pair in firsts.windows(2) {
        assert_eq!((at(&pair[0]) + 1) % all.len(), at(&pair[1]), "successive instances");
    }
    let (least, most) = (*counts.values().min().unwrap(), *counts.values().max().unwrap());
    println!("first addresses of 10,000 lookups: {counts:?}");
    assert!(f64::from(most - least) / f64::from(most) < 0.05, "{counts:?}");
}

async fn check_stub_resolver(folder: &Path) {
    let script = "getent ahostsv4 nginx.cloudmapdemo; for i in 1 2 3 4 5 6 7 8; do curl -sS -m 5 http://nginx.cloudmapdemo; done";
    let text = with_resolv_conf(folder, "127.0.53.53", script).await;
    println!("$ with nameserver 127.0.53.53: {script}\n{text}");
    assert!(text.contains(VM) && text.contains(PODS[0]), "getent shows both kinds:\n{text}");
    assert!(text.contains(VM_PAGE.trim()) && text.contains(POD_PAGE.trim()), "curl gets both pages:\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers and root: make e2e"]
async fn one_name_over_consul_and_kubernetes() {
    hybrid("consul").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers and root: make e2e"]
async fn one_name_over_an_old_consul_and_kubernetes() {
    if !is_installed("consul-old") {
        return;
    }
    hybrid("consul-old").await;
}
