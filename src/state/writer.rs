//! The writer: a thread that opens the store, and writes behind what changes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{
    record::{
        ImportRecord, InstanceRecord, MemberRecord, encode, import_key, import_of, member_key, member_of,
    },
    restore::{Clocks, Restored, restore},
    rules::Rules,
    store::{Batch, Store},
};
use crate::{
    config::Config,
    model::{Freshness, StateChanges, WatchSubject},
    telemetry::{Metrics, StatusBoard},
};

/// Takes changed state from the catalog, all of it if asked to, and the configuration if it has
/// changed. `None` when the catalog has ended.
pub type TakeChanges = Box<dyn FnMut(bool) -> Option<(StateChanges, Option<Arc<Config>>)> + Send>;

/// Shortest time between two writes.
const WRITE_INTERVAL: Duration = Duration::from_secs(2);

/// Longest time between two writes, so that restored state is not taken for older than it is.
const MAX_ALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// How long a start waits for the store.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A time of loss is written again only if it differs by more: clocks drift.
const TOLERANCE_MS: u64 = 5000;

/// Access to the thread that writes. The thread ends soon after this is dropped.
#[derive(Debug)]
pub struct StateWriter {
    orders: Sender<Order>,
}

/// What the thread is told.
enum Order {
    /// Write what these report from now on.
    Begin(TakeChanges, Arc<StatusBoard>),
    /// Write once more, and end.
    Stop(oneshot::Sender<()>),
}

/// Opens the store in `folder` on a thread of its own, and reads it.
///
/// Whatever is wrong with the store is a warning. The state is empty then, and the writer tries to
/// open the store again. Returns no writer if there can be no thread or the file system does not
/// respond.
pub async fn start(
    folder: PathBuf,
    config: &Config,
    metrics: Arc<Metrics>,
) -> (Option<StateWriter>, Restored) {
    let (orders, ordered) = channel();
    let (done, restored) = oneshot::channel();
    let rules = Rules::new(config);
    let max_stale = config.max_stale;
    let thread = thread::Builder::new().name("muster-state".to_owned());
    let spawned = thread.spawn(move || {
        let (writer, restored) = Writer::open(folder, rules, max_stale, metrics);
        if done.send(restored).is_ok() {
            writer.run(&ordered);
        }
    });
    if let Err(error) = spawned {
        warn!("the last known good state is not kept: cannot start a thread: {error}");
        return (None, Restored::default());
    }
    match tokio::time::timeout(OPEN_TIMEOUT, restored).await {
        Ok(Ok(restored)) => (Some(StateWriter { orders }), restored),
        Ok(Err(_)) | Err(_) => {
            warn!("the last known good state is not kept: its folder does not respond");
            (None, Restored::default())
        }
    }
}

impl StateWriter {
    /// Begins to write what has changed.
    pub fn begin(&self, take: TakeChanges, board: Arc<StatusBoard>) {
        // A thread that has ended has said why.
        let _ = self.orders.send(Order::Begin(take, board));
    }

    /// Writes once more; returns when that is done.
    pub async fn stop(self) {
        let (done, stopped) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).is_ok() {
            let _ = stopped.await;
        }
    }
}

/// The state of the thread.
struct Writer {
    folder: PathBuf,
    rules: Rules,
    metrics: Arc<Metrics>,
    /// How old the store's time may get while nothing changes.
    alive_interval: Duration,
    /// `None` while it cannot be opened, and after a failed write.
    store: Option<Store>,
    /// The last warning, which is not repeated.
    warned: Option<String>,
    /// Whether the store lacks everything.
    is_empty: bool,
    /// What is to be written. It stays after a failure.
    batch: Batch,
    /// The times of loss that the store has, or will have after the batch.
    stale_members: HashMap<String, u64>,
    stale_imports: HashMap<String, u64>,
    written: Option<Instant>,
}

