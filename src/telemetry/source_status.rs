//! The status of sources: written by their watches, read by metrics and the admin port.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::model::{Freshness, SourceId, StaleMembers, Staleness, WatchSubject};

use outages::Outages;

mod outages;

pub use outages::{FailureNews, SyncNews};

/// How long the process waits for a source's first answer before it counts as ready without it.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The status of every configured source, in the order in which they were added.
#[derive(Debug)]
pub struct StatusBoard {
    sources: Mutex<Vec<Arc<SourceStatus>>>,
    started: Instant,
    /// Whether the process has been ready: see [`readiness`](Self::readiness).
    ready: AtomicBool,
    stopping: AtomicBool,
}

/// Whether the process is ready to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It waits for the first answer of a source.
    Starting,
    /// It is ready.
    Ready,
    /// It still answers, but stops soon.
    Stopping,
}

impl Default for StatusBoard {
    fn default() -> Self {
        Self {
            sources: Mutex::default(),
            started: Instant::now(),
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }
    }
}

impl StatusBoard {
    /// Adds a source; its watches write to the returned status.
    pub fn add(&mut self, id: SourceId) -> Arc<SourceStatus> {
        let status = Arc::new(SourceStatus::new(id));
        self.lock().push(Arc::clone(&status));
        status
    }

    /// Replaces all sources.
    pub fn replace(&self, sources: Vec<Arc<SourceStatus>>) {
        *self.lock() = sources;
    }

    /// Whether the process is ready to answer: every watch has synced or failed its first try, or the
    /// process has run for 30 s. From then on it stays ready until it stops.
    ///
    /// The state of a source does not take it back. An unready process gets no queries at all, and one
    /// lost source, or one denied watch after a reload, must not cost every other name.
    pub fn readiness(&self) -> Readiness {
        if self.stopping.load(Ordering::Relaxed) {
            return Readiness::Stopping;
        }
        if self.ready.load(Ordering::Relaxed) {
            return Readiness::Ready;
        }
        let has_started = self.started.elapsed() >= START_LIMIT;
        if !has_started && !self.reports().iter().all(SourceReport::has_tried) {
            return Readiness::Starting;
        }
        self.ready.store(true, Ordering::Relaxed);
        Readiness::Ready
    }

    /// Reports from now on that the process is stopping.
    pub fn announce_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Reports on every source.
    pub fn reports(&self) -> Vec<SourceReport> {
        let sources = self.lock().clone();
        sources.iter().map(|source| source.report()).collect()
    }

    /// The members whose watches do not follow their source, those without data included.
    pub fn stale_members(&self) -> StaleMembers {
        let sources = self.lock().clone();
        let mut stale = StaleMembers::default();
        for source in sources {
            for watch in source.lock().watches.values() {
                if let (Some(staleness), Some(WatchSubject::Members(members))) =
                    (watch.staleness(), watch.subject.as_deref())
                {
                    stale.extend(members.iter().map(|member| (member.clone(), staleness)));
                }
            }
        }
        stale
    }

