//! The run: every part in order, every server in turns.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::{
    cases::{CASES, Case, thousands},
    chart,
    child::{Asker, Cores, Server},
    forwarders::Forwarder,
    generator::{Generator, Load},
    question::{Expect, Kind, Template},
    report,
    results::{CaseResult, ECHO, Latency, MUSTER, Measured, Results, Round, Turns},
    rivals::{Rival, Setup, write_zone},
    scale,
    server::Routes,
};

/// What the command line asks for.
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
    /// Turns where latency is measured: more and shorter ones, since one disturbance spoils the whole turn.
    pub(crate) latency_rounds: usize,
    pub(crate) latency_turn: Duration,
    /// Load before each turn that is not counted: the others have had the caches since.
    pub(crate) warm_up: Duration,
    /// Names of the small namespace.
    pub(crate) few: u32,
    /// Names of the large one.
    pub(crate) many: u32,
    /// Changes whose way to the answers is timed.
    pub(crate) visible: usize,
    /// Source ports where many clients ask.
    pub(crate) sockets: usize,
    /// Questions outstanding at saturation: four full batches, and so few that they fit into the kernel's default receive
    /// buffer (212,992 bytes, 1,280 a packet), which is all that Knot has.
    pub(crate) window: usize,
    /// Questions a second where latency is measured.
    pub(crate) rate: u32,
    /// Questions a second whose answers nobody keeps.
    pub(crate) miss_rate: u32,
    /// Health changes a second where their effect is measured.
    pub(crate) flips: u32,
    pub(crate) rivals_rotate: bool,
}

impl Plan {
    fn new(options: &Options) -> Self {
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

/// What all parts share.
pub(crate) struct Bench {
    pub(crate) plan: Plan,
    pub(crate) cores: Cores,
    pub(crate) rivals: Vec<Rival>,
    pub(crate) forwarders: Vec<Forwarder>,
    folder: TempDir,
}

/// Parts that are not cases of saturation.
const OTHER_PARTS: [&str; 5] = ["routes", "cache", "latency", "misses", "scale"];

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let known =
        |part: &String| CASES.iter().any(|case| case.key == part) || OTHER_PARTS.contains(&part.as_str());
    if let Some(part) = options.only.iter().find(|part| !known(part)) {
        let keys: Vec<_> = CASES.iter().map(|case| case.key).chain(OTHER_PARTS).collect();
        bail!("there is no part {part:?}; the parts are {}", keys.join(", "));
    }
    let wanted = |part: &str| options.only.is_empty() || options.only.iter().any(|only| only == part);
    let started = Instant::now();
    let bench = Bench::new(Plan::new(options))?;
    let mut results = Results::default();
    for case in CASES.iter().filter(|case| wanted(case.key)) {
        results.cases.push(bench.case(case).with_context(|| format!("case {}", case.key))?);
    }
    if wanted("routes") {
        results.routes = Some(bench.routes().context("routes")?);
    }
    if wanted("cache") {
        results.cache = Some(bench.cache().context("cache")?);
    }
    if wanted("latency") {
        results.latency = bench.latency().context("latency")?;
    }
    if wanted("misses") {
        results.misses = bench.misses().context("misses")?;
    }
    if wanted("scale") {
        results.scale = Some(scale::measure(&bench).context("scale")?);
    }

    let whole = !options.quick && options.only.is_empty();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = options.out.clone().unwrap_or_else(|| root.join(if whole { "docs" } else { "target/bench" }));
    fs::create_dir_all(&out)?;
    fs::write(out.join("performance.svg"), chart::draw(&results))?;
    let text = report::write(&results, &bench, whole, started.elapsed());
    fs::write(out.join("PERFORMANCE.md"), &text)?;
    println!("\n{text}\nwritten to {} after {} s", out.display(), started.elapsed().as_secs());
    Ok(())
}

impl Bench {
    fn new(plan: Plan) -> anyhow::Result<Self> {
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
        Ok(Self { plan, cores: Cores::take()?, rivals, forwarders, folder: tempfile::tempdir()? })
    }

    /// Starts muster with so many services.
    pub(crate) fn muster(&self, services: u32) -> anyhow::Result<Server> {
        let arguments = ["serve".to_owned(), "--services".to_owned(), services.to_string()];
        Server::start_own(&arguments, self.cores)
    }

