//! The command line: one file a command.
//!
//! ```text
//!              ┌─▶ check, resolv_conf ───▶ configuration ──▶ muster.toml, zones/
//!  Arguments ──┼─▶ serve ────────────────▶ configuration, then app::Server
//!              └─▶ explain, list, reload ▶ admin_port ──HTTP──▶ a running server
//!                         └─▶ table ─▶ output ─▶ terminal
//! ```
//!
//! Exit codes: 0 for success, 1 when something failed while running, 2 when arguments or the
//! configuration are wrong. Imports [`crate::app`], [`crate::config`], [`crate::model`] and
//! [`crate::telemetry`].
//!
//! Rejected: a protocol of its own between the commands and the server. It would be a second format
//! to document, and `curl` could not speak it.

mod admin_port;
mod check;
mod configuration;
mod explain;
mod list;
mod output;
mod reload;
mod resolv_conf;
mod serve;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::{admin_port::AdminPort, configuration::ConfigArgs, output::OutputArgs};

/// The version with the commit that it was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("MUSTER_COMMIT"), ")");

/// An authoritative DNS server for service discovery: one name over Consul, Kubernetes and static
/// instances.
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
    /// Answer DNS queries until stopped (SIGTERM or Ctrl-C); SIGHUP reloads the configuration
    Serve {
        #[command(flatten)]
        configuration: ConfigArgs,
        /// What to log, such as `info`, `debug` or `muster::source=debug` [default: info]
        #[arg(long, env = "MUSTER_LOG", value_name = "FILTER")]
        log: Option<String>,
        /// Log one JSON object a line
        #[arg(long)]
        log_json: bool,
    },
    /// Make the running server reload its configuration; exits with 2 if it rejects the files
    Reload {
        #[command(flatten)]
        server: AdminPort,
    },
    /// Explain how a name is answered, and why: the route, its groups, every instance, the answer
    Explain {
        #[command(flatten)]
        query: explain::ExplainArgs,
        #[command(flatten)]
        server: AdminPort,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the services of the running server
    Services {
        #[command(flatten)]
        server: AdminPort,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the instances of a service, with what each source reports
    Instances {
        /// The service, such as web.shop
        service: String,
        #[command(flatten)]
        server: AdminPort,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List sources and their status
    Sources {
        #[command(flatten)]
        server: AdminPort,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Validate the configuration and summarize it; contacts no source and no server
    Check {
        #[command(flatten)]
        configuration: ConfigArgs,
    },
    /// Print the configuration that makes another program query muster, or install resolv.conf
    ResolvConf {
        #[command(flatten)]
        configuration: ConfigArgs,
        #[command(flatten)]
        options: resolv_conf::ResolvConfArgs,
    },
}

/// Runs a command; returns the process's exit code.
pub fn run(arguments: Arguments) -> ExitCode {
    match arguments.command {
        Command::Serve { configuration, log, log_json } => {
            serve::run(&configuration, log.as_deref(), log_json)
        }
        Command::Reload { server } => reload::run(&server),
        Command::Explain { query, server, output } => explain::run(&query, &server, &output),
        Command::Services { server, output } => list::services(&server, &output),
        Command::Instances { service, server, output } => list::instances(&service, &server, &output),
        Command::Sources { server, output } => list::sources(&server, &output),
        Command::Check { configuration } => check::run(&configuration),
        Command::ResolvConf { configuration, options } => resolv_conf::run(&configuration, &options),
    }
}
