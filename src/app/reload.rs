//! Going over to another configuration while queries are answered.
//!
//! One task does it, one reload after the other, whoever asks: a signal, the admin port, the watcher of the files. A
//! configuration is read and checked as a whole before anything is touched, so one that cannot be used changes nothing.
//!
//! In this order: sources whose settings or members have changed stop; the catalog takes in what they had said, builds
//! everything anew beside what is answered from, and swaps it, once; they start anew. What is the same goes on untouched.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};
use tracing::{debug, error, info, warn};

use super::{
    serial::{next_serial, serial},
    sources::{Plan, Sources},
};
use crate::{
    api::ReloadRequest,
    catalog::{self, CatalogQuery, Reconfiguration},
    config::{self, Config, Diagnostic, Diagnostics, Fingerprint, Severity},
    dns::Responder,
    model::{ReloadDiagnostic, ReloadResult, Reloaded},
    telemetry::Metrics,
};

/// How often the files are looked at. A change is applied when two looks agree, so that a file half written is not read.
const LOOK: Duration = Duration::from_secs(1);

/// How long a reload waits for the catalog to take in what stands in the files.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the reloader is told from within the program; who only wants the files read again sends a [`ReloadRequest`].
#[derive(Debug)]
pub(super) enum Command {
    /// Go over to this configuration.
    Apply(Box<Config>, oneshot::Sender<Reloaded>),
    /// Stop the sources and end.
    Stop(oneshot::Sender<()>),
}

/// Owns the sources and knows which configuration is in effect.
#[derive(Debug)]
pub(super) struct Reloader {
    /// What is in effect.
    config: Arc<Config>,
    sources: Sources,
    catalog: mpsc::Sender<catalog::CatalogRequest>,
    responder: Arc<Responder>,
    metrics: Arc<Metrics>,
    serial: u32,
    /// What the files looked like before they were last read.
    read: Option<Fingerprint>,
    /// What they looked like when they were last looked at.
    seen: Option<Fingerprint>,
    /// Files that the last reload had something against.
    faulty: Vec<PathBuf>,
}

impl Reloader {
    /// Makes the reloader of a catalog that has `config` and `serial` already; starts the sources.
    pub(super) fn new(
        config: Arc<Config>,
        serial: u32,
        mut sources: Sources,
        catalog: mpsc::Sender<catalog::CatalogRequest>,
        responder: Arc<Responder>,
    ) -> Self {
        let metrics = Arc::clone(responder.metrics());
        let _ = sources.start(Plan::new(None, &config), Default::default());
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

    /// Reloads whenever it is asked to; returns when it is told to stop.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut requests: mpsc::Receiver<ReloadRequest>,
    ) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                _ = look.tick(), if self.config.watch_files && self.config.path.is_some() => {
                    if self.have_files_changed().await {
                        self.reload("change of files").await;
                    }
                }
            }
        }
    }

    /// Reads the files again and goes over to what they say, if that can be used.
    async fn reload(&mut self, trigger: &'static str) -> Reloaded {
        let Some(path) = self.config.path.clone() else {
            let note = "the bundled demo has no file to read again: write a muster.toml and restart";
            error!("not reloaded: {note}");
            self.metrics.reloaded(ReloadResult::Rejected);
            return outcome(ReloadResult::Rejected, &Diagnostics::default(), vec![note.to_owned()]);
        };
        let look = self.look();
        // Reading may block, on a network file system for long.
        let read = tokio::task::spawn_blocking(move || (look(), config::load(&path)));
        let reloaded = match read.await {
            Ok((stamp, Ok(loaded))) => {
                self.read = Some(stamp);
                self.faulty.clear();
                self.apply(loaded.config, &loaded.warnings).await
            }
            Ok((stamp, Err(report))) => {
                self.faulty = report.diagnostics().iter().map(|one| one.file().to_owned()).collect();
                self.faulty.dedup();
                self.read = Some(stamp.with(self.faulty.iter().map(PathBuf::as_path)));
                refuse(&report)
            }
            Err(failure) => {
                let note = format!("the files could not be read: {failure}");
                error!("not reloaded: {note}");
                outcome(ReloadResult::Rejected, &Diagnostics::default(), vec![note])
            }
        };
        match reloaded.result {
            ReloadResult::Unchanged => debug!(trigger, "the configuration says what it said before"),
            ReloadResult::Applied => info!(trigger, "the new configuration is in effect"),
            ReloadResult::Rejected => error!(trigger, "the configuration that is in effect stays so"),
        }
        self.metrics.reloaded(reloaded.result);
        reloaded
    }

    /// Goes over to a configuration that has been checked.
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
        // First, since it alone can fail.
        if let Err(failure) = self.responder.reload(&config) {
            let note = format!("[forward] cannot be used: {failure}");
            error!("not reloaded: {note}");
            return outcome(ReloadResult::Rejected, warnings, vec![note]);
        }
        let config = Arc::new(config);
        let plan = Plan::new(Some(&self.config), &config);
        self.sources.stop(&plan).await;
        self.serial = next_serial(self.serial, serial());
        let change = Reconfiguration {
            from: Arc::clone(&self.config),
            to: Arc::clone(&config),
            serial: self.serial,
            restarted: plan.restarted(),
            probed: plan.probed(),
        };
        let (done, answer) = oneshot::channel();
        // A catalog that does not answer has ended, and with it the program will.
        let _ = self.catalog.send(catalog::CatalogRequest::Reconfigure { change, done }).await;
        let said = self.sources.start(plan, answer.await.unwrap_or_default());
        let _ = tokio::time::timeout(PATIENCE, self.answered(said)).await;
        self.config = config;
        outcome(ReloadResult::Applied, warnings, notes)
    }

    /// Waits until what the configuration itself says of instances is answered: who has edited it looks next.
    async fn answered(&self, said: Vec<oneshot::Receiver<()>>) {
        for one in said {
            let _ = one.await;
        }
        let (reading, read) = CatalogQuery::new(|_| ());
        let _ = self.catalog.send(catalog::CatalogRequest::Query(reading)).await;
        let _ = read.await;
    }

    /// Tells whether the files look otherwise than when they were last read, and the same as when last looked at.
    async fn have_files_changed(&mut self) -> bool {
        let Ok(now) = tokio::task::spawn_blocking(self.look()).await else { return false };
        let is_calm = self.seen.as_ref() == Some(&now);
        let is_news = self.read.as_ref() != Some(&now);
        self.seen = Some(now);
        is_calm && is_news
    }

    /// Looks at the files of the configuration in effect, and at those that keep another from being so.
    fn look(&self) -> impl FnOnce() -> Fingerprint + Send + 'static {
        let (config, faulty) = (Arc::clone(&self.config), self.faulty.clone());
        move || Fingerprint::take(&config, faulty.iter().map(PathBuf::as_path))
    }
}

