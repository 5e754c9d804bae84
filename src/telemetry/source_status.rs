//! How the sources are: written by their watches, read by the admin port.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::model::SourceId;

/// The status of every configured source, in the order in which they were added.
#[derive(Debug, Default)]
pub struct StatusBoard {
    sources: Mutex<Vec<Arc<SourceStatus>>>,
}

impl StatusBoard {
    /// Adds a source and returns what its watches write to.
    pub fn add(&mut self, id: SourceId) -> Arc<SourceStatus> {
        let status = Arc::new(SourceStatus::new(id));
        self.lock().push(Arc::clone(&status));
        status
    }

    /// Puts these sources in the place of those that were there.
    pub fn replace(&self, sources: Vec<Arc<SourceStatus>>) {
        *self.lock() = sources;
    }

    /// Reports on every source.
    pub fn reports(&self) -> Vec<SourceReport> {
        let sources = self.lock().clone();
        sources.iter().map(|source| source.report()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<SourceStatus>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status of one source: that of all its watches.
#[derive(Debug)]
pub struct SourceStatus {
    id: SourceId,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// Whether there should be a watch.
    expects_watches: bool,
    watches: BTreeMap<u64, Watch>,
    last_error: Option<WatchFailure>,
    errors: BTreeMap<&'static str, u64>,
    updates: u64,
    /// What is reported while the source starts anew.
    held: Option<SourceReport>,
}

#[derive(Debug)]
struct Watch {
    state: WatchState,
    has_data: bool,
}

/// Where one watch of a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// It has not heard from the source since it started.
    Connecting,
    /// It hears every change.
    Synced,
    /// It has lost the source and tries again.
    Failing,
}

/// The last error of a source.
#[derive(Clone, Debug)]
pub struct WatchFailure {
    /// Which watch failed, in words such as `service nginx`.
    pub watch: String,
    /// The error's kind, as metrics count it.
    pub kind: &'static str,
    /// The error and its causes.
    pub message: String,
    /// When it happened.
    pub at: Instant,
}

/// A source's status at one moment.
#[derive(Clone, Debug)]
pub struct SourceReport {
    /// Which source.
    pub id: SourceId,
    /// Whether it should have watches and has none: they are still to come, or all have ended.
    pub unwatched: bool,
    /// Watches that have not heard from the source yet.
    pub connecting: usize,
    /// Watches that hear every change.
    pub synced: usize,
    /// Watches that have lost the source.
    pub failing: usize,
    /// Watches that have something to answer from, be it stale.
    pub with_data: usize,
    /// The last error, if there ever was one; it stays after the source has recovered.
    pub last_error: Option<WatchFailure>,
    /// Errors so far, by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// Updates sent to the catalog so far.
    pub updates: u64,
}

impl SourceReport {
    /// Tells whether every watch has synced once and still has data, stale or not; never so without the watches that
    /// were expected.
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

    /// Adds a watch, called `name` in errors; it is taken off when the handle is dropped.
    pub fn watch(self: &Arc<Self>, name: impl Into<String>) -> WatchHandle {
        let mut inner = self.lock();
        let key = inner.next;
        inner.next += 1;
        inner.held = None;
        inner.watches.insert(key, Watch { state: WatchState::Connecting, has_data: false });
        drop(inner);
        WatchHandle { status: Arc::clone(self), key, name: name.into() }
    }

    /// Notes whether the source should have watches: while it should and has none it is not ready.
    pub fn expect_watches(&self, expects: bool) {
        self.lock().expects_watches = expects;
    }

    /// Keeps the report as it is now until the next watch is added: the watches of a source that starts anew are gone
    /// for a moment, but what they said is answered still.
    pub fn hold(&self) {
        let report = self.report();
        self.lock().held = Some(report);
    }

    /// Reports on the source.
    pub fn report(&self) -> SourceReport {
        let inner = self.lock();
        if let Some(held) = &inner.held {
            return held.clone();
        }
        let count = |state| inner.watches.values().filter(|watch| watch.state == state).count();
        SourceReport {
            id: self.id.clone(),
            unwatched: inner.expects_watches && inner.watches.is_empty(),
            connecting: count(WatchState::Connecting),
            synced: count(WatchState::Synced),
            failing: count(WatchState::Failing),
            with_data: inner.watches.values().filter(|watch| watch.has_data).count(),
            last_error: inner.last_error.clone(),
            errors: inner.errors.clone(),
            updates: inner.updates,
        }
    }

    /// A panic while the lock was held leaves counters at worst one off, so poison is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One watch's pen on its source's status.
#[derive(Debug)]
pub struct WatchHandle {
    status: Arc<SourceStatus>,
    key: u64,
    name: String,
}

impl WatchHandle {
    /// What the watch is called in errors and logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the watch's source.
    pub fn source(&self) -> &SourceId {
        &self.status.id
    }

    /// Notes that the watch hears every change now.
    pub fn synced(&self) {
        self.set(WatchState::Synced, Some(true));
    }

    /// Notes that the source has data from before the watch began.
    pub fn carried(&self) {
        self.set(WatchState::Connecting, Some(true));
    }

    /// Notes `count` updates sent to the catalog.
    pub fn sent(&self, count: u64) {
        self.status.lock().updates += count;
    }

    /// Notes a failure of the watch; what it said last still counts.
    pub fn failed(&self, kind: &'static str, message: String) {
        {
            let mut inner = self.status.lock();
            *inner.errors.entry(kind).or_default() += 1;
            inner.last_error =
                Some(WatchFailure { watch: self.name.clone(), kind, message, at: Instant::now() });
        }
        self.set(WatchState::Failing, None);
    }

    /// Notes that what the watch said last is too old to be used.
    pub fn expired(&self) {
        self.set(WatchState::Failing, Some(false));
    }

    fn set(&self, state: WatchState, has_data: Option<bool>) {
        if let Some(watch) = self.status.lock().watches.get_mut(&self.key) {
            watch.state = state;
            watch.has_data = has_data.unwrap_or(watch.has_data);
        }
    }
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        self.status.lock().watches.remove(&self.key);
    }
}

impl WatchFailure {
    /// How long ago it happened.
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SourceKind;

    fn source() -> Arc<SourceStatus> {
        StatusBoard::default().add(SourceId { kind: SourceKind::Consul, name: "vms".into() })
    }

    #[test]
    fn a_source_is_ready_when_every_watch_has_data() {
        let source = source();
        let one = source.watch("service a");
        let two = source.watch("service b");
        one.synced();
        assert!(!source.report().is_ready());
        two.synced();
        assert!(source.report().is_ready());
        two.failed("http", "503".into());
        assert!(source.report().is_ready(), "stale data still answers");
        two.expired();
        assert!(!source.report().is_ready());
        drop(two);
        assert!(source.report().is_ready(), "a watch that is gone does not count");
    }

    #[test]
    fn a_source_without_the_watches_that_were_expected_is_not_ready() {
        let source = source();
        assert!(source.report().is_ready(), "nothing is asked of it");
        source.expect_watches(true);
        assert!(!source.report().is_ready());
        let watch = source.watch("service a");
        assert!(!source.report().is_ready());
        watch.synced();
        assert!(source.report().is_ready());
        let child = source.watch("service b");
        child.synced();
        drop(child);
        assert!(source.report().is_ready(), "some come and go");
        drop(watch);
        assert!(!source.report().is_ready(), "the last one is gone");
    }

    #[test]
    fn a_source_that_starts_anew_is_reported_as_it_was_until_its_watches_are_there() {
        let source = source();
        source.expect_watches(true);
        let watch = source.watch("service a");
        watch.synced();
        source.hold();
        drop(watch);
        assert!(source.report().is_ready(), "what it said is answered still");
        let watch = source.watch("service b");
        assert!(!source.report().is_ready(), "this one has nothing");
        watch.carried();
        assert!(source.report().is_ready());
    }

    #[test]
    fn errors_are_counted_by_kind_and_the_last_one_is_kept() {
        let source = source();
        let watch = source.watch("service a");
        watch.failed("connect", "refused".into());
        watch.failed("connect", "refused".into());
        watch.failed("http", "403".into());
        let report = source.report();
        assert_eq!(report.errors.get("connect"), Some(&2));
        assert_eq!(report.last_error.map(|e| e.message).as_deref(), Some("403"));
        assert_eq!(report.failing, 1);
    }
}