impl Writer {
    fn open(folder: PathBuf, rules: Rules, max_stale: Duration, metrics: Arc<Metrics>) -> (Self, Restored) {
        let mut writer = Self {
            folder,
            rules,
            metrics,
            alive_interval: (max_stale / 10).clamp(WRITE_INTERVAL, MAX_ALIVE_INTERVAL),
            store: None,
            warned: None,
            is_empty: true,
            batch: Batch::default(),
            stale_members: HashMap::new(),
            stale_imports: HashMap::new(),
            written: None,
        };
        let (store, stored) = match Store::open(&writer.folder) {
            Ok(opened) => opened,
            Err(reason) => {
                writer.warn(reason);
                return (writer, Restored::default());
            }
        };
        writer.store = Some(store);
        writer.is_empty = false;
        let (wall, monotonic) = (wall_clock(), Instant::now());
        let alive = stored.alive;
        writer.stale_members = stored.stale_members.iter().cloned().collect();
        writer.stale_imports = stored.stale_imports.iter().cloned().collect();
        let records: (Vec<String>, Vec<String>) = (
            stored.members.iter().map(|(key, _)| key.clone()).collect(),
            stored.imports.iter().map(|(key, _)| key.clone()).collect(),
        );
        let restored = restore(stored, &writer.rules, max_stale, Clocks { wall, monotonic });
        writer.date_records(records, alive, &restored);
        writer.metrics.state_restored(restored.updates.len() + restored.retained.instances.len());
        (writer, restored)
    }

    /// Gives all restored records a time of their own, since the store's time goes on from now; drops
    /// the records that were not restored.
    fn date_records(
        &mut self,
        (members, imports): (Vec<String>, Vec<String>),
        alive: u64,
        restored: &Restored,
    ) {
        let retained = &restored.retained;
        let kept: HashSet<String> =
            retained.members.keys().chain(retained.instances.keys()).map(member_key).collect();
        for key in members {
            if !kept.contains(&key) {
                self.batch.members.insert(key.clone(), None);
                self.stale_members.remove(&key);
                self.batch.stale_members.insert(key, None);
            } else if !self.stale_members.contains_key(&key) {
                self.stale_members.insert(key.clone(), alive);
                self.batch.stale_members.insert(key, Some(alive));
            }
        }
        let kept: HashSet<String> = retained.imports.keys().map(import_key).collect();
        for key in imports {
            if !kept.contains(&key) {
                self.batch.imports.insert(key.clone(), None);
                self.stale_imports.remove(&key);
                self.batch.stale_imports.insert(key, None);
            } else if !self.stale_imports.contains_key(&key) {
                self.stale_imports.insert(key.clone(), alive);
                self.batch.stale_imports.insert(key, Some(alive));
            }
        }
    }

