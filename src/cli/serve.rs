//! `muster serve`.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::{Configuration, VERSION, fail, load, print};
use crate::{
    app::Server,
    config::{Config, Location},
    telemetry::logging,
};

pub(super) fn run(configuration: &Configuration, log: Option<&str>, json: bool) -> ExitCode {
    let (loaded, location) = match load(configuration) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Err(error) = logging::init(log, json) {
        let _ = fail(&error.into());
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("cannot start the runtime")),
    };
    let served = runtime.block_on(serve(loaded.config, &location));
    // A name that is being looked up, or a credential plugin that hangs, must not hold the exit.
    runtime.shutdown_timeout(EXIT_PATIENCE);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// How long blocking calls of libraries may hold the exit.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);

async fn serve(config: Config, location: &Location) -> anyhow::Result<()> {
    // Before anything is bound, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    info!(version = VERSION, "muster starts");
    raise_open_files();
    let mut server = Server::start(&config).await?;
    drop(config); // the server keeps its own, which a reload replaces
    if matches!(location, Location::Demo) {
        print(&demo_hints(server.dns()));
    }
    let signal = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hangup.recv() => server.request_reload(),
            failure = server.failed() => return Err(failure),
        }
    };
    info!(signal, "stopping");
    server.stop().await;
    Ok(())
}

/// Lets the process have as many sockets as it may: the usual limit is meant for programs that use `select`. Each question on
/// its way to an upstream has one, and each TCP connection.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        warn!("cannot raise the limit of open files: {error}");
    }
}

/// What a newcomer can try.
fn demo_hints(dns: &[SocketAddr]) -> String {
    let Some(address) = dns.first() else { return String::new() };
    let (ip, port) = (address.ip(), address.port());
    format!(
        "\n\
         No configuration found (./muster.toml or /etc/muster/muster.toml): serving the bundled demo, namespace \"demo\".\n\
         Its service web.demo has two instances, which are probed every second. One is this server's own admin port.\n\
         \n\
         Ask for it:\n    \
             dig @{ip} -p {port} web.demo\n\
         \n\
         See health at work: start the other instance, ask again, stop it, ask again.\n    \
             python3 -m http.server 8080 --bind 127.0.0.2 & sleep 2; \
             dig @{ip} -p {port} +short web.demo SRV; kill $!; sleep 2; dig @{ip} -p {port} +short web.demo SRV\n\
         \n"
    )
}
