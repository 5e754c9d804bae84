//! muster itself, as users run it: the binary with a folder of configuration.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use tokio::net::UdpSocket;

use crate::rig::{PATIENCE, Process, free_port, http, output, wait_for};

pub struct Muster {
    process: Process,
    pub dns: SocketAddr,
    admin: SocketAddr,
    zone: PathBuf,
    socket: UdpSocket,
    client: reqwest::Client,
}

impl Muster {
    /// Writes a configuration and serves it; `sources` is the rest of `muster.toml` besides
    /// `[listen]`.
    pub async fn start(folder: &Path, sources: &str, zone: &str) -> Self {
        let dns = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self::start_on(folder, dns, sources, zone).await
    }

    pub async fn start_on(folder: &Path, dns: SocketAddr, sources: &str, zone: &str) -> Self {
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config: PathBuf = folder.join(format!("muster-{}.toml", dns.port()));
        let zones = format!("zones-{}", dns.port());
        std::fs::create_dir_all(folder.join(&zones)).unwrap();
        let zone_file = folder.join(&zones).join("zone.toml");
        std::fs::write(&zone_file, zone).unwrap();
        let text =
            format!("zones = \"{zones}\"\n[listen]\ndns = [\"{dns}\"]\nadmin = \"{admin}\"\n{sources}\n");
        // Top-level keys must stand before the first table.
        let (top, tables): (Vec<_>, Vec<_>) = text
            .lines()
            .partition(|line| ["max_stale", "state", "zones"].iter().any(|key| line.starts_with(key)));
        std::fs::write(&config, format!("{}\n{}\n", top.join("\n"), tables.join("\n"))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.args(["serve", "--log", "muster=debug,info", "--config"]).arg(&config);
        let process = Process::start(&mut command, folder.join(format!("muster-{}.log", dns.port())));
        let socket = UdpSocket::bind((dns.ip(), 0)).await.unwrap();
        let client = http().build().unwrap();
        let mut muster = Self { process, dns, admin, zone: zone_file, socket, client };
        wait_for("muster answers", || {
            let ended = muster.process.has_ended();
            assert!(!ended, "muster has ended:\n{}", muster.process.log());
            let healthy = muster.get("/healthz");
            async { healthy.await.map(|_| ()) }
        })
        .await;
        muster
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Edits the zone file and reloads, as an operator does.
    pub async fn edit(&self, zone: &str) {
        std::fs::write(&self.zone, zone).unwrap();
        let admin = self.admin.to_string();
        let text = output(env!("CARGO_BIN_EXE_muster"), &["reload", "--at", &admin]).await;
        println!("$ muster reload\n{}", text.trim_end());
    }

    /// GETs a path of the admin port: the status and the body.
    pub fn get(&self, path: &str) -> impl Future<Output = Option<(u16, String)>> + use<> {
        let request = self.client.get(format!("http://{}{path}", self.admin));
        async move {
            let response = request.send().await.ok()?;
            let status = response.status().as_u16();
            Some((status, response.text().await.ok()?))
        }
    }

    pub async fn ready(&self) {
        wait_for("muster is ready", || async { (self.get("/readyz").await?.0 == 200).then_some(()) }).await;
    }

    /// Queries once over UDP; a lost datagram is a failure.
    pub async fn ask(&self, name: &str, rtype: RecordType) -> Message {
        let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), rtype));
        self.socket.send_to(&message.to_vec().unwrap(), self.dns).await.unwrap();
        let mut buffer = [0; 4096];
        let (length, _) = tokio::time::timeout(PATIENCE, self.socket.recv_from(&mut buffer))
            .await
            .expect("an answer")
            .unwrap();
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(answer.metadata.id, message.metadata.id);
        answer
    }

    pub async fn code(&self, name: &str) -> ResponseCode {
        self.ask(name, RecordType::A).await.metadata.response_code
    }

    /// The addresses of a name, in the order of the answer.
    pub async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let answer = self.ask(name, RecordType::A).await;
        answer.answers.iter().filter_map(|record| record.data.ip_addr()).collect()
    }

    /// The addresses of a name, sorted, as text.
    pub async fn sorted(&self, name: &str) -> Vec<String> {
        let mut addresses = self.addresses(name).await;
        addresses.sort_unstable();
        addresses.iter().map(IpAddr::to_string).collect()
    }

    pub async fn wait_for_addresses(&self, name: &str, expected: &[&str]) {
        let mut last = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while last != expected {
            assert!(Instant::now() < deadline, "{name}: expected {expected:?}, still {last:?}");
            last = self.sorted(name).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until `address` is (or is not) among the addresses of `name`, querying without a
    /// pause; returns when it was so.
    pub async fn wait_for_address(&self, name: &str, address: &str, there: bool) -> Instant {
        let address: IpAddr = address.parse().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.addresses(name).await.contains(&address) == there {
                return Instant::now();
            }
            assert!(
                Instant::now() < deadline,
                "{name}: {address} should be {}",
                if there { "in" } else { "out" }
            );
        }
    }

    /// The targets of a name's SRV records with their ports, sorted.
    pub async fn services(&self, name: &str) -> Vec<String> {
        let answer = self.ask(name, RecordType::SRV).await;
        let mut services: Vec<_> = answer
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(format!("{}:{}", srv.target, srv.port)),
                _ => None,
            })
            .collect();
        services.sort();
        services
    }
}