    /// How fresh the state is that each watch has delivered. Leaves out watches without data.
    pub fn freshness(&self) -> Vec<(Arc<WatchSubject>, Freshness)> {
        let sources = self.lock().clone();
        sources.iter().flat_map(|source| source.freshness()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<SourceStatus>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status of one source: that of its watches together.
#[derive(Debug)]
pub struct SourceStatus {
    id: SourceId,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// Whether the source has something to watch.
    expects_watches: bool,
    watches: BTreeMap<u64, Watch>,
    last_error: Option<WatchFailure>,
    errors: BTreeMap<&'static str, u64>,
    updates: u64,
    /// Advice to operators on how to follow the source better, by topic.
    notes: BTreeMap<&'static str, String>,
    /// How many instances each guard of the source holds, by reason.
    held_instances: BTreeMap<u64, BTreeMap<&'static str, usize>>,
    /// Reported while the source restarts.
    frozen: Option<SourceReport>,
    outages: Outages,
    /// Whether every watch followed every change the last time that one of them synced.
    all_synced: bool,
}

#[derive(Debug)]
struct Watch {
    state: WatchState,
    has_data: bool,
    /// Whether the last response lacked entries that the token may not read.
    filtered: bool,
    /// What the watch delivers the state of.
    subject: Option<Arc<WatchSubject>>,
    /// Since when its data is stale; `None` if it is current or there is none.
    stale_since: Option<Instant>,
    /// How long its data is kept while it is stale.
    max_stale: Duration,
}

impl Watch {
    fn staleness(&self) -> Option<Staleness> {
        let since = self.stale_since?;
        // A limit beyond what the clock can tell is no limit.
        Some(Staleness { since, until: since.checked_add(self.max_stale) })
    }
}

/// The state of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// It has not synced since it started.
    Connecting,
    /// It has synced and follows every change.
    Synced,
    /// It has lost the source and retries.
    Failing,
}

/// The last error of a source.
#[derive(Clone, Debug)]
pub struct WatchFailure {
    /// The watch that failed, such as `service nginx`.
    pub watch: String,
    /// The kind of error, a label of metrics.
    pub kind: &'static str,
    /// The error and its causes.
    pub message: String,
    /// When it happened.
    pub at: Instant,
}

/// A source's status at one moment.
#[derive(Clone, Debug)]
pub struct SourceReport {
    /// The source.
    pub id: SourceId,
    /// Whether it has something to watch but no watch: none has started yet, or all have ended.
    pub unwatched: bool,
    /// Watches that have not synced since they started.
    pub connecting: usize,
    /// Watches that follow every change.
    pub synced: usize,
    /// Watches that have lost the source.
    pub failing: usize,
    /// Watches that have data to answer from, stale or not.
    pub with_data: usize,
    /// How stale the oldest stale data is; `None` if all data is current.
    pub stale: Option<Staleness>,
    /// Watches whose last response lacked entries that the source's token may not read.
    pub filtered: usize,
    /// The last error, if there ever was one; it stays after the source has recovered.
    pub last_error: Option<WatchFailure>,
    /// Errors so far, by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// Updates sent to the catalog so far.
    pub updates: u64,
    /// How many of its instances are held, by reason.
    pub held_instances: BTreeMap<&'static str, usize>,
    /// Advice to operators on how to follow the source better, although it works: a sentence
    /// each, without a period.
    pub notes: Vec<String>,
}

impl SourceReport {
    /// Whether every watch has synced, has retained data, or has failed at least once.
    pub fn has_tried(&self) -> bool {
        self.is_ready() || !self.unwatched && self.connecting == 0
    }

    /// Whether every watch has data, stale or not. A source that has something to watch but no
    /// watch is not ready.
    pub fn is_ready(&self) -> bool {
        !self.unwatched && self.with_data == self.connecting + self.synced + self.failing
    }
}

impl SourceStatus {
    /// Makes the status of a source without watches.
    pub fn new(id: SourceId) -> Self {
        Self { id, inner: Mutex::default() }
    }

    /// The source's id.
    pub fn id(&self) -> &SourceId {
        &self.id
    }

    /// Adds a watch, called `name` in errors; dropping the handle removes it.
    pub fn watch(self: &Arc<Self>, name: impl Into<String>) -> WatchHandle {
        let mut inner = self.lock();
        let key = inner.next;
        inner.next += 1;
        inner.frozen = None;
        inner.all_synced = false;
        let watch = Watch {
            state: WatchState::Connecting,
            has_data: false,
            filtered: false,
            subject: None,
            stale_since: None,
            max_stale: Duration::MAX,
        };
        inner.watches.insert(key, watch);
        drop(inner);
        WatchHandle { status: Arc::clone(self), key, name: name.into() }
    }

    /// Adds a guard; dropping the handle removes what it holds.
    pub fn guard(self: &Arc<Self>) -> HeldHandle {
        let mut inner = self.lock();
        let key = inner.next;
        inner.next += 1;
        HeldHandle { status: Arc::clone(self), key }
    }

    /// Sets whether the source has something to watch.
    pub fn expect_watches(&self, expects: bool) {
        self.lock().expects_watches = expects;
    }

    /// Sets or removes the note on a topic, such as `notifiers`; returns whether it has changed. A
    /// note says that the source works, but is followed in a worse way than it could be, and what to
    /// do about it.
    pub fn note(&self, topic: &'static str, note: Option<String>) -> bool {
        let mut inner = self.lock();
        let old = match note.clone() {
            Some(note) => inner.notes.insert(topic, note),
            None => inner.notes.remove(topic),
        };
        old != note
    }

    /// Freezes the report until the next watch is added: a source that restarts has no watches for
    /// a moment, but its instances are still answered.
    pub fn freeze(&self) {
        let report = self.report();
        self.lock().frozen = Some(report);
    }

    /// Reports on the source.
    pub fn report(&self) -> SourceReport {
        let inner = self.lock();
        if let Some(frozen) = &inner.frozen {
            return frozen.clone();
        }
        let count = |state| inner.watches.values().filter(|watch| watch.state == state).count();
        SourceReport {
            id: self.id.clone(),
            unwatched: inner.expects_watches && inner.watches.is_empty(),
            connecting: count(WatchState::Connecting),
            synced: count(WatchState::Synced),
            failing: count(WatchState::Failing),
            with_data: inner.watches.values().filter(|watch| watch.has_data).count(),
            stale: inner.watches.values().filter_map(Watch::staleness).min(),
            filtered: inner.watches.values().filter(|watch| watch.filtered).count(),
            last_error: inner.last_error.clone(),
            errors: inner.errors.clone(),
            updates: inner.updates,
            held_instances: inner.held_instances(),
            notes: inner.notes.values().cloned().collect(),
        }
    }

    /// How fresh the state is that each watch has delivered. Leaves out watches without data.
    pub fn freshness(&self) -> Vec<(Arc<WatchSubject>, Freshness)> {
        let inner = self.lock();
        let freshness = |watch: &Watch| {
            let freshness = match watch.stale_since {
                Some(since) => Freshness::StaleSince(since),
                None if watch.state == WatchState::Synced => Freshness::Current,
                None => return None,
            };
            Some((watch.subject.clone()?, freshness))
        };
        inner.watches.values().filter_map(freshness).collect()
    }

    /// Ignores poison: a panic while the lock was held leaves counters off by one at worst.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What the sync of a watch is to an operator.
    fn sync_news(&mut self, key: u64) -> SyncNews {
        let back_after = self.outages.synced(key, Instant::now());
        let all_synced = self.watches.values().all(|watch| watch.state == WatchState::Synced);
        let is_new = all_synced && !std::mem::replace(&mut self.all_synced, all_synced);
        SyncNews { back_after, all_synced: is_new.then_some(self.watches.len()) }
    }

    /// Those of all guards together.
    fn held_instances(&self) -> BTreeMap<&'static str, usize> {
        let mut all = BTreeMap::new();
        for (why, count) in self.held_instances.values().flatten() {
            *all.entry(*why).or_default() += count;
        }
        all
    }
}

/// A guard's access to its source's status.
#[derive(Debug)]
pub struct HeldHandle {
    status: Arc<SourceStatus>,
    key: u64,
}

impl HeldHandle {
    /// The id of the guard's source.
    pub fn source(&self) -> &SourceId {
        &self.status.id
    }