    /// Starts muster with services that a file names, and such routes.
    fn routed(&self, services: u32, routes: Routes) -> anyhow::Result<Server> {
        let arguments = ["serve", "--services", &services.to_string(), "--routes", routes.key()];
        Server::start_own(&arguments.map(str::to_owned), self.cores)
    }

    /// Starts what forwarders ask, whose answers may be kept for `ttl` seconds.
    fn upstream(&self, services: u32, ttl: u32) -> anyhow::Result<Server> {
        let arguments = ["serve", "--services", &services.to_string(), "--ttl", &ttl.to_string()];
        Server::start_own(&arguments.map(str::to_owned), self.cores)
    }

    fn echo(&self, size: usize) -> anyhow::Result<Server> {
        Server::start_own(&["echo".to_owned(), "--size".to_owned(), size.to_string()], self.cores)
    }

    fn rival(&self, rival: Rival, services: u32, kind: Kind) -> anyhow::Result<Server> {
        let zone = self.folder.path().join(format!("{services}.zone"));
        if !zone.exists() {
            write_zone(&zone, services)?;
        }
        let folder = tempfile::Builder::new().prefix(rival.package()).tempdir_in(self.folder.path())?.keep();
        let setup = Setup { zone: &zone, services, kind, rotate: self.plan.rivals_rotate };
        rival.start(&setup, &folder, self.cores)
    }

    /// Asks `kind` of `server` about its names from so many ports.
    pub(crate) fn load(&self, server: &Server, kind: Kind, names: u32, sockets: usize) -> Load {
        let template = Template::new(kind);
        Load { server: server.address, expect: template.expect(), template, names, sockets }
    }

    fn case(&self, case: &Case) -> anyhow::Result<CaseResult> {
        let names = if case.many { self.plan.many } else { self.plan.few };
        let sockets = if case.one_socket { 1 } else { self.plan.sockets };
        println!("{}", case.label(names));
        let muster = self.muster(names)?;
        let template = Template::new(case.kind);
        let size = Asker::new(muster.address)?.ask_until(&template, 0, &template.expect())?;
        let mut contenders = vec![(ECHO, self.echo(size)?), (MUSTER, muster)];
        for rival in &self.rivals {
            contenders.push((rival.title(), self.rival(*rival, names, case.kind)?));
        }

        Ok(CaseResult { case: *case, turns: self.turns(&contenders, case.kind, names, sockets, size)? })
    }

