//! The `muster` binary: arguments, runtime, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

/// Every change of an instance allocates and frees pieces of all sizes; glibc's allocator took half of its time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // First of all: TLS clients (Consul, probes) panic without a provider. It fails only if there already is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    muster::cli::run(muster::cli::Arguments::parse())
}
