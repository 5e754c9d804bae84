//! Wiring: makes the parts of a server and connects them.
//!
//! ```text
//!  Sources ══ Update ══▶ catalog worker ──▶ SnapshotCell ──▶ Responder ──▶ UDP threads, TCP tasks
//!     ▲                      ▲   ▲                              │  ▲
//!     │ start, stop          │   │ queries                      ▼  │
//!  Reloader ── reconfigure ──┘   └── admin port             Forwarder, engine
//!     ▲                                  │
//!     └────────── reload requests ───────┘          ══▶ one bounded channel
//!
//!  catalog worker ── changes ──▶ StateWriter ──▶ disk; read once, before the first answer
//! ```
//!
//! [`Server::start`] starts every long-running task and thread; reload.rs changes the configuration
//! while they run. Imports every module of the data's way; only [`crate::cli`] imports this one.
//!
//! Rejected: parts that start and find each other. Their order of start and stop would be spread
//! over the crate.

mod reload;
mod serial;
mod sources;

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tracing::{error, info};

use self::{
    reload::{Command, Reloader},
    serial::serial,
    sources::Sources,
};
use crate::{
    api::{self, ApiState, ReloadRequest},
    catalog::{self, Catalog, CatalogRequest, SnapshotCell},
    config::{Config, Listen},
    dns::{AccessControl, Responder, Specials, tcp, udp},
    forward::Forwarder,
    model::{Reloaded, Retained},
    state::{self, StateWriter, TakeChanges},
    telemetry::{Metrics, StatusBoard},
};

/// How often the server checks whether a UDP worker has ended.
const WORKER_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Updates that may wait for the catalog; beyond that, sources wait.
const UPDATE_CHANNEL_SIZE: usize = 4096;

/// Reload requests that may wait.
const RELOAD_CHANNEL_SIZE: usize = 16;

/// How long sources may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server. Stop it with [`stop`](Self::stop); dropping it stops its tasks, and its
/// threads soon after.
#[derive(Debug)]
pub struct Server {
    commands: mpsc::Sender<Command>,
    reloads: mpsc::Sender<ReloadRequest>,
    /// The tasks that must run as long as the server does; each returns its name.
    vital: JoinSet<&'static str>,
    workers: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    stop_admin: Option<oneshot::Sender<()>>,
    dns: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    cell: Arc<SnapshotCell>,
    board: Arc<StatusBoard>,
    state_writer: Option<StateWriter>,
}

impl Server {
    /// Binds every address and starts everything.
    ///
    /// Does not wait for sources: names that depend on one that has not synced are answered with
    /// SERVFAIL.
    ///
    /// # Errors
    /// When an address cannot be bound. An unreachable source is not an error.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new()?);
        let serial = serial();
        let mut catalog = Catalog::new(config, serial);
        // Before the first answer.
        let (state_writer, retained) = restore(config, &mut catalog, &metrics).await;
        let cell = Arc::new(SnapshotCell::from_pointee(catalog.snapshot()));
        let suffixes = config.forward.iter().map(|forward| forward.suffix.clone());
        let (forwarder, engine) = Forwarder::new(config, &metrics).context("cannot forward")?;
        let responder =
            Responder::new(Arc::clone(&cell), Arc::clone(&metrics), config.listen.version.clone())
                .with_access(AccessControl::new(&config.access))
                .with_specials(Specials::new(suffixes))
                .with_trusted_forwarders(&config.listen.trusted_forwarders)
                .with_forwarder(forwarder);
        let responder = Arc::new(responder);
        let (commands, command_inbox) = mpsc::channel(RELOAD_CHANNEL_SIZE);
        let (reloads, reload_inbox) = mpsc::channel(RELOAD_CHANNEL_SIZE);
        let mut server = Self {
            commands,
            reloads,
            vital: JoinSet::new(),
            workers: Vec::new(),
            stop: Arc::default(),
            stop_admin: None,
            dns: Vec::new(),
            admin: None,
            cell: Arc::clone(&cell),
            board: Arc::default(),
            state_writer,
        };
        // Bind first: if that fails the process ends, and no source should have been contacted.
        server.listen(&config.listen, &responder)?;
        let admin_listener = bind_admin(config.listen.admin).await?;

