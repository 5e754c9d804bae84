//! The bench: how much is measured, on which cores, and the servers that can take part.

use std::{path::PathBuf, time::Duration};

use tempfile::TempDir;

use crate::{
    child::{Cores, Server},
    forwarders::Forwarder,
    generator::{Generator, Load},
    other::Binary,
    question::{Kind, Template},
    results::Latency,
    rivals::{Rival, Setup, write_zone},
    server::Routes,
};

/// The options of the command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) only: Vec<String>,
    pub(crate) rivals_rotate: bool,
    pub(crate) out: Option<PathBuf>,
}

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Length of one server's turn.
    pub(crate) turn: Duration,
    /// Turns of a latency measurement: more and shorter ones, since one disturbance spoils a whole
    /// turn.
    pub(crate) latency_rounds: usize,
    pub(crate) latency_turn: Duration,
    /// Load before each turn that is not counted: the other servers have used the caches since.
    pub(crate) warm_up: Duration,
    /// Names of the small namespace.
    pub(crate) few: u32,
    /// Names of the large one.
    pub(crate) many: u32,
    /// Changes whose time to show in answers is measured.
    pub(crate) visible: usize,
    /// Source ports that stand for many clients.
    pub(crate) sockets: usize,
    /// Queries outstanding at saturation: four full batches, and few enough for the kernel's
    /// default receive buffer (212,992 bytes, 1,280 per packet), which Knot uses.
    pub(crate) window: usize,
    /// Queries per second of a latency measurement.
    pub(crate) rate: u32,
    /// Queries per second whose answers are not cached.
    pub(crate) miss_rate: u32,
    /// Health changes per second while their effect is measured.
    pub(crate) flips: u32,
    pub(crate) rivals_rotate: bool,
}

impl Plan {
    pub(crate) fn new(options: &Options) -> Self {
        let full = Self {
            rounds: 5,
            turn: Duration::from_secs(2),
            latency_rounds: 15,
            latency_turn: Duration::from_secs(1),
            warm_up: Duration::from_millis(100),
            few: 1_000,
            many: 100_000,
            visible: 201,
            sockets: 32,
            window: 128,
            rate: 20_000,
            miss_rate: 1_000,
            flips: 1_000,
            rivals_rotate: options.rivals_rotate,
        };
        if !options.quick {
            return full;
        }
        Self {
            rounds: 2,
            turn: Duration::from_millis(200),
            latency_rounds: 2,
            latency_turn: Duration::from_millis(200),
            warm_up: Duration::from_millis(20),
            few: 100,
            many: 2_000,
            visible: 21,
            ..full
        }
    }
}

/// State that all parts of a run share.
pub(crate) struct Bench {
    pub(crate) plan: Plan,
    pub(crate) cores: Cores,
    pub(crate) rivals: Vec<Rival>,
    /// The muster binary built here and the one to compare it with, or none.
    pub(crate) binaries: Vec<Binary>,
    pub(crate) forwarders: Vec<Forwarder>,
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new(plan: Plan) -> anyhow::Result<Self> {
        let (rivals, missing): (Vec<_>, Vec<_>) =
            Rival::ALL.into_iter().partition(|rival| rival.version().is_some());
        for rival in missing {
            println!(
                "{} is not installed and left out: benches/install, or apt install {}",
                rival.title(),
                rival.package()
            );
        }
        let (forwarders, missing): (Vec<_>, Vec<_>) =
            Forwarder::ALL.into_iter().partition(|forwarder| forwarder.version().is_some());
        for package in missing.into_iter().filter_map(Forwarder::package) {
            println!("{package} is not installed and left out: benches/install, or apt install {package}");
        }
        let binaries = Binary::to_compare()?;
        Ok(Self { plan, cores: Cores::take()?, rivals, binaries, forwarders, folder: tempfile::tempdir()? })
    }

    /// Starts muster with so many services.
    pub(crate) fn muster(&self, services: u32) -> anyhow::Result<Server> {
        let arguments = ["serve".to_owned(), "--services".to_owned(), services.to_string()];
        Server::start_own(&arguments, self.cores)
    }

    /// Starts muster with services that a file names, and these routes.
    pub(crate) fn routed(&self, services: u32, routes: Routes) -> anyhow::Result<Server> {
        let arguments = ["serve", "--services", &services.to_string(), "--routes", routes.key()];
        Server::start_own(&arguments.map(str::to_owned), self.cores)
    }

    /// Starts the upstream of forwarders; its answers may be cached for `ttl` seconds.
    pub(crate) fn upstream(&self, services: u32, ttl: u32) -> anyhow::Result<Server> {
        let arguments = ["serve", "--services", &services.to_string(), "--ttl", &ttl.to_string()];
        Server::start_own(&arguments.map(str::to_owned), self.cores)
    }

    pub(crate) fn echo(&self, size: usize) -> anyhow::Result<Server> {
        Server::start_own(&["echo".to_owned(), "--size".to_owned(), size.to_string()], self.cores)
    }

    pub(crate) fn rival(&self, rival: Rival, services: u32, kind: Kind) -> anyhow::Result<Server> {
        let zone = self.folder.path().join(format!("{services}.zone"));
        if !zone.exists() {
            write_zone(&zone, services)?;
        }
        let folder = tempfile::Builder::new().prefix(rival.package()).tempdir_in(self.folder.path())?.keep();
        let setup = Setup { zone: &zone, services, kind, rotate: self.plan.rivals_rotate };
        rival.start(&setup, &folder, self.cores)
    }

    /// Starts a muster binary with so many services in a zone file.
    pub(crate) fn binary(&self, binary: &Binary, services: u32) -> anyhow::Result<Server> {
        let folder = tempfile::Builder::new().prefix("muster").tempdir_in(self.folder.path())?.keep();
        binary.start(services, &folder, self.cores)
    }

    /// A load of `kind` on `server` and its names, from so many ports.
    pub(crate) fn load(&self, server: &Server, kind: Kind, names: u32, sockets: usize) -> Load {
        let template = Template::new(kind);
        Load { server: server.address, expect: template.expect(), template, names, sockets }
    }

    pub(crate) fn forwarder(
        &self,
        forwarder: Forwarder,
        upstream: &Server,
        names: u32,
    ) -> anyhow::Result<Server> {
        let folder =
            tempfile::Builder::new().prefix(forwarder.title()).tempdir_in(self.folder.path())?.keep();
        forwarder.start(upstream.address, names - 1, &folder, self.cores)
    }
}

impl Latency {
    pub(crate) fn new(label: &str) -> Self {
        Self { label: label.to_owned(), p50: Vec::new(), p99: Vec::new(), lost: 0 }
    }

    /// Queries for one turn at `rate` per second and notes the times.
    pub(crate) fn round(&mut self, plan: &Plan, rate: u32, generator: &mut Generator) -> anyhow::Result<()> {
        generator.open(rate, plan.warm_up)?;
        let tally = generator.open(rate, plan.latency_turn)?;
        self.p50.push(tally.latency.quantile(0.5) as f64 / 1e3);
        self.p99.push(tally.latency.quantile(0.99) as f64 / 1e3);
        self.lost += tally.lost;
        Ok(())
    }
}
