//! The `muster` binary: arguments, runtime, exit code.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // First of all: TLS clients (Consul, probes) panic without a provider. It fails only if there already is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    muster::cli::run(muster::cli::Arguments::parse())
}
