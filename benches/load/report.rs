//! The report in Markdown: figures, machine, method and goals.

use std::{fmt::Write as _, fs, process::Command, time::Duration};

use crate::{
    bench::Bench,
    cases::{Goal, thousands},
    forwarders::Forwarder,
    method,
    other::{OTHER, THIS},
    results::{CaseResult, ECHO, Latency, MUSTER, Measured, Results, Scale, Turns, median, quantile, ratio},
    rivals::Rival,
};

/// Writes the report; `whole` tells a full run from a partial one.
pub(crate) fn write(results: &Results, bench: &Bench, whole: bool, took: Duration) -> String {
    let mut out = String::from(
        "# Performance\n\n`make bench` writes this page; change `benches/load/`, not this file. Absolute figures depend on the \
         machine\nand its other load: compare figures of one run only, and prefer ratios.\n",
    );
    if !whole {
        out += "\n**Not a whole run**: a smoke run, or only some parts. Its figures only show that the tool works.\n";
    }
    machine(&mut out, bench, took);
    if !results.cases.is_empty() {
        cpu(&mut out, &results.cases);
        where_it_goes(&mut out, &results.cases);
        rates(&mut out, &results.cases);
    }
    binaries(&mut out, &results.cases);
    if let Some(turns) = &results.routes {
        routes(&mut out, turns);
    }
    if let Some(turns) = &results.cache {
        cache(&mut out, turns);
    }
    if !results.latency.is_empty() {
        let rate = thousands(bench.plan.rate.into());
        let _ = writeln!(out, "\n## Latency at {rate} queries a second\n\nTimes in µs.\n");
        latency(&mut out, &results.latency);
    }
    if let [direct, ..] = results.misses.as_slice() {
        misses(&mut out, direct, &results.misses, bench.plan.miss_rate);
    }
    if let Some(found) = &results.scale {
        scale(
            &mut out,
            found,
            results.cases.iter().find(|result| result.case.many).map(|result| &result.turns),
        );
    }
    method::write(&mut out, &bench.plan);
    out
}

fn machine(out: &mut String, bench: &Bench, took: Duration) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, model)| model));
    let virtual_machine =
        cpuinfo.lines().any(|line| line.starts_with("flags") && line.contains(" hypervisor"));
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let rivals = Rival::ALL.iter().map(|rival| (rival.title(), rival.version()));
    let forwarders = Forwarder::ALL.iter().filter(|forwarder| forwarder.package().is_some());
    let forwarders = forwarders.map(|forwarder| (forwarder.title(), forwarder.version()));
    let rivals: Vec<String> = rivals
        .chain(forwarders)
        .chain(bench.binaries.iter().map(|binary| (binary.title, binary.version())))
        .map(|(title, version)| match version {
            Some(version) => format!("{title} {version}"),
            None => format!("{title} (not installed, left out)"),
        })
        .collect();
    let rows = [
        ("date", today()),
        ("muster", format!("{}, commit {}", muster::telemetry::VERSION, muster::telemetry::COMMIT)),
        ("rivals", rivals.join(", ")),
        ("kernel", format!("Linux {}", kernel.trim())),
        (
            "CPU",
            format!(
                "{}, {cores} cores{}; server on core {}, queries from core {}",
                model.unwrap_or("unknown"),
                if virtual_machine { ", a virtual machine" } else { "" },
                bench.cores.server,
                bench.cores.client
            ),
        ),
        ("run", format!("{} rounds, {} s in all", bench.plan.rounds, took.as_secs())),
    ];
    out.push_str("\n| | |\n|---|---|\n");
    for (what, value) in rows {
        let _ = writeln!(out, "| {what} | {value} |");
    }
}

fn cpu(out: &mut String, cases: &[CaseResult]) {
    out.push_str(
        "\n## CPU time per query\n\nIn µs, user and system time of the whole server. The echo is the kernel's share alone.\n\n\
         ![CPU time per query](performance.svg)\n\n",
    );
    let rivals = rivals_of(cases);
    let _ = writeln!(
        out,
        "| | bytes | {ECHO} | {MUSTER} |{} ÷ {ECHO} | ÷ better rival | goal | reached |",
        heads(&rivals)
    );
    let _ = writeln!(out, "|---|--:|--:|--:|{}--:|--:|---|---|", "--:|".repeat(rivals.len()));
    for result in cases {
        let figure = |measured: &Measured| format!("{:.2}", measured.median(|round| round.cpu));
        let turns = &result.turns;
        let figures = row(turns, &rivals, figure);
        let ratio = |other| turns.ratio_to(other).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let goal = match result.case.goal {
            Some(Goal::Echo(most)) => format!("≤ {most:.2} × {ECHO}"),
            Some(Goal::Rival(most)) => format!("≤ {most:.2} × better rival"),
            None => "-".to_owned(),
        };
        let reached = match result.goal() {
            Some((ratio, most)) if ratio <= most => "yes",
            Some(_) => "no",
            None => "-",
        };
        let _ = writeln!(
            out,
            "| {} | {} |{figures} {} | {} | {goal} | {reached} |",
            result.case.label(turns.names),
            turns.size,
            ratio(turns.of(ECHO)),
            ratio(turns.better_rival()),
        );
    }
}

