//! A real Consul that is wrong about all instances of a service, or right about most of them, and
//! muster's second opinion by probes.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::{
    consul::Consul,
    load::{Answer, Client},
    muster::Muster,
    rig::free_port,
};

/// Instances of the service.
const INSTANCES: u8 = 20;
/// The check of the node that all instances are on. It fails like that of an agent that is cut off.
const NODE_CHECK: &str = "node";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make faults"]
async fn probes_tell_a_wrong_source_from_dead_instances() {
    println!("Consul, one service of {INSTANCES} instances on one node, second_opinion = {{ tcp = true }}:");
    for (what, dead, port_state) in [
        ("cut off, all alive", 0, Port::Open),
        ("18 of 20 closed their ports", 18, Port::Closed),
        ("18 of 20 take no packets", 18, Port::Silent),
    ] {
        let service = Service::start(dead, port_state).await;
        let load = Client::new(service.muster.dns, "web.shop", "127.0.0.1").keep_asking();
        let condemned = service.condemn_all().await;
        // Longer than an opinion counts, so that the open ones are probed again.
        tokio::time::sleep(Duration::from_secs(8)).await;
        let answers = load.end();
        let lacks = |answer: &&Answer| (dead..INSTANCES).any(|at| !answer.addresses.contains(&address(at)));
        let lacking = answers.iter().filter(lacks).count();
        let is_dead = |address: &IpAddr| (0..dead).any(|at| *address == self::address(at));
        let is_clean = |answer: &&Answer| answer.came > condemned && !answer.addresses.iter().any(is_dead);
        let gone = answers.iter().find(is_clean).map(|answer| answer.came - condemned).filter(|_| dead > 0);
        let gone = gone.map(|gone| format!("; without dead ones after {gone:.1?}")).unwrap_or_default();
        println!("  {what}: {} answers, 0 empty, {lacking} without a live instance{gone}", answers.len());
        assert_eq!(lacking, 0, "{what}");
    }
    let service = Service::start(INSTANCES, Port::Silent).await;
    let condemned = service.condemn_all().await;
    let gone = crate::rig::wait_for("the source counts again", || async {
        service.muster.addresses("web.shop").await.is_empty().then(Instant::now)
    });
    println!("  all behind a firewall: the source counts again after {:.1?}", gone.await - condemned);
}

/// What the port of a dead instance does.
#[derive(Clone, Copy, PartialEq)]
enum Port {
    Open,
    Closed,
    /// It takes no more connections and refuses none, like a host that is off.
    Silent,
}

/// A service whose instances Consul knows as healthy, and muster.
struct Service {
    _folder: tempfile::TempDir,
    consul: Consul,
    muster: Muster,
    _alive: Vec<Accepting>,
    _silent: Vec<Deaf>,
}

impl Service {
    /// Of its instances the first `dead` are dead.
    async fn start(dead: u8, port_state: Port) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let consul = Consul::start("consul", folder.path()).await;
        let port = free_port();
        let check = json!({ "ID": NODE_CHECK, "Name": "agent", "TTL": "1h", "Status": "passing" });
        consul.put("/v1/agent/check/register", &check).await;
        let (mut alive, mut silent) = (Vec::new(), Vec::new());
        for at in 0..INSTANCES {
            let socket = SocketAddr::new(address(at), port);
            consul.register_ttl("web", &format!("web-{at}"), &address(at).to_string(), port).await;
            if at >= dead {
                alive.push(Accepting::start(socket).await);
            } else if port_state == Port::Silent {
                silent.push(Deaf::start(socket).await);
            }
        }
        let sources =
            format!("[consul.vms]\naddress = \"{}\"\nsecond_opinion = {{ tcp = true }}", consul.address());
        let zone = "namespace = \"shop\"\nmax_answers = 20\nwhen_all_unhealthy = \"none\"\n\
            [services.web]\nfrom = [{ consul = \"vms\", service = \"web\" }]";
        let muster = Muster::start(folder.path(), &sources, zone).await;
        let all: Vec<String> = (0..INSTANCES).map(|at| address(at).to_string()).collect();
        muster.wait_for_addresses("web.shop", &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
        Self { _folder: folder, consul, muster, _alive: alive, _silent: silent }
    }

    /// Lets Consul condemn all instances at once; returns when it was told to.
    async fn condemn_all(&self) -> Instant {
        let condemned = Instant::now();
        self.consul.put(&format!("/v1/agent/check/fail/{NODE_CHECK}"), &json!(null)).await;
        condemned
    }
}

fn address(at: u8) -> IpAddr {
    [127, 0, 3, at + 1].into()
}

/// A server that accepts connections until it is dropped.
struct Accepting(tokio::task::JoinHandle<()>);

impl Accepting {
    async fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self(tokio::spawn(async move { while listener.accept().await.is_ok() {} }))
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A server whose queue of connections is full: the system drops what comes for it.
struct Deaf {
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Deaf {
    async fn start(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
        {
            queued.push(stream.unwrap());
            assert!(queued.len() < 16, "the queue of {address} is full by now");
        }
        Self { _listener: listener, _queued: queued }
    }
}