        let (outbox, inbox) = mpsc::channel(UPDATE_CHANNEL_SIZE);
        let (requests, requested) = mpsc::channel(1);
        let worker = catalog::run(catalog, inbox, requested, Arc::clone(&cell), Arc::clone(&metrics));
        server.vital.spawn(named("the catalog", worker));
        let sources = Sources::new(outbox, Arc::clone(&server.board));
        let (config, hosts) = (Arc::new(config.clone()), config.listen.admin_hosts.clone());
        let reloader =
            Reloader::new(config, serial, sources, requests.clone(), Arc::clone(&responder), retained);
        server.vital.spawn(named("the reloader", reloader.run(command_inbox, reload_inbox)));
        server.vital.spawn(named("forwarding", engine.run()));
        if let Some(writer) = &server.state_writer {
            writer.begin(take_changes(requests.clone()), Arc::clone(&server.board));
        }
        if let Some(listener) = admin_listener {
            server.admin = Some(listener.local_addr()?);
            let (stop_admin, stopped) = oneshot::channel::<()>();
            server.stop_admin = Some(stop_admin);
            let state = ApiState {
                board: Arc::clone(&server.board),
                metrics,
                catalog: requests,
                cell,
                responder,
                reloads: server.reloads.clone(),
                hosts: hosts.into(),
            };
            let stopped = async {
                let _ = stopped.await;
            };
            server.vital.spawn(named("the admin port", api::serve(listener, state, stopped)));
        }
        Ok(server)
    }

    /// The addresses that DNS is served on, UDP and TCP; a port 0 is replaced by the chosen one.
    pub fn dns(&self) -> &[SocketAddr] {
        &self.dns
    }

    /// The admin port's address, if there is one.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The cell of the current snapshot.
    pub fn cell(&self) -> &Arc<SnapshotCell> {
        &self.cell
    }

    /// The status of the sources.
    pub fn board(&self) -> &Arc<StatusBoard> {
        &self.board
    }

    /// Requests a reload; its outcome is logged.
    pub fn request_reload(&self) {
        // If the channel is full, a waiting reload will read the current files.
        let _ = self.reloads.try_send(oneshot::channel().0);
    }

    /// Changes to another configuration while queries are answered; settings that require a restart
    /// keep their values.
    ///
    /// # Errors
    /// When the server has failed.
    pub async fn apply(&self, config: Config) -> anyhow::Result<Reloaded> {
        let (done, reloaded) = oneshot::channel();
        self.commands.send(Command::Apply(Box::new(config), done)).await?;
        Ok(reloaded.await?)
    }

    /// Waits until an essential part has ended, and returns the failure; pending while all parts
    /// run.
    pub async fn failed(&mut self) -> anyhow::Error {
        let mut check = tokio::time::interval(WORKER_CHECK_INTERVAL);
        loop {
            tokio::select! {
                Some(ended) = self.vital.join_next() => return match ended {
                    Ok(name) => anyhow::anyhow!("{name} has ended unexpectedly"),
                    Err(error) => anyhow::Error::new(error).context("a part of the server failed"),
                },
                _ = check.tick() => {
                    if let Some(worker) = self.workers.iter().find(|worker| worker.is_finished()) {
                        let name = worker.thread().name().unwrap_or_default();
                        return anyhow::anyhow!("the UDP worker \"{name}\" has ended unexpectedly");
                    }
                }
            }
        }
    }

    /// Reports that it is not ready from now on, while it goes on answering: load balancers have
    /// time to send queries elsewhere.
    pub fn announce_stop(&self) {
        self.board.announce_stop();
    }

    /// Stops the server: answers the datagrams already received, closes every socket, ends every
    /// task.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.stop_admin.take();
        let workers = std::mem::take(&mut self.workers);
        let joined = tokio::task::spawn_blocking(move || {
            for worker in workers {
                if worker.join().is_err() {
                    error!("a UDP worker panicked");
                }
            }
        });
        if joined.await.is_err() {
            error!("cannot wait for the UDP workers");
        }
        if let Some(writer) = self.state_writer.take() {
            // Before the sources stop: they say how fresh the state is.
            let _ = tokio::time::timeout(STOP_TIMEOUT, writer.stop()).await;
        }
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            // A file system that does not answer must not delay the exit.
            let _ = tokio::time::timeout(STOP_TIMEOUT, stopped).await;
        }
        self.vital.shutdown().await;
    }

    fn listen(&mut self, listen: &Listen, responder: &Arc<Responder>) -> anyhow::Result<()> {
        let limits = Arc::new(tcp::Limits::new(listen.tcp_idle, listen.tcp_connections));
        for address in &listen.dns {
            let (sockets, listener) = bind_both(*address, listen.workers)?;
            let local = listener.local_addr()?;
            for socket in sockets {
                let cpu =
                    self.workers.len().checked_rem(listen.cpus.len()).and_then(|at| listen.cpus.get(at));
                let stop = Arc::clone(&self.stop);
                self.workers.push(udp::spawn(socket, Arc::clone(responder), stop, cpu.copied())?);
            }
            let serving = tcp::serve(listener, Arc::clone(responder), Arc::clone(&limits));
            self.vital.spawn(named("a TCP listener", serving));
            info!(address = %local, "listening on UDP and TCP");
            self.dns.push(local);
        }
        Ok(())
    }
}

