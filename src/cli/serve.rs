//! `muster serve`.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::{
    configuration::ConfigArgs,
    output::{fail, print},
};
use crate::{
    app::Server,
    config::{Config, Location},
    telemetry::{COMMIT, VERSION, logging},
};

pub(super) fn run(configuration: &ConfigArgs, log: Option<&str>, json: bool) -> ExitCode {
    let (loaded, location) = match configuration.load() {
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
    // A name resolution in progress, or a credential plugin that hangs, must not delay the exit.
    runtime.shutdown_timeout(EXIT_TIMEOUT);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// How long blocking calls of libraries may delay the exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

async fn serve(config: Config, location: &Location) -> anyhow::Result<()> {
    // First, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    info!(version = VERSION, commit = COMMIT, "starting");
    raise_open_files();
    let mut server = Server::start(&config).await?;
    let lameduck = config.listen.lameduck;
    drop(config); // The server keeps a copy, which a reload replaces.
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
    if signal == "SIGTERM" && !lameduck.is_zero() {
        info!(?lameduck, "SIGTERM: not ready any more, and stopping after the time that is configured");
        server.announce_stop();
        tokio::select! {
            () = tokio::time::sleep(lameduck) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            failure = server.failed() => return Err(failure),
        }
    }
    info!(signal, "stopping");
    server.stop().await;
    Ok(())
}

/// Raises the soft limit of open files to the hard one: the usual soft limit is for programs that
/// use `select`. Every upstream query over UDP and every TCP connection takes a socket.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!("cannot raise the limit of open files: {error}");
    }
}

/// Commands to try with the demo.
fn demo_hints(dns: &[SocketAddr]) -> String {
    let Some(address) = dns.first() else { return String::new() };
    let (ip, port) = (address.ip(), address.port());
    format!(
        "\n\
         No configuration found (./muster.toml or /etc/muster/muster.toml): serving the bundled demo, namespace \"demo\".\n\
         Its service web.demo has two instances, probed every second. One is this server's own admin port.\n\
         \n\
         Query it:\n    \
             dig @{ip} -p {port} web.demo\n\
         \n\
         Watch health work: start the other instance, query, stop it, query again.\n    \
             python3 -m http.server 8080 --bind 127.0.0.2 & sleep 2; \
             dig @{ip} -p {port} +short web.demo SRV; kill $!; sleep 2; dig @{ip} -p {port} +short web.demo SRV\n\
         \n"
    )
}