/// The kernel's share, which shows how much a missed goal could still save.
fn where_it_goes(out: &mut String, cases: &[CaseResult]) {
    out.push_str(
        "\n### Where the time goes\n\nThe kernel's share of each server's time, as its timer samples it, and the time left to the server's\n\
         own code, in µs. The last column is the time of the bare echo, which has next to no code of its own,\n\
         divided by the better rival's: no server on the same kernel gets below it.\n\n",
    );
    let rivals = rivals_of(cases);
    let _ = writeln!(out, "| | {ECHO} | {MUSTER} |{} {ECHO} ÷ better rival |", heads(&rivals));
    let _ = writeln!(out, "|---|--:|--:|{}--:|", "--:|".repeat(rivals.len()));
    for result in cases {
        let turns = &result.turns;
        let figure = |measured: &Measured| {
            let kernel = measured.median(|round| round.kernel);
            let own = measured.median(|round| round.cpu * (1.0 - round.kernel));
            format!("{:.0} %, {own:.2}", kernel * 100.0)
        };
        let floor = turns.of(ECHO).zip(turns.better_rival()).map(|(echo, rival)| ratio(echo, rival));
        let floor = floor.map_or("-".to_owned(), |floor| format!("{floor:.2}"));
        let _ =
            writeln!(out, "| {} |{} {floor} |", result.case.label(turns.names), row(turns, &rivals, figure));
    }
}

/// Compares the binary built here with the other one, if there is one.
fn binaries(out: &mut String, cases: &[CaseResult]) {
    let pairs: Vec<_> = cases
        .iter()
        .filter_map(|result| Some((result, result.turns.of(THIS)?, result.turns.of(OTHER)?)))
        .collect();
    if pairs.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n## Two binaries\n\nBoth serve the same zone file. CPU time per query in µs.\n\n\
         | | {THIS} | {OTHER} | {THIS} ÷ {OTHER} |\n|---|--:|--:|--:|"
    );
    for (result, this, other) in pairs {
        let cpu = |measured: &Measured| measured.median(|round| round.cpu);
        let label = result.case.label(result.turns.names);
        let _ =
            writeln!(out, "| {label} | {:.2} | {:.2} | {:.3} |", cpu(this), cpu(other), ratio(this, other));
    }
}

/// The extra cost of routes.
fn routes(out: &mut String, turns: &Turns) {
    out.push_str(
        "\n## Routes\n\nThe same names with routes: a split into two groups by weight, and a route for clients that are\n\
         instances of a certain service. CPU time per query in µs.\n\n| | CPU time | ÷ plain | goal | reached | lost |\n|---|--:|--:|---|---|--:|\n",
    );
    let Some((plain, routed)) = turns.servers.split_first() else { return };
    let cpu = |measured: &Measured| measured.median(|round| round.cpu);
    let _ = writeln!(out, "| {} | {:.2} | - | - | - | {} |", plain.server, cpu(plain), plain.lost);
    for (measured, most) in routed.iter().zip([1.10, 1.20]) {
        let ratio = ratio(measured, plain);
        let _ = writeln!(
            out,
            "| {} | {:.2} | {ratio:.2} | ≤ {most:.2} × plain | {} | {} |",
            measured.server,
            cpu(measured),
            if ratio <= most { "yes" } else { "no" },
            measured.lost
        );
    }
}

/// Forwarded names whose answers are cached.
fn cache(out: &mut String, turns: &Turns) {
    let _ = writeln!(
        out,
        "\n## Forwarded names, from the cache\n\n{} names with ten addresses, all of them in the cache. CPU time per query in µs; the goal is at most\n\
         half of unbound's.\n\n| | CPU time | {MUSTER} ÷ it | queries a second | memory | lost |\n|---|--:|--:|--:|--:|--:|",
        thousands(turns.names.into())
    );
    for measured in &turns.servers {
        let ratio = turns.ratio_to(Some(measured)).filter(|_| measured.server != MUSTER);
        let _ = writeln!(
            out,
            "| {} | {:.2} | {} | {} ({:.0} %) | {} MiB | {} |",
            measured.server,
            measured.median(|round| round.cpu),
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            thousands(measured.median(|round| round.rate) as u64),
            measured.median(|round| round.busy) * 100.0,
            thousands(measured.memory >> 20),
            measured.lost
        );
    }
}

/// Forwarded names whose answers cannot be cached.
fn misses(out: &mut String, direct: &Latency, rows: &[Latency], rate: u32) {
    let _ = writeln!(
        out,
        "\n## Forwarded names, not in the cache\n\nAnswers with TTL 0, {} queries a second, times in µs. The upstream and the forwarder share one core,\n\
         the load generator has the other. The goal is a p99 at most 200 µs later than the upstream's own.\n\n| | p50 | p99 | p50 later than direct | p99 later | lost |\n|---|--:|--:|--:|--:|--:|",
        thousands(rate.into())
    );
    let of = |times: &[f64]| median(times.iter().copied());
    let later = |row: &[f64], direct: &[f64]| median(row.iter().zip(direct).map(|(one, other)| one - other));
    for row in rows {
        let _ = writeln!(
            out,
            "| {} | {:.1} | {:.1} | {:.1} | {:.1} | {} |",
            row.label,
            of(&row.p50),
            of(&row.p99),
            later(&row.p50, &direct.p50),
            later(&row.p99, &direct.p99),
            row.lost
        );
    }
}

