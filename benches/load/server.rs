//! Our own server, fed by a synthetic source through the real catalog.
//!
//! Threads by name, so that their CPU time can be told apart: `source` makes updates, `catalog` takes them in, the
//! UDP worker answers. The process takes commands from its input, one a line, and ends with it:
//!
//! - `instance SERVICE INSTANCE healthy|unhealthy`: one update, at once;
//! - `flips RATE`: from now on so many updates a second, of random instances; says `flipped TOTAL`, the number so far.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool, mpsc as commands},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use muster::{
    catalog::{self, Catalog, Cell},
    config::{self, Config},
    dns::{Responder, udp},
    model::{Health, Import, Instance, Member, Name, Update},
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
/// Updates that may wait for the catalog, as in the server proper.
const CHANNEL: usize = 4096;

/// How `load serve` is run.
#[derive(clap::Args, Debug)]
pub(crate) struct Settings {
    /// Services in the namespace, each with ten instances.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SERVICES)))]
    services: u32,
    /// Health flips a second from the start.
    #[arg(long, default_value_t = 0)]
    flips: u32,
    /// The UDP port on 127.0.0.1; 0 lets the system choose one.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// What the source is told.
enum Command {
    Instance { service: u32, instance: u16, health: Health },
    Flips { rate: u32 },
}

/// Serves until the input ends.
pub(crate) fn serve(settings: &Settings) -> anyhow::Result<()> {
    let started = Instant::now();
    let config = configuration(settings.port)?;
    let metrics = Arc::new(Metrics::new()?);
    let catalog = Catalog::new(&config, 1);
    let cell = Arc::new(Cell::from_pointee(catalog.snapshot()));
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
    let import = config.namespaces.first().and_then(|namespace| namespace.imports().next());
    let source = Source { import: import.context("no import")?.0, services: settings.services, outbox };
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

/// A configuration whose services all come from an import, so that none is named in a file.
fn configuration(port: u16) -> anyhow::Result<Config> {
    let server = format!("[listen]\ndns = [\"127.0.0.1:{port}\"]\n\n[consul.bench]\n");
    let zone = format!(
        "namespace = \"{APEX}\"\nttl = 0\nmax_answers = {INSTANCES}\n\n[[import]]\nconsul = \"bench\"\n"
    );
    let files = [(PathBuf::from("muster.toml"), server), (PathBuf::from("zones/bench.toml"), zone)];
    let loaded = config::load_from(&files).map_err(|report| anyhow::anyhow!("{}", report.render(false)))?;
    Ok(loaded.config)
}

fn wait_until_loaded(address: SocketAddr, services: u32) -> anyhow::Result<()> {
    // The last service's instances come last, so with them everything is there.
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

/// A source that knows services `0..services`, each with ten healthy instances.
struct Source {
    import: Import,
    services: u32,
    outbox: mpsc::Sender<Update>,
}

impl Source {
    /// Loads, then flips at `rate` and does what it is told.
    fn run(&self, rate: u32, told: &commands::Receiver<Command>) -> anyhow::Result<()> {
        self.load()?;
        let mut random = Random::new(1);
        // An instance that flipped down flips up next, so at most one is down at any time.
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
        let services = (0..self.services).map(|number| self.name(number)).collect::<anyhow::Result<_>>()?;
        self.send(Update::Imported { import: self.import.clone(), services })?;
        for number in 0..self.services {
            let instances = (0..INSTANCES).map(|i| instance(number, i, Health::Healthy)).collect();
            self.send(Update::Reset { member: self.member(number)?, instances })?;
        }
        Ok(())
    }

    fn upsert(&self, service: u32, number: u16, health: Health) -> anyhow::Result<()> {
        self.send(Update::Upsert {
            member: self.member(service)?,
            instance: instance(service, number, health),
        })
    }

    fn name(&self, service: u32) -> anyhow::Result<Name> {
        Ok(self.import.apex.child(service_label(service).as_bytes())?)
    }

    fn member(&self, service: u32) -> anyhow::Result<Member> {
        let source = self.import.source.clone();
        Ok(Member { service: self.name(service)?, source, place: Member::IMPORTED })
    }

    fn send(&self, update: Update) -> anyhow::Result<()> {
        self.outbox.blocking_send(update).ok().context("the catalog has ended")
    }
}

/// The time between so many changes a second; `None` without any.
fn interval(rate: u32) -> Option<Duration> {
    (rate > 0).then(|| Duration::from_secs(1) / rate)
}

/// The address of instance `number` of a service: 10.x.y.z, none twice.
pub(crate) fn address(service: u32, number: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(
        u32::from(Ipv4Addr::new(10, 0, 0, 0)) + service * u32::from(INSTANCES) + u32::from(number),
    )
}

fn instance(service: u32, number: u16, health: Health) -> Instance {
    let address = IpAddr::V4(address(service, number));
    Instance { health, ..Instance::at(&format!("i{number}"), address, PORT) }
}
