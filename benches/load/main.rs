//! Load benchmarks of the UDP path, side by side with a bare echo, Knot DNS and NSD.
//!
//! One command measures CPU time per query, queries per second, latency, and the cost of a million
//! instances. It writes `docs/PERFORMANCE.md` and its chart. Absolute figures move with the
//! machine, so muster and its rivals take turns in one run.
//!
//! - [`run`] has the parts in order; [`bench`] what they share.
//! - [`server`] and [`echo`] run in child processes of this binary. [`rivals`] are programs of the
//!   system, [`forwarders`] query a server, [`other`] compares two muster binaries.
//! - [`generator`] sends queries and checks every answer; [`account`] reads the kernel's
//!   accounting.
//! - [`report`], [`method`] and [`chart`] write.
//!
//! Rejected: criterion (it times functions, while the kernel has most of a query's cost) and
//! dnsperf (it cannot spread queries over source ports as configured, and does not measure the
//! server's CPU time).

#![allow(clippy::print_stdout, reason = "a command-line tool speaks to its terminal")]
#![allow(
    clippy::disallowed_methods,
    reason = "it waits for other processes, whose time no clock of ours pauses, and its own child processes end with their input"
)]

mod account;
mod batch;
mod bench;
mod cases;
mod chart;
mod child;
mod echo;
mod forwarders;
mod generator;
mod histogram;
mod method;
mod other;
mod question;
mod report;
mod results;
mod rivals;
mod run;
mod scale;
mod server;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

/// As in the server.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures muster against a bare UDP echo, Knot DNS and NSD, on loopback.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// A smoke run of a few seconds: its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Only these parts: a, srv, nxdomain, forwarder, many, routes, cache, latency, misses, scale.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Let Knot and NSD rotate records too (`answer-rotation`, `round-robin`); by default they do
    /// not.
    #[arg(long)]
    rivals_rotate: bool,
    /// Folder for PERFORMANCE.md and performance.svg; default: docs, or target/bench for a partial
    /// run.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Cargo passes it to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves a synthetic catalog until its input ends.
    Serve(server::Settings),
    /// Answers every datagram with the same bytes until its input ends.
    Echo(echo::Settings),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Serve(settings)) => server::serve(&settings),
        Some(Command::Echo(settings)) => echo::serve(&settings),
        None => run::run(&bench::Options {
            quick: arguments.quick,
            only: arguments.only,
            rivals_rotate: arguments.rivals_rotate,
            out: arguments.out,
        }),
    }
}
