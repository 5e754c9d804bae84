//! The run: every part in order, all servers in turns.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, bail};

use crate::{
    bench::{Bench, Options, Plan},
    cases::{CASES, Case, thousands},
    chart,
    child::{Asker, Server},
    generator::Generator,
    question::{Expect, Kind, Template},
    report,
    results::{CaseResult, ECHO, Latency, MUSTER, Measured, Results, Round, Turns},
    scale,
    server::Routes,
};

/// Parts other than the cases at saturation.
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
        // As a zone file, the large namespace would be 60 MB.
        for binary in self.binaries.iter().filter(|_| !case.many) {
            contenders.push((binary.title, self.binary(binary, names)?));
        }
        Ok(CaseResult { case: *case, turns: self.turns(&contenders, case.kind, names, sockets, size)? })
    }

    /// Routes: services without any, with a split, and with routes by client.
    fn routes(&self) -> anyhow::Result<Turns> {
        let names = self.plan.few;
        println!("routes");
        let contenders = Routes::ALL
            .into_iter()
            .map(|routes| Ok((routes.title(), self.routed(names, routes)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        self.turns(&contenders, Kind::A, names, self.plan.sockets, 0)
    }

    /// Answers from the cache, which has all of them.
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
        // Forwarders no longer need it: an answer that is not cached would be lost, and be counted.
        drop(upstream);
        self.turns(&contenders, Kind::A, names, self.plan.sockets, size)
    }

    /// How much later answers come if a forwarder must query its upstream each time.
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

    /// Lets servers take turns under one load. All but the echo must answer `kind` correctly.
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
            println!("  {:15}{cpu:8.2} µs  {:>9} q/s", measured.server, thousands(rate as u64));
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