    fn run(mut self, orders: &Receiver<Order>) {
        let Ok(Order::Begin(mut take, board)) = orders.recv() else { return };
        loop {
            let stopped = match orders.recv_timeout(WRITE_INTERVAL) {
                Err(RecvTimeoutError::Timeout) => None,
                Ok(Order::Stop(done)) => Some(done),
                Ok(Order::Begin(..)) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let is_running = self.take(&mut take);
            self.note_freshness(&board.freshness());
            self.write(stopped.is_some());
            if let Some(done) = stopped {
                let _ = done.send(());
                return;
            }
            if !is_running {
                return;
            }
        }
    }

    /// Adds the catalog's changes to the batch; returns false when the catalog has ended.
    fn take(&mut self, take: &mut TakeChanges) -> bool {
        if self.store.is_none() && !self.reopen() {
            return true;
        }
        let mut everything = std::mem::take(&mut self.is_empty);
        loop {
            let Some((changes, config)) = take(everything) else { return false };
            if everything || config.is_some() {
                self.begin_again(config.as_deref());
            }
            everything = false;
            self.add(&changes);
            if !changes.has_more {
                return true;
            }
        }
    }

    /// Lets the batch replace everything in the store.
    fn begin_again(&mut self, config: Option<&Config>) {
        self.batch.clear = true;
        self.batch.members.clear();
        self.batch.imports.clear();
        let Some(config) = config else { return };
        self.rules = Rules::new(config);
        let rules = &self.rules;
        let gone = self
            .stale_members
            .extract_if(|key, _| member_of(key).is_none_or(|member| rules.member(&member).is_none()));
        self.batch.stale_members.extend(gone.map(|(key, _)| (key, None)));
        let gone = self
            .stale_imports
            .extract_if(|key, _| import_of(key).is_none_or(|import| rules.import(&import).is_none()));
        self.batch.stale_imports.extend(gone.map(|(key, _)| (key, None)));
    }

    fn add(&mut self, changes: &StateChanges) {
        for (member, instances) in &changes.members {
            let record = self.rules.member(member).zip(instances.as_ref()).map(|(rule, instances)| {
                encode(&MemberRecord { rule, instances: instances.iter().map(InstanceRecord::new).collect() })
            });
            self.batch.members.insert(member_key(member), record);
        }
        for (import, names) in &changes.imports {
            let record = self.rules.import(import).zip(names.as_ref()).map(|(rule, names)| {
                encode(&ImportRecord { rule, names: names.iter().map(ToString::to_string).collect() })
            });
            self.batch.imports.insert(import_key(import), record);
        }
    }

    /// Adds times of loss that are new or gone to the batch. Times that no watch follows stay.
    fn note_freshness(&mut self, freshness: &[(Arc<WatchSubject>, Freshness)]) {
        let (wall, monotonic) = (wall_clock(), Instant::now());
        for (subject, freshness) in freshness {
            let since = freshness.stale_since().map(|since| {
                let age = monotonic.saturating_duration_since(since).as_millis();
                wall.saturating_sub(u64::try_from(age).unwrap_or(u64::MAX))
            });
            match &**subject {
                WatchSubject::Members(members) => {
                    for member in members {
                        set(
                            &mut self.stale_members,
                            &mut self.batch.stale_members,
                            || member_key(member),
                            since,
                        );
                    }
                }
                WatchSubject::Import(import) => {
                    set(&mut self.stale_imports, &mut self.batch.stale_imports, || import_key(import), since);
                }
            }
        }
    }

    fn write(&mut self, is_last: bool) {
        let is_due = self.written.is_none_or(|written| written.elapsed() >= self.alive_interval);
        if self.batch.is_empty() && !is_due && !is_last {
            return;
        }
        let Some(store) = &self.store else {
            self.metrics.state_written(false);
            return;
        };
        match store.write(&self.batch, wall_clock()) {
            Ok(()) => {
                self.batch = Batch::default();
                self.written = Some(Instant::now());
                self.metrics.state_written(true);
                if self.warned.take().is_some() {
                    info!("the last known good state is written again");
                }
            }
            Err(reason) => {
                self.store = None;
                self.metrics.state_written(false);
                self.warn(format!("cannot write to {}: {reason}", self.folder.display()));
            }
        }
    }

    /// Opens the store again; returns whether that worked. It has what was written before, or nothing.
    fn reopen(&mut self) -> bool {
        let (store, stored) = match Store::open(&self.folder) {
            Ok(opened) => opened,
            Err(reason) => {
                self.warn(reason);
                return false;
            }
        };
        self.store = Some(store);
        self.is_empty |= stored.alive == 0;
        for (key, since) in stored.stale_members {
            self.stale_members.entry(key).or_insert(since);
        }
        for (key, since) in stored.stale_imports {
            self.stale_imports.entry(key).or_insert(since);
        }
        let again = |(key, since): (&String, &u64)| (key.clone(), Some(*since));
        self.batch.stale_members.extend(self.stale_members.iter().map(again));
        self.batch.stale_imports.extend(self.stale_imports.iter().map(again));
        true
    }

    /// Warns, but not of the same twice in a row.
    fn warn(&mut self, reason: String) {
        if self.warned.as_ref() != Some(&reason) {
            warn!("the last known good state is not kept: {reason}");
            self.warned = Some(reason);
        }
    }
}

/// Sets or removes one time of loss, if that changes anything.
fn set(
    stale: &mut HashMap<String, u64>,
    batch: &mut BTreeMap<String, Option<u64>>,
    key: impl FnOnce() -> String,
    since: Option<u64>,
) {
    if since.is_none() && stale.is_empty() {
        return;
    }
    let key = key();
    match since {
        None => {
            if stale.remove(&key).is_some() {
                batch.insert(key, None);
            }
        }
        Some(since) => {
            if stale.get(&key).is_none_or(|before| before.abs_diff(since) > TOLERANCE_MS) {
                stale.insert(key.clone(), since);
                batch.insert(key, Some(since));
            }
        }
    }
}

/// Milliseconds since 1970; 0 for a clock before that.
fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
