//! muster itself, fed by a synthetic source through the real catalog.
//!
//! Threads have names, so that their CPU time can be told apart: `source` makes updates, `catalog`
//! applies them, the UDP worker answers. The process takes commands from its input, one per line,
//! and ends with it:
//!
//! - `instance SERVICE INSTANCE healthy|unhealthy`: one update, at once;
//! - `flips RATE`: from now on so many updates per second, of random instances; prints `flipped
//!   TOTAL`, the number so far.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool, mpsc as commands},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use muster::{
    catalog::{self, Catalog, SnapshotCell},
    config::{self, Config},
    dns::{Responder, udp},
    model::{Health, Import, Instance, Member, Name, SourceId, Update},
    telemetry::Metrics,
};
use tokio::sync::mpsc;

use crate::{
    account::Account,
    child::Asker,
    generator::Random,
    question::{APEX, INSTANCES, Kind, MAX_SERVICES, PORT, Template, service_label},
};

/// The name of the catalog's thread.
pub(crate) const CATALOG_THREAD: &str = "catalog";
/// The service whose one instance is the client, if there are routes.
const ASKERS: &str = "askers";
/// Updates that may wait for the catalog, as in the server.
const CHANNEL: usize = 4096;

/// Options of `load serve`.
#[derive(clap::Args, Debug)]
pub(crate) struct Settings {
    /// Services in the namespace, each with ten instances.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SERVICES)))]
    services: u32,
    /// Health flips per second from the start.
    #[arg(long, default_value_t = 0)]
    flips: u32,
    /// Seconds for which answers may be cached.
    #[arg(long, default_value_t = 0)]
    ttl: u32,
    /// Name services in a file, with these routes; without it an import adds them.
    #[arg(long)]
    routes: Option<Routes>,
    /// The UDP port on 127.0.0.1; 0 lets the system choose one.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// Which clients get which instances. Every answer has ten of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Routes {
    /// No routes: all clients get all ten.
    None,
    /// Of twenty, nine lookups out of ten get one half, and one the other half.
    Split,
    /// Of twenty, instances of one service get one half; other clients would get all.
    Clients,
}

impl Routes {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Split, Self::Clients];

    /// Its name on the command line.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Split => "split",
            Self::Clients => "clients",
        }
    }

    /// Its name in tables.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Split => "split",
            Self::Clients => "by client",
        }
    }

    /// The service's keys.
    const fn toml(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Split => {
                "routes = [{ split = [{ labels = { half = \"a\" }, weight = 90 }, { labels = { half = \"b\" }, weight = 10 }] }]\n"
            }
            Self::Clients => {
                "routes = [{ clients = { service = \"askers\" }, split = [{ labels = { half = \"a\" }, weight = 1 }] }]\n"
            }
        }
    }

    /// Instances of each service.
    const fn instances(self) -> u16 {
        match self {
            Self::None => INSTANCES,
            Self::Split | Self::Clients => 2 * INSTANCES,
        }
    }
}

/// A command to the source.
enum Command {
    Instance { service: u32, instance: u16, health: Health },
    Flips { rate: u32 },
}