/// Takes back what cannot change while the program runs; gives a note for each.
fn keep_fixed(old: &Config, new: &mut Config) -> Vec<String> {
    let mut changed = Vec::new();
    // Sockets are bound once, before privileges may be gone.
    keep("[listen]", &old.listen, &mut new.listen, &mut changed);
    // The transports hold these for as long as they run.
    keep("[access]", &old.access, &mut new.access, &mut changed);
    let note = |table| format!("{table} has changed: that takes a restart; everything else is applied");
    changed.into_iter().map(note).collect()
}

fn keep<T: Clone + PartialEq>(table: &'static str, old: &T, new: &mut T, changed: &mut Vec<&'static str>) {
    if new != old {
        new.clone_from(old);
        changed.push(table);
    }
}

/// Logs every diagnostic of a configuration that cannot be used, each once.
fn refuse(report: &Diagnostics) -> Reloaded {
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
        ReloadResult::Unchanged => "unchanged: the configuration in effect is what the files say\n",
        ReloadResult::Rejected => "refused: nothing has changed, the old configuration stays in effect\n",
    });
    let diagnostics = report.diagnostics().iter().map(plain).collect();
    Reloaded { result, text, diagnostics, notes }
}

fn plain(diagnostic: &Diagnostic) -> ReloadDiagnostic {
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
    async fn files_are_read_again_when_two_looks_agree_that_they_have_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("muster.toml");
        std::fs::write(&path, "").unwrap();
        let config = Arc::new(config::load(&path).unwrap().config);
        let sources = Sources::new(mpsc::channel(1).0, Arc::default());
        let metrics = Arc::new(Metrics::new().unwrap());
        let responder = Arc::new(Responder::new(Arc::default(), metrics, None));
        let mut reloader = Reloader::new(config, 1, sources, mpsc::channel(1).0, responder);
        assert!(!reloader.have_files_changed().await, "the first look has nothing to agree with");
        assert!(reloader.have_files_changed().await, "what they said at the start may be old by now");
        reloader.read = reloader.seen.clone();
        assert!(!reloader.have_files_changed().await);
        for text in ["# half", "# half written"] {
            std::fs::write(&path, text).unwrap();
            assert!(!reloader.have_files_changed().await, "still being written");
        }
        assert!(reloader.have_files_changed().await);
    }
}
