//! The command line: one file a command.
//!
//! Exit codes: 0 for success, 1 when something failed while running, 2 when arguments or configuration are wrong.

mod admin_port;
mod check;
mod explain;
mod list;
mod output;
mod reload;
mod resolv_conf;
mod serve;
mod table;

use std::{
    io::{self, IsTerminal, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use self::{admin_port::Server, output::Output};
use crate::config::{self, Diagnostics, Loaded, Location};

/// The version with the commit that it was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("MUSTER_COMMIT"), ")");

/// An authoritative DNS server for service discovery: one name over Consul, Kubernetes and static instances.
#[derive(Debug, Parser)]
#[command(name = "muster", version = VERSION, max_term_width = 100, propagate_version = true)]
#[command(
    after_help = "Start with `muster serve`: without a configuration it serves a demo on 127.0.0.1:5300."
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer DNS queries until stopped (SIGTERM or Ctrl-C); SIGHUP reads the configuration again
    Serve {
        #[command(flatten)]
        configuration: Configuration,
        /// What to log, such as `info`, `debug` or `muster::source=debug` [default: info]
        #[arg(long, env = "MUSTER_LOG", value_name = "FILTER")]
        log: Option<String>,
        /// Log one JSON object a line
        #[arg(long)]
        log_json: bool,
    },
    /// Let the running server read its configuration again; a bad one changes nothing, says why and exits with 2
    Reload {
        #[command(flatten)]
        server: Server,
    },
    /// Say why a name is answered as it is: every instance, the route, the groups, and the answer
    Explain {
        #[command(flatten)]
        question: explain::Question,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// List the services that the running server answers
    Services {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// List the instances of a service, with what each source says of them
    Instances {
        /// The service, such as web.shop
        service: String,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// List the sources and how they are
    Sources {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Validate the configuration and print what would be served; nothing is contacted
    Check {
        #[command(flatten)]
        configuration: Configuration,
    },
    /// Print what to put into resolv.conf, systemd-resolved, dnsmasq, ... so that they ask muster; or install it
    ResolvConf {
        #[command(flatten)]
        configuration: Configuration,
        #[command(flatten)]
        options: resolv_conf::Options,
    },
}

/// Which configuration.
#[derive(Debug, clap::Args)]
struct Configuration {
    /// The server's file [default: ./muster.toml, then /etc/muster/muster.toml, then the bundled demo]
    #[arg(short, long, env = "MUSTER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs a command; returns the process's exit code.
pub fn run(arguments: Arguments) -> ExitCode {
    match arguments.command {
        Command::Serve { configuration, log, log_json } => {
            serve::run(&configuration, log.as_deref(), log_json)
        }
        Command::Reload { server } => reload::run(&server),
        Command::Explain { question, server, output } => explain::run(&question, &server, &output),
        Command::Services { server, output } => list::services(&server, &output),
        Command::Instances { service, server, output } => list::instances(&service, &server, &output),
        Command::Sources { server, output } => list::sources(&server, &output),
        Command::Check { configuration } => check::run(&configuration),
        Command::ResolvConf { configuration, options } => resolv_conf::run(&configuration, &options),
    }
}

/// Finds and loads the configuration; prints its errors and warnings.
///
/// # Errors
/// The exit code, when the configuration cannot be used; what is wrong has been printed.
fn load(configuration: &Configuration) -> Result<(Loaded, Location), ExitCode> {
    let location = config::find(configuration.config.as_deref());
    match location.load() {
        Ok(loaded) => {
            report(&loaded.warnings);
            Ok((loaded, location))
        }
        Err(errors) => {
            report(&errors);
            Err(ExitCode::from(2))
        }
    }
}

/// Prints diagnostics to standard error, in colour if a person reads it.
fn report(report: &Diagnostics) {
    if !report.is_empty() {
        let text = report.render(io::stderr().is_terminal());
        let _ = writeln!(io::stderr(), "{}", text.trim_end());
    }
}

/// Prints to standard output. That nobody reads it any more (a closed pipe) is no failure of ours.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Prints an error with its causes.
fn fail(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "muster: {error:#}");
    ExitCode::FAILURE
}
