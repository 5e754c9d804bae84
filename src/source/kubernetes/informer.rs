//! Informers: a feed together with the objects that it has delivered, as in Kubernetes' client
//! libraries.
//!
//! An informer outlives the watch that reads it: after a reload, the next watch goes on with the
//! open response and finds all objects, without a list.

use std::{fmt, sync::Arc, thread};

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    collection::{Object, ObjectChange},
    feed::{Feed, ended},
};
use crate::source::WatchError;

/// An informer that watches hand on to each other; one at a time reads it.
pub(super) type SharedInformer<T, S> = Arc<Mutex<Informer<T, S>>>;

/// A feed of `T`, and a store `S` of the objects that it has delivered.
pub(super) struct Informer<T, S> {
    feed: Feed<T>,
    changes: Option<BoxStream<'static, Result<ObjectChange<T>, WatchError>>>,
    is_current: bool,
    /// The objects, as the reader has put them there.
    pub(super) store: S,
}

/// A watch's turn to read an informer. After a panic the feed starts over: the store may be half
/// changed.
pub(super) struct InformerReader<'i, T: Object, S>(MutexGuard<'i, Informer<T, S>>);

impl<T: Object, S: Default> Informer<T, S> {
    pub(super) fn new(feed: Feed<T>) -> Self {
        Self { feed, changes: None, is_current: false, store: S::default() }
    }
}

impl<T: Object, S> Informer<T, S> {
    /// Whether every change is followed, so that the store holds the current objects.
    pub(super) fn is_current(&self) -> bool {
        self.is_current
    }

    /// Returns the next change; connects if there is no connection. The first change after an error
    /// is [`ObjectChange::All`] or [`ObjectChange::Resumed`].
    ///
    /// Dropping the future loses no change.
    ///
    /// # Errors
    /// As the feed's.
    pub(super) async fn next(&mut self) -> Result<ObjectChange<T>, WatchError> {
        let changes = self.changes.get_or_insert_with(|| self.feed.changes().boxed());
        let change = changes.try_next().await?.ok_or_else(ended)?;
        self.is_current = true;
        Ok(change)
    }

    /// Closes the connection.
    pub(super) fn close(&mut self) {
        (self.changes, self.is_current) = (None, false);
    }
}

impl<'i, T: Object, S> InformerReader<'i, T, S> {
    /// Waits until no other watch reads the informer.
    pub(super) async fn lock(informer: &'i Mutex<Informer<T, S>>) -> Self {
        Self(informer.lock().await)
    }

    pub(super) fn informer(&mut self) -> &mut Informer<T, S> {
        &mut self.0
    }
}

impl<T: Object, S> Drop for InformerReader<'_, T, S> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
        }
    }
}

impl<T, S> fmt::Debug for Informer<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Informer").field("is_current", &self.is_current).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use futures_util::FutureExt as _;

    use super::*;
    use crate::source::kubernetes::{cluster::Cluster, fake::settings, pod_watch, scope::Scope};

    #[test]
    fn only_a_panic_closes_an_informer_that_is_left() {
        let informer = Cluster::new(settings(None)).pods(pod_watch::collection(&Scope::Cluster));
        let lock = || InformerReader::lock(&informer).now_or_never().unwrap();
        lock().informer().is_current = true;
        assert!(lock().informer().is_current());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _reader = lock();
            panic!("while the store is half changed");
        }));
        assert!(panicked.is_err() && !lock().informer().is_current());
    }
}
