//! A real Consul agent in development mode.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
    time::Instant,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::rig::{Process, free_port, http, server, wait_for};

pub struct Consul {
    process: Process,
    address: SocketAddr,
    client: reqwest::Client,
}

impl Consul {
    /// Starts an agent: `binary` is `consul` or `consul-old`.
    pub async fn start(binary: &str, folder: &Path) -> Self {
        let port = free_port();
        let mut command = Command::new(server(binary));
        command.args([
            "agent".into(),
            "-dev".into(),
            "-node=dev".into(),
            "-bind=127.0.0.1".into(),
            "-client=127.0.0.1".into(),
            "-grpc-port=-1".into(),
            "-serf-wan-port=-1".into(),
            "-dns-port=-1".into(),
            "-disable-host-node-id".into(),
            format!("-http-port={port}"),
            format!("-server-port={}", free_port()),
            format!("-serf-lan-port={}", free_port()),
            "-hcl=disable_update_check=true".into(),
            "-hcl=check_update_interval=\"0s\"".into(),
        ] as [String; 14]);
        if binary == "consul" {
            command.arg("-hcl=ports { grpc_tls = -1 }");
        }
        let process = Process::start(&mut command, folder.join(format!("{binary}-{port}.log")));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let consul = Self { process, address, client: http().build().unwrap() };
        wait_for("Consul has a leader", || async {
            let leader = consul.client.get(consul.url("/v1/status/leader")).send().await.ok()?;
            let leader = leader.text().await.ok()?;
            let nodes = consul.get("/v1/catalog/nodes").await?;
            (leader.len() > 4 && !nodes.as_array()?.is_empty()).then_some(())
        })
        .await;
        consul
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops it in its tracks: it accepts connections and answers nothing.
    pub fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// The port of its HTTP API.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> Option<Value> {
        self.client.get(self.url(path)).send().await.ok()?.json().await.ok()
    }

    pub async fn put(&self, path: &str, body: &Value) {
        let response = self.client.put(self.url(path)).json(body).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
    }

    /// Registers an instance with a check that [`flip`](Self::flip) sets.
    pub async fn register_ttl(&self, service: &str, id: &str, address: &str, port: u16) {
        self.register_tagged(service, id, address, port, &[]).await;
    }

    /// As [`register_ttl`](Self::register_ttl), with tags.
    pub async fn register_tagged(&self, service: &str, id: &str, address: &str, port: u16, tags: &[&str]) {
        let body = json!({
            "Name": service, "ID": id, "Address": address, "Port": port, "Tags": tags,
            "Check": { "CheckID": format!("check-{id}"), "TTL": "1h", "Status": "passing" },
        });
        self.put("/v1/agent/service/register", &body).await;
    }

    /// Sets the check of [`register_ttl`](Self::register_ttl): `pass`, `warn` or `fail`.
    pub async fn flip(&self, id: &str, to: &str) {
        self.put(&format!("/v1/agent/check/{to}/check-{id}"), &Value::Null).await;
    }

    pub async fn deregister(&self, id: &str) {
        self.put(&format!("/v1/agent/service/deregister/{id}"), &Value::Null).await;
    }

    /// Waits for the index of a service to pass `index`; returns the new one and the addresses whose
    /// checks do not fail.
    pub async fn healthy(&self, service: &str, index: u64) -> (u64, BTreeSet<IpAddr>) {
        let path = format!("/v1/health/service/{service}?index={index}&wait=60s");
        let response = self.client.get(self.url(&path)).send().await.unwrap();
        let index = response.headers()["x-consul-index"].to_str().unwrap().parse().unwrap();
        let entries: Vec<Value> = response.json().await.unwrap();
        let is_healthy = |entry: &&Value| {
            let checks = entry["Checks"].as_array().unwrap();
            checks.iter().all(|check| check["Status"] != "critical")
        };
        let address = |entry: &Value| entry["Service"]["Address"].as_str().unwrap().parse().unwrap();
        (index, entries.iter().filter(is_healthy).map(address).collect())
    }

    /// The health index of a service now.
    pub async fn index(&self, service: &str) -> u64 {
        self.blocking(service, 0).await.0
    }

    /// Waits for the index to pass `index`; returns the new one and when Consul reported it.
    pub async fn blocking(&self, service: &str, index: u64) -> (u64, Instant) {
        let path = format!("/v1/health/service/{service}?index={index}&wait=60s");
        let response = self.client.get(self.url(&path)).send().await.unwrap();
        let told = Instant::now();
        let index = response.headers()["x-consul-index"].to_str().unwrap().parse().unwrap();
        let _ = response.bytes().await;
        (index, told)
    }
}
