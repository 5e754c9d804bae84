//! Reloads: changing to another configuration while queries are answered.
//!
//! ```text
//!  SIGHUP ───────────┐
//!  POST /v1/reload ──┼─▶ read, validate ─▶ stop changed ─▶ catalog: build the ─▶ start changed
//!  changed files ────┘      │              sources         new state, swap it    sources
//!                           └─▶ rejected: nothing changes
//! ```
//!
//! One task does all reloads, one after the other. Sources that are equal in both configurations
//! keep running.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};
use tracing::{debug, error, info, warn};

use super::{
    serial::{next_serial, serial},
    sources::{JobChange, Sources},
};
use crate::{
    api::ReloadRequest,
    catalog::{self, CatalogQuery, Reconfiguration},
    config::{self, Config, Diagnostic, Diagnostics, Fingerprint, Severity},
    dns::Responder,
    model::{ReloadDiagnostic, ReloadResult, Reloaded, Retained},
    source::guard::CarriedMemory,
    telemetry::Metrics,
};

/// How often the files are polled. A change is applied when two polls agree, so a half-written file
/// is not read.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long a reload waits until the static instances of the new configuration are answered.
const SYNC_TIMEOUT: Duration = Duration::from_secs(5);

/// Commands from within the program. A request to read the files again is a [`ReloadRequest`].
#[derive(Debug)]
pub(super) enum Command {
    /// Change to this configuration.
    Apply(Box<Config>, oneshot::Sender<Reloaded>),
    /// Stop the sources and end.
    Stop(oneshot::Sender<()>),
}

/// Owns the sources and the running configuration.
#[derive(Debug)]
pub(super) struct Reloader {
    /// The running configuration.
    config: Arc<Config>,
    sources: Sources,
    catalog: mpsc::Sender<catalog::CatalogRequest>,
    responder: Arc<Responder>,
    metrics: Arc<Metrics>,
    serial: u32,
    /// The fingerprint of the files just before they were last read.
    read: Option<Fingerprint>,
    /// Their fingerprint at the last poll.
    seen: Option<Fingerprint>,
    /// The files for which the last reload was rejected.
    faulty: Vec<PathBuf>,
}

impl Reloader {
    /// Makes the reloader of a catalog that has `config` and `serial`; starts the sources.
    pub(super) fn new(
        config: Arc<Config>,
        serial: u32,
        mut sources: Sources,
        catalog: mpsc::Sender<catalog::CatalogRequest>,
        responder: Arc<Responder>,
        retained: Retained,
    ) -> Self {
        let metrics = Arc::clone(responder.metrics());
        let _ = sources.start(JobChange::new(None, &config), retained, CarriedMemory::new());
        Self {
            config,
            sources,
            catalog,
            responder,
            metrics,
            serial,
            read: None,
            seen: None,
            faulty: Vec::new(),
        }
    }

    /// Reloads on request and on changed files, until [`Command::Stop`].
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut requests: mpsc::Receiver<ReloadRequest>,
    ) {
        let mut poll = tokio::time::interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Apply(config, done)) => {
                        let _ = done.send(self.apply(*config, &Diagnostics::default()).await);
                    }
                    Some(Command::Stop(done)) => {
                        self.sources.shutdown().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                Some(done) = requests.recv() => {
                    let reloaded = self.reload("request").await;
                    let _ = done.send(reloaded);
                }
                _ = poll.tick(), if self.config.watch_files && self.config.path.is_some() => {
                    if self.have_files_changed().await {
                        self.reload("changed files").await;
                    }
                }
            }
        }
    }

    /// Reads the files again, and changes to their configuration if it is valid.
    async fn reload(&mut self, trigger: &'static str) -> Reloaded {
        let Some(path) = self.config.path.clone() else {
            let note = "the bundled demo has no files to reload; write a muster.toml and restart";
            error!("reload rejected: {note}");
            self.metrics.reloaded(ReloadResult::Rejected);
            return outcome(ReloadResult::Rejected, &Diagnostics::default(), vec![note.to_owned()]);
        };
        let fingerprint = self.fingerprint();
        // Reading may block, on a network file system for long.
        let read = tokio::task::spawn_blocking(move || (fingerprint(), config::load(&path)));
        let reloaded = match read.await {
            Ok((fingerprint, Ok(loaded))) => {
                self.read = Some(fingerprint);
                self.faulty.clear();
                self.apply(loaded.config, &loaded.warnings).await
            }
            Ok((fingerprint, Err(report))) => {
                self.faulty =
                    report.diagnostics().iter().map(|diagnostic| diagnostic.file().to_owned()).collect();
                self.faulty.dedup();
                self.read = Some(fingerprint.with(self.faulty.iter().map(PathBuf::as_path)));
                reject(&report)
            }
            Err(failure) => {
                let note = format!("cannot read the files: {failure}");
                error!("reload rejected: {note}");
                outcome(ReloadResult::Rejected, &Diagnostics::default(), vec![note])
            }
        };
        match reloaded.result {
            ReloadResult::Unchanged => debug!(trigger, "reload: nothing has changed"),
            ReloadResult::Applied => info!(trigger, "the new configuration is in effect"),
            ReloadResult::Rejected => error!(trigger, "reload rejected, keeping the running configuration"),
        }
        self.metrics.reloaded(reloaded.result);
        reloaded
    }

    /// Changes to a valid configuration.
    async fn apply(&mut self, mut config: Config, warnings: &Diagnostics) -> Reloaded {
        let notes = keep_fixed(&self.config, &mut config);
        for diagnostic in warnings.diagnostics() {
            warn!("{diagnostic}");
        }
        for note in &notes {
            warn!("{note}");
        }
        if config == *self.config {
            return outcome(ReloadResult::Unchanged, warnings, notes);
        }
        // First, since nothing after it can fail.
        if let Err(failure) = self.responder.reload(&config) {
            let note = format!("[forward] cannot be used: {failure}");
            error!("reload rejected: {note}");
            return outcome(ReloadResult::Rejected, warnings, vec![note]);
        }
        let config = Arc::new(config);
        let jobs = JobChange::new(Some(&self.config), &config);
        let freshness = self.sources.freshness();
        let carried = self.sources.stop(&jobs).await;
        self.serial = next_serial(self.serial, serial());
        let change = Reconfiguration {
            from: Arc::clone(&self.config),
            to: Arc::clone(&config),
            serial: self.serial,
            restarted: jobs.restarted(),
            probed: jobs.probed(),
            freshness,
        };
        let (done, answer) = oneshot::channel();
        // A catalog that does not answer has ended, and the program ends with it.
        let _ = self.catalog.send(catalog::CatalogRequest::Reconfigure { change, done }).await;
        let synced = self.sources.start(jobs, answer.await.unwrap_or_default(), carried);
        let _ = tokio::time::timeout(SYNC_TIMEOUT, self.wait_until_answered(synced)).await;
        self.config = config;
        outcome(ReloadResult::Applied, warnings, notes)
    }

    /// Waits until static instances are answered, so that an operator who tests an edit right after
    /// the reload sees it.
    async fn wait_until_answered(&self, synced: Vec<oneshot::Receiver<()>>) {
        for job in synced {
            let _ = job.await;
        }
        let (reading, read) = CatalogQuery::new(|_| ());
        let _ = self.catalog.send(catalog::CatalogRequest::Query(reading)).await;
        let _ = read.await;
    }

    /// Whether the files differ from those last read, and are the same as at the last poll.
    async fn have_files_changed(&mut self) -> bool {
        let Ok(now) = tokio::task::spawn_blocking(self.fingerprint()).await else { return false };
        let is_stable = self.seen.as_ref() == Some(&now);
        let is_new = self.read.as_ref() != Some(&now);
        self.seen = Some(now);
        is_stable && is_new
    }

    /// Takes the fingerprint of the running configuration's files, and of those that were rejected.
    fn fingerprint(&self) -> impl FnOnce() -> Fingerprint + Send + 'static {
        let (config, faulty) = (Arc::clone(&self.config), self.faulty.clone());
        move || Fingerprint::take(&config, faulty.iter().map(PathBuf::as_path))
    }
}