    /// Sets how many instances the guard holds, by reason.
    pub fn set(&self, counts: BTreeMap<&'static str, usize>) {
        let mut inner = self.status.lock();
        if counts.is_empty() {
            inner.held_instances.remove(&self.key);
        } else {
            inner.held_instances.insert(self.key, counts);
        }
    }
}

impl Drop for HeldHandle {
    fn drop(&mut self) {
        self.status.lock().held_instances.remove(&self.key);
    }
}

/// A watch's access to its source's status.
#[derive(Debug)]
pub struct WatchHandle {
    status: Arc<SourceStatus>,
    key: u64,
    name: String,
}

impl WatchHandle {
    /// The watch's name in errors and logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the watch's source.
    pub fn source(&self) -> &SourceId {
        &self.status.id
    }

    /// Says what the watch delivers the state of.
    pub fn follow(&self, subject: WatchSubject) {
        self.change(|watch| watch.subject = Some(Arc::new(subject)));
    }

    /// Says how long the watch's data is kept while it is stale.
    pub fn keep_stale_for(&self, max_stale: Duration) {
        self.change(|watch| watch.max_stale = max_stale);
    }

    /// The watch has synced and follows every change. Returns what of that is news.
    pub fn synced(&self) -> SyncNews {
        self.change(|watch| {
            (watch.state, watch.has_data, watch.stale_since) = (WatchState::Synced, true, None);
        });
        self.status.lock().sync_news(self.key)
    }

    /// The watch starts with all of its data retained, which is stale since this time.
    pub fn retained(&self, since: Instant) {
        self.change(|watch| (watch.has_data, watch.stale_since) = (true, Some(since)));
    }

    /// The watch's data, as far as there is any, is stale since this time.
    pub fn lost(&self, since: Instant) {
        self.change(|watch| watch.stale_since = Some(since));
    }

    /// Counts updates sent to the catalog.
    pub fn sent(&self, count: u64) {
        self.status.lock().updates += count;
    }

    /// Sets whether the last response lacked entries that the token may not read; returns whether it
    /// is the first such response after others.
    pub fn filtered(&self, is_filtered: bool) -> bool {
        let mut inner = self.status.lock();
        let Some(watch) = inner.watches.get_mut(&self.key) else { return false };
        !std::mem::replace(&mut watch.filtered, is_filtered) && is_filtered
    }

    /// The watch has failed; its data is stale but kept. Returns what of that is news.
    pub fn failed(&self, kind: &'static str, message: String) -> FailureNews {
        let now = Instant::now();
        self.change(|watch| watch.state = WatchState::Failing);
        let mut inner = self.status.lock();
        *inner.errors.entry(kind).or_default() += 1;
        inner.last_error = Some(WatchFailure { watch: self.name.clone(), kind, message, at: now });
        inner.all_synced = false;
        inner.outages.failed(self.key, kind, now)
    }

    /// The watch's data is too old to be used.
    pub fn expired(&self) {
        self.change(|watch| {
            (watch.state, watch.has_data, watch.stale_since) = (WatchState::Failing, false, None);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Watch)) {
        let mut inner = self.status.lock();
        let watch = inner.watches.get_mut(&self.key);
        debug_assert!(watch.is_some(), "dropping the handle removes the watch");
        if let Some(watch) = watch {
            change(watch);
        }
    }
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        let mut inner = self.status.lock();
        inner.watches.remove(&self.key);
        inner.outages.ended(self.key);
    }
}

impl WatchFailure {
    /// How long ago it happened.
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

#[cfg(test)]
mod tests;
