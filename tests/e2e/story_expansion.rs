//! Istio's mesh expansion: services on VMs join those in pods by a few lines.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::ResponseCode;
use serde_json::json;

use crate::{
    kube::Kube,
    muster::Muster,
    rig::{Page, output, wait_for},
};

/// Loopback addresses, since the test connects to them.
const DATABASE: &str = "127.0.60.202";
const DETAILS_VM: &str = "127.0.60.203";
const DETAILS_POD: &str = "127.0.61.1";

fn at(host: &str, port: u16) -> SocketAddr {
    (host.parse::<IpAddr>().unwrap(), port).into()
}

fn zone() -> String {
    format!(
        r#"
namespace = "bookinfo"

[services.mysqldb]
from = [{{ static = ["{DATABASE}:3306"], check = {{ tcp = true, interval = "100ms", rise = 1, fall = 1 }} }}]
when_all_unhealthy = "none"

[services.details]
from = [
  {{ kubernetes = "eks", namespace = "bookinfo", selector = "app=details", port = 9080 }},
  {{ static = [{{ id = "vm-1", address = "{DETAILS_VM}", port = 9080 }}],
    check = {{ http = "/health", interval = "100ms", rise = 1, fall = 1 }} }},
]
names = {{ "vm.details" = {{ source = "static" }} }}

[services.db]
alias = "mysqldb"
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make e2e"]
async fn services_on_vms_join_those_in_pods() {
    let folder = tempfile::tempdir().unwrap();
    let kube = Kube::start(folder.path()).await;
    kube.namespace("bookinfo").await;
    kube.node("n1", "eu-1a").await;
    kube.ready_pod("bookinfo", "details-v1", &json!({ "app": "details" }), DETAILS_POD).await;
    let database = Page::serve(at(DATABASE, 3306), "5.7.44").await;
    let _vm = Page::serve(at(DETAILS_VM, 9080), "details on a VM").await;
    let _pod = Page::serve(at(DETAILS_POD, 9080), "details in a pod").await;
    let sources = format!("[kubernetes.eks]\nkubeconfig = \"{}\"", kube.kubeconfig("admin-token").display());
    let muster = Muster::start(folder.path(), &sources, &zone()).await;
    muster.ready().await;

    muster.wait_for_addresses("mysqldb.bookinfo", &[DATABASE]).await;
    muster.wait_for_addresses("details.bookinfo", &[DETAILS_VM, DETAILS_POD]).await;
    muster.wait_for_addresses("vm.details.bookinfo", &[DETAILS_VM]).await;
    assert_eq!(muster.sorted("vm-1.details.bookinfo").await, [DETAILS_VM], "an instance's own name");
    assert_eq!(muster.sorted("db.bookinfo").await, [DATABASE], "an alias");
    assert_eq!(muster.services("mysqldb.bookinfo").await.len(), 1);

    // Both are reached at the addresses of the name, in turn.
    let mut pages = Vec::new();
    for _ in 0..4 {
        let url = format!("http://{}:9080/", muster.addresses("details.bookinfo").await[0]);
        pages.push(output("curl", &["-sS", "-m", "5", &url]).await);
    }
    println!("{pages:?}");
    for kind in ["details on a VM", "details in a pod"] {
        assert_eq!(pages.iter().filter(|page| *page == kind).count(), 2, "{pages:?}");
    }

    // The database stops and comes back.
    database.stop().await;
    wait_for("no database", || async {
        let gone = muster.addresses("mysqldb.bookinfo").await.is_empty();
        (gone && muster.code("mysqldb.bookinfo").await == ResponseCode::NoError).then_some(())
    })
    .await;
    let _database = Page::serve(at(DATABASE, 3306), "5.7.44").await;
    muster.wait_for_addresses("mysqldb.bookinfo", &[DATABASE]).await;
}