/// Reverts settings that cannot change while the program runs; returns a note for each.
fn keep_fixed(old: &Config, new: &mut Config) -> Vec<String> {
    let mut changed = Vec::new();
    // Sockets are bound once: privileges may have been dropped since.
    keep("[listen]", &old.listen, &mut new.listen, &mut changed);
    // The transports keep these as long as they run.
    keep("[access]", &old.access, &mut new.access, &mut changed);
    // Its thread keeps the file open.
    keep("state", &old.state, &mut new.state, &mut changed);
    let note = |table| format!("{table} has changed, which requires a restart; everything else is applied");
    changed.into_iter().map(note).collect()
}

fn keep<T: Clone + PartialEq>(table: &'static str, old: &T, new: &mut T, changed: &mut Vec<&'static str>) {
    if new != old {
        new.clone_from(old);
        changed.push(table);
    }
}

/// Logs every diagnostic of an invalid configuration.
fn reject(report: &Diagnostics) -> Reloaded {
    for diagnostic in report.diagnostics() {
        match diagnostic.severity() {
            Severity::Error => error!("{diagnostic}"),
            Severity::Warning => warn!("{diagnostic}"),
        }
    }
    outcome(ReloadResult::Rejected, report, Vec::new())
}

fn outcome(result: ReloadResult, report: &Diagnostics, notes: Vec<String>) -> Reloaded {
    let mut text = if report.is_empty() { String::new() } else { report.render(false) };
    for note in &notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text.push_str(match result {
        ReloadResult::Applied => "applied: the new configuration is in effect\n",
        ReloadResult::Unchanged => "unchanged: the files are equal to the running configuration\n",
        ReloadResult::Rejected => "rejected: keeping the running configuration\n",
    });
    let diagnostics = report.diagnostics().iter().map(to_reload_diagnostic).collect();
    Reloaded { result, text, diagnostics, notes }
}

fn to_reload_diagnostic(diagnostic: &Diagnostic) -> ReloadDiagnostic {
    let place = diagnostic.position();
    ReloadDiagnostic {
        severity: diagnostic.severity().to_string(),
        file: place.file.display().to_string(),
        line: place.line,
        column: place.column,
        message: diagnostic.message().to_owned(),
        found: diagnostic.label().to_owned(),
        help: diagnostic.help().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_reloaded_when_two_polls_agree_on_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("muster.toml");
        std::fs::write(&path, "").unwrap();
        let config = Arc::new(config::load(&path).unwrap().config);
        let sources = Sources::new(mpsc::channel(1).0, Arc::default());
        let metrics = Arc::new(Metrics::new().unwrap());
        let responder = Arc::new(Responder::new(Arc::default(), metrics, None));
        let mut reloader =
            Reloader::new(config, 1, sources, mpsc::channel(1).0, responder, Retained::default());
        assert!(!reloader.have_files_changed().await, "the first poll has nothing to agree with");
        assert!(reloader.have_files_changed().await, "the files may have changed since the start");
        reloader.read = reloader.seen.clone();
        assert!(!reloader.have_files_changed().await);
        for text in ["# half", "# half written"] {
            std::fs::write(&path, text).unwrap();
            assert!(!reloader.have_files_changed().await, "still being written");
        }
        assert!(reloader.have_files_changed().await);
    }
}
