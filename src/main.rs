//! The `muster` binary: arguments, runtime, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

/// Every change of an instance allocates and frees blocks of all sizes; glibc's allocator took half
/// the time of a change.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // First, since TLS clients panic without a provider. Fails only if one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    muster::cli::run(muster::cli::Arguments::parse())
}