fn rates(out: &mut String, cases: &[CaseResult]) {
    out.push_str(
        "\n## Queries per second on one core\n\nIn brackets: how busy the server was. Below 100 % the load generator was the limit, and the server\n\
         could do more.\n\n",
    );
    let rivals = rivals_of(cases);
    let _ = writeln!(out, "| | {ECHO} | {MUSTER} |{} lost |", heads(&rivals));
    let _ = writeln!(out, "|---|--:|--:|{}---|", "--:|".repeat(rivals.len()));
    for result in cases {
        let figure = |measured: &Measured| {
            let busy = measured.median(|round| round.busy) * 100.0;
            format!("{} ({busy:.0} %)", thousands(measured.median(|round| round.rate) as u64))
        };
        let losers = result.turns.servers.iter().filter(|measured| measured.lost > 0);
        let lost: Vec<_> =
            losers.map(|measured| format!("{} {}", measured.server, thousands(measured.lost))).collect();
        let lost = if lost.is_empty() { "none".to_owned() } else { lost.join(", ") };
        let figures = row(&result.turns, &rivals, figure);
        let _ = writeln!(out, "| {} |{figures} {lost} |", result.case.label(result.turns.names));
    }
}

fn latency(out: &mut String, rows: &[Latency]) {
    out.push_str("| | p50 | p99 | p99, lowest and highest round | lost |\n|---|--:|--:|--:|--:|\n");
    for row in rows {
        let p99 = || row.p99.iter().copied();
        let _ = writeln!(
            out,
            "| {} | {:.1} | {:.1} | {:.1} to {:.1} | {} |",
            row.label,
            median(row.p50.iter().copied()),
            median(p99()),
            quantile(p99(), 0.0),
            quantile(p99(), 1.0),
            row.lost
        );
    }
}

fn scale(out: &mut String, found: &Scale, many: Option<&Turns>) {
    let mib = |bytes: u64| format!("{} MiB", thousands(bytes >> 20));
    let _ = writeln!(
        out,
        "\n## {} instances\n\n{} services with ten instances each, all names from an import.\n",
        thousands(found.instances),
        thousands(found.services.into())
    );
    let visible = || found.visible.iter().copied();
    let rows = [
        ("from start to answering all of them".to_owned(), format!("{:.2} s", found.load.as_secs_f64())),
        (
            "memory".to_owned(),
            format!(
                "{}, {} bytes per instance",
                mib(found.memory),
                thousands(found.memory / found.instances.max(1))
            ),
        ),
        ("memory after all changes below".to_owned(), mib(found.memory_after)),
        (
            "a health change shows in answers after".to_owned(),
            format!(
                "{:.0} µs (median of {}), {:.0} µs (p99)",
                median(visible()),
                found.visible.len(),
                quantile(visible(), 0.99)
            ),
        ),
        (
            "the catalog's CPU time per change".to_owned(),
            format!(
                "{:.1} µs, at {:.0} changes a second",
                median(found.cpu_per_flip.iter().copied()),
                median(found.flips.iter().copied())
            ),
        ),
    ];
    out.push_str("| | |\n|---|---|\n");
    for (what, value) in rows {
        let _ = writeln!(out, "| {what} | {value} |");
    }
    out.push_str("\nLatency while instances change, in µs, all of the server on one core:\n\n");
    latency(out, &found.latency);
    let servers = many.map(|result| result.servers.as_slice()).unwrap_or_default();
    let others: Vec<_> = servers.iter().filter(|measured| measured.server != ECHO).collect();
    if others.len() > 1 {
        out.push_str("\nThe same names in the other servers, from zone files (memory shared by processes counts once):\n\n");
        out.push_str("| | answers after | memory |\n|---|--:|--:|\n");
        for measured in others {
            let load = measured.load.as_secs_f64();
            let _ = writeln!(out, "| {} | {load:.2} s | {} |", measured.server, mib(measured.memory));
        }
    }
}

/// The rivals that took part, in the order of their turns.
fn rivals_of(cases: &[CaseResult]) -> Vec<&'static str> {
    let servers = cases.first().map(|result| result.turns.servers.as_slice()).unwrap_or_default();
    servers.iter().map(|measured| measured.server).filter(|server| ![ECHO, MUSTER].contains(server)).collect()
}

fn heads(rivals: &[&str]) -> String {
    rivals.iter().map(|rival| format!(" {rival} |")).collect()
}

fn row(turns: &Turns, rivals: &[&str], figure: impl Fn(&Measured) -> String) -> String {
    let servers = [ECHO, MUSTER].iter().chain(rivals);
    servers.map(|server| format!(" {} |", turns.of(server).map_or("-".to_owned(), &figure))).collect()
}

fn today() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map_or("unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
