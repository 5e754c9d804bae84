//! Load benchmarks of the UDP path, side by side with a bare echo, Knot DNS and NSD.
//!
//! What: one command measures CPU time a query, queries a second, latency, and what a million instances cost, and writes
//! `docs/PERFORMANCE.md` with its chart. Why: absolute figures move with the machine, so every figure is taken in one run
//! with its rivals, in turns. [`run`] is the order of things; [`server`] and [`echo`] run in child processes of this very
//! binary, [`rivals`] are the system's, [`forwarders`] stand in front of a server; [`generator`] asks and checks every answer, [`account`] reads the kernel's books;
//! [`report`] and [`chart`] write. Imports the library's public API only.
//!
//! Rejected: criterion (it times functions; a query's price is the kernel's for the greater part) and dnsperf (it cannot be
//! told how queries spread over source ports, and it measures no CPU time of the server).

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

/// As in the server proper.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures muster against a bare UDP echo, Knot DNS and NSD, on loopback.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// A smoke run of some seconds: its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Only these parts: a, srv, nxdomain, forwarder, many, routes, cache, latency, misses, scale.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Lets Knot and NSD rotate records too (`answer-rotation`, `round-robin`), which they do not by default.
    #[arg(long)]
    rivals_rotate: bool,
    /// Folder for PERFORMANCE.md and performance.svg; default: docs, or target/bench for a run that is not whole.
    #[arg(long)]
    out: Option<PathBuf>,
    /// What cargo says to every benchmark.
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