    /// What routes add: services without any, split ones, and ones whose askers are told apart.
    fn routes(&self) -> anyhow::Result<Turns> {
        let names = self.plan.few;
        println!("routes");
        let contenders = Routes::ALL
            .into_iter()
            .map(|routes| Ok((routes.title(), self.routed(names, routes)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        self.turns(&contenders, Kind::A, names, self.plan.sockets, 0)
    }

    /// Answers from the cache, which has them all.
    fn cache(&self) -> anyhow::Result<Turns> {
        const TTL: u32 = 86_400;
        let names = self.plan.few;
        println!("answers of others, from the cache");
        let upstream = self.upstream(names, TTL)?;
        let template = Template::new(Kind::A);
        let mut contenders = Vec::new();
        for forwarder in &self.forwarders {
            let server = self.forwarder(*forwarder, &upstream, names)?;
            let mut asker = Asker::new(server.address)?;
            for name in 0..names {
                asker.ask_until(&template, name, &template.expect())?;
            }
            contenders.push((forwarder.title(), server));
        }
        let (_, muster) = contenders.first().context("no forwarder")?;
        let size = Asker::new(muster.address)?.ask_until(&template, 0, &template.expect())?;
        contenders.insert(0, (ECHO, self.echo(size)?));
        // Who asks them needs it no longer: whatever is not in the cache would be lost, and seen.
        drop(upstream);
        self.turns(&contenders, Kind::A, names, self.plan.sockets, size)
    }

    fn forwarder(&self, forwarder: Forwarder, upstream: &Server, names: u32) -> anyhow::Result<Server> {
        let folder =
            tempfile::Builder::new().prefix(forwarder.title()).tempdir_in(self.folder.path())?.keep();
        forwarder.start(upstream.address, names - 1, &folder, self.cores)
    }

    /// How much later answers come that a forwarder has to ask for each time.
    fn misses(&self) -> anyhow::Result<Vec<Latency>> {
        println!("answers of others, asked for each time");
        let names = self.plan.few;
        let upstream = self.upstream(names, 0)?;
        let mut contenders = Vec::new();
        for forwarder in &self.forwarders {
            contenders.push((forwarder.title(), self.forwarder(*forwarder, &upstream, names)?));
        }
        contenders.insert(0, ("the upstream itself", upstream));
        self.latencies(&contenders, self.plan.miss_rate)
    }

    /// Has servers take turns under one load; what is not the echo answers as `kind` should be answered.
    fn turns(
        &self,
        contenders: &[(&'static str, Server)],
        kind: Kind,
        names: u32,
        sockets: usize,
        size: usize,
    ) -> anyhow::Result<Turns> {
        let mut servers = Vec::new();
        let mut generators = Vec::new();
        for (seed, (name, server)) in (1..).zip(contenders) {
            let mut load = self.load(server, kind, names, sockets);
            if *name == ECHO {
                load.expect = Expect::Size(size);
            }
            generators.push(Generator::new(load, seed)?);
            let memory = server.account.memory()?;
            servers.push(Measured { server: name, rounds: Vec::new(), lost: 0, load: server.load, memory });
        }
        for _ in 0..self.plan.rounds {
            for ((measured, generator), (name, server)) in
                servers.iter_mut().zip(&mut generators).zip(contenders)
            {
                self.turn(server, generator, measured).with_context(|| (*name).to_owned())?;
            }
        }
        for measured in &servers {
            let (cpu, rate) = (measured.median(|round| round.cpu), measured.median(|round| round.rate));
            println!("  {:10}{cpu:8.2} µs  {:>9} q/s", measured.server, thousands(rate as u64));
        }
        Ok(Turns { names, size, servers })
    }

    fn turn(
        &self,
        server: &Server,
        generator: &mut Generator,
        measured: &mut Measured,
    ) -> anyhow::Result<()> {
        let plan = &self.plan;
        generator.closed(plan.window, plan.warm_up)?;
        let (before, modes_before) = (server.account.cpu()?, server.account.modes()?);
        let tally = generator.closed(plan.window, plan.turn)?;
        let cpu = server.account.cpu()?.saturating_sub(before).as_secs_f64();
        let modes = server.account.modes()?;
        let [user, system] = [0, 1].map(|mode| modes[mode].saturating_sub(modes_before[mode]) as f64);
        if tally.answered == 0 {
            bail!("{} answered nothing", server.address);
        }
        let seconds = tally.time.as_secs_f64();
        measured.lost += tally.lost;
        measured.rounds.push(Round {
            cpu: cpu * 1e6 / tally.answered as f64,
            rate: tally.in_time as f64 / seconds,
            busy: cpu / seconds,
            kernel: system / (user + system).max(1.0),
        });
        Ok(())
    }

    fn latency(&self) -> anyhow::Result<Vec<Latency>> {
        println!("latency at {} questions a second", thousands(self.plan.rate.into()));
        let names = self.plan.few;
        let mut contenders = vec![(MUSTER, self.muster(names)?)];
        for rival in &self.rivals {
            contenders.push((rival.title(), self.rival(*rival, names, Kind::A)?));
        }
        self.latencies(&contenders, self.plan.rate)
    }

    fn latencies(&self, contenders: &[(&'static str, Server)], rate: u32) -> anyhow::Result<Vec<Latency>> {
        let mut generators = Vec::new();
        let mut rows = Vec::new();
        for (seed, (name, server)) in (1..).zip(contenders) {
            let load = self.load(server, Kind::A, self.plan.few, self.plan.sockets);
            generators.push(Generator::new(load, seed)?);
            rows.push(Latency::new(name));
        }
        for _ in 0..self.plan.latency_rounds {
            for (row, generator) in rows.iter_mut().zip(&mut generators) {
                row.round(&self.plan, rate, generator).with_context(|| row.label.clone())?;
            }
        }
        Ok(rows)
    }
}

impl Latency {
    pub(crate) fn new(label: &str) -> Self {
        Self { label: label.to_owned(), p50: Vec::new(), p99: Vec::new(), lost: 0 }
    }

    /// Asks for one turn at `rate` questions a second and notes the times.
    pub(crate) fn round(&mut self, plan: &Plan, rate: u32, generator: &mut Generator) -> anyhow::Result<()> {
        generator.open(rate, plan.warm_up)?;
        let tally = generator.open(rate, plan.latency_turn)?;
        self.p50.push(tally.latency.quantile(0.5) as f64 / 1e3);
        self.p99.push(tally.latency.quantile(0.99) as f64 / 1e3);
        self.lost += tally.lost;
        Ok(())
    }
}