/// Brings a new catalog to the state that was last known good, if the configuration keeps it.
async fn restore(
    config: &Config,
    catalog: &mut Catalog,
    metrics: &Arc<Metrics>,
) -> (Option<StateWriter>, Retained) {
    let Some(folder) = config.state.clone() else { return (None, Retained::default()) };
    let (writer, restored) = state::start(folder, config, Arc::clone(metrics)).await;
    if writer.is_some() {
        catalog.log_changes();
    }
    catalog.restore(restored.updates, &restored.retained);
    (writer, restored.retained)
}

/// Takes changed state from the catalog's worker; blocks the thread that calls it.
fn take_changes(catalog: mpsc::Sender<CatalogRequest>) -> TakeChanges {
    Box::new(move |everything| {
        let (done, changes) = oneshot::channel();
        catalog.blocking_send(CatalogRequest::TakeChanges { everything, done }).ok()?;
        changes.blocking_recv().ok()
    })
}

async fn named(name: &'static str, part: impl Future<Output = ()>) -> &'static str {
    part.await;
    name
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Binds one address for UDP and TCP. For port 0 the system chooses a port for UDP that another
/// program may have for TCP; then it chooses again.
fn bind_both(address: SocketAddr, workers: usize) -> anyhow::Result<(Vec<UdpSocket>, TcpListener)> {
    const TRIES: usize = 16;
    let mut tries = if address.port() == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        let sockets = udp::bind(address, workers).map_err(|error| cannot_listen(address, "UDP", error))?;
        let local = match sockets.first() {
            Some(socket) => socket.local_addr()?,
            None => address,
        };
        match tcp::bind(local) {
            Ok(listener) => return Ok((sockets, listener)),
            Err(error) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(cannot_listen(local, "TCP", error)),
        }
    }
}

async fn bind_admin(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener =
        TcpListener::bind(address).await.map_err(|error| cannot_listen(address, "admin", error))?;
    info!(address = %listener.local_addr()?, "admin port listening");
    Ok(Some(listener))
}

/// Why an address cannot be bound, and what to do.
fn cannot_listen(address: SocketAddr, what: &str, error: io::Error) -> anyhow::Error {
    let port = address.port();
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => format!(": port {port} requires root or CAP_NET_BIND_SERVICE"),
        io::ErrorKind::AddrInUse => {
            format!(
                ": another server is on port {port}; choose another port in [listen], or stop that server"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!(": this machine does not have the address {}; change it in [listen]", address.ip())
        }
        _ => String::new(),
    };
    anyhow::Error::new(error).context(format!("cannot listen on {address} ({what}){hint}"))
}