/// Serves until the input ends.
pub(crate) fn serve(settings: &Settings) -> anyhow::Result<()> {
    let started = Instant::now();
    let config = configuration(settings)?;
    let metrics = Arc::new(Metrics::new()?);
    let catalog = Catalog::new(&config, 1);
    let cell = Arc::new(SnapshotCell::from_pointee(catalog.snapshot()));
    let responder = Arc::new(Responder::new(Arc::clone(&cell), Arc::clone(&metrics), None));
    let address = *config.listen.dns.first().context("no address")?;
    let socket = udp::bind(address, 1)?.pop().context("no socket")?;
    let address = socket.local_addr()?;
    let _worker = udp::spawn(socket, responder, Arc::new(AtomicBool::new(false)), None)?;
    println!("listening {address}");

    let (outbox, inbox) = mpsc::channel(CHANNEL);
    let (_nobody, requests) = mpsc::channel(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    thread::Builder::new()
        .name(CATALOG_THREAD.to_owned())
        .spawn(move || runtime.block_on(catalog::run(catalog, inbox, requests, cell, metrics)))?;
    let namespace = config.namespaces.first().context("no namespace")?;
    let source = Source {
        apex: namespace.apex.clone(),
        import: namespace.imports().next().map(|(import, _)| import),
        id: config.consul.first().context("no source")?.id.clone(),
        services: settings.services,
        instances: settings.routes.map_or(INSTANCES, Routes::instances),
        outbox,
    };
    let (tell, told) = commands::channel();
    let rate = settings.flips;
    thread::Builder::new().name("source".to_owned()).spawn(move || source.run(rate, &told))?;

    wait_until_loaded(address, settings.services)?;
    let memory = Account::of_tree(std::process::id())?.memory()?;
    println!("loaded {:.3} s, {} MiB", started.elapsed().as_secs_f64(), memory >> 20);
    std::io::stdout().flush()?;
    for line in std::io::stdin().lines() {
        let line = line?;
        tell.send(command(&line).with_context(|| format!("cannot read the command {line:?}"))?)?;
    }
    Ok(())
}

/// A configuration whose services all come from an import, so that no file names them; with routes,
/// a file does.
fn configuration(settings: &Settings) -> anyhow::Result<Config> {
    let server = format!("[listen]\ndns = [\"127.0.0.1:{}\"]\n\n[consul.bench]\n", settings.port);
    // An answer with all twenty, which no client should get, has too many records.
    let most = settings.routes.map_or(INSTANCES, Routes::instances);
    let mut zone = format!("namespace = \"{APEX}\"\nttl = {}\nmax_answers = {most}\n\n", settings.ttl);
    match settings.routes {
        None => zone += "[[import]]\nconsul = \"bench\"\n",
        Some(routes) => {
            let from = |label: &str| {
                format!("[services.{label}]\nfrom = [{{ consul = \"bench\", service = \"{label}\" }}]\n")
            };
            zone += &from(ASKERS);
            for number in 0..settings.services {
                zone += &from(&service_label(number));
                zone += routes.toml();
            }
        }
    }
    let files = [(PathBuf::from("muster.toml"), server), (PathBuf::from("zones/bench.toml"), zone)];
    let loaded = config::load_from(&files).map_err(|report| anyhow::anyhow!("{}", report.render(false)))?;
    Ok(loaded.config)
}

fn wait_until_loaded(address: SocketAddr, services: u32) -> anyhow::Result<()> {
    // The last service's instances come last, so everything else is there, too.
    let template = Template::new(Kind::A);
    Asker::new(address)?.ask_until(&template, services - 1, &template.expect())?;
    Ok(())
}

fn command(line: &str) -> Option<Command> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match *words.as_slice() {
        ["instance", service, instance, health] => Some(Command::Instance {
            service: service.parse().ok()?,
            instance: instance.parse().ok()?,
            health: if health == "healthy" { Health::Healthy } else { Health::Unhealthy },
        }),
        ["flips", rate] => Some(Command::Flips { rate: rate.parse().ok()? }),
        _ => None,
    }
}

/// A source of services `0..services`, each with so many healthy instances, and of the client.
struct Source {
    apex: Name,
    /// The import of the services; `None` if a file names them.
    import: Option<Import>,
    id: SourceId,
    services: u32,
    instances: u16,
    outbox: mpsc::Sender<Update>,
}

impl Source {
    /// Loads, then flips at `rate` and carries out commands.
    fn run(&self, rate: u32, told: &commands::Receiver<Command>) -> anyhow::Result<()> {
        self.load()?;
        let mut random = Random::new(1);
        // An instance that flipped down flips up next, so at most one is down at once.
        let mut down = None;
        let mut total = 0_u64;
        let mut between = interval(rate);
        let mut due = Instant::now();
        loop {
            let command = match between {
                Some(_) => told.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => told.recv().map_err(commands::RecvTimeoutError::from),
            };
            match command {
                Ok(Command::Instance { service, instance, health }) => {
                    self.upsert(service, instance, health)?
                }
                Ok(Command::Flips { rate }) => {
                    if rate == 0
                        && let Some((service, instance)) = down.take()
                    {
                        self.upsert(service, instance, Health::Healthy)?;
                        total += 1;
                    }
                    println!("flipped {total}");
                    std::io::stdout().flush()?;
                    between = interval(rate);
                    due = Instant::now();
                }
                Err(commands::RecvTimeoutError::Timeout) => {
                    total += 1;
                    down = match down {
                        Some((service, instance)) => {
                            self.upsert(service, instance, Health::Healthy)?;
                            None
                        }
                        None => {
                            let place = (random.below(self.services), random.below(INSTANCES.into()) as u16);
                            self.upsert(place.0, place.1, Health::Unhealthy)?;
                            Some(place)
                        }
                    };
                    due += between.unwrap_or_default();
                }
                Err(commands::RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn load(&self) -> anyhow::Result<()> {
        if let Some(import) = &self.import {
            let services =
                (0..self.services).map(|number| self.name(number)).collect::<anyhow::Result<_>>()?;
            self.send(Update::Imported { import: import.clone(), services })?;
        } else {
            let asker = Instance {
                health: Health::Healthy,
                ..Instance::at("asker", Ipv4Addr::LOCALHOST.into(), PORT)
            };
            let member = self.member_of(self.apex.child(ASKERS.as_bytes())?);
            self.send(Update::Reset { member, instances: vec![asker] })?;
        }
        for number in 0..self.services {
            let healthy = |i| instance(number, i, Health::Healthy, self.import.is_none());
            let instances = (0..self.instances).map(healthy).collect();
            self.send(Update::Reset { member: self.member(number)?, instances })?;
        }
        Ok(())
    }

    fn upsert(&self, service: u32, number: u16, health: Health) -> anyhow::Result<()> {
        self.send(Update::Upsert {
            member: self.member(service)?,
            instance: instance(service, number, health, self.import.is_none()),
        })
    }

    fn name(&self, service: u32) -> anyhow::Result<Name> {
        Ok(self.apex.child(service_label(service).as_bytes())?)
    }

    fn member(&self, service: u32) -> anyhow::Result<Member> {
        Ok(self.member_of(self.name(service)?))
    }

    fn member_of(&self, service: Name) -> Member {
        let place = if self.import.is_some() { Member::IMPORTED } else { 0 };
        Member { service, source: self.id.clone(), place }
    }

    fn send(&self, update: Update) -> anyhow::Result<()> {
        self.outbox.blocking_send(update).ok().context("the catalog has ended")
    }
}

/// The time between updates at this rate; `None` for 0.
fn interval(rate: u32) -> Option<Duration> {
    (rate > 0).then(|| Duration::from_secs(1) / rate)
}

/// The address of instance `number` of a service: 10.x.y.z, from the eleventh instance on 11.x.y.z;
/// each is unique.
pub(crate) fn address(service: u32, number: u16) -> Ipv4Addr {
    let (tens, ones) = (u32::from(number / INSTANCES), u32::from(number % INSTANCES));
    Ipv4Addr::from_bits(((10 + tens) << 24) + service * u32::from(INSTANCES) + ones)
}

/// An instance of a service. The first ten are one half of it, the others the other half; only
/// routes look at that.
fn instance(service: u32, number: u16, health: Health, has_halves: bool) -> Instance {
    let half = if number < INSTANCES { "a" } else { "b" };
    Instance {
        health,
        labels: has_halves.then_some(("half", half)).into_iter().collect(),
        ..Instance::at(&format!("i{number}"), address(service, number).into(), PORT)
    }
}
