//! A watch and its way to the catalog.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

use super::{outbox::Outbox, watch_error::WatchError};
use crate::{
    model::Update,
    telemetry::{FailureNews, SyncNews, WatchHandle},
};

/// One stream of changes from a source, such as one Consul service or the pods of one selector.
///
/// After a failure, a panic included, the watch is run again. Whatever it keeps in `self` (an
/// index, a client) stays.
pub trait Watch: Send {
    /// Follows the source until that fails. The first update after every connection is an
    /// [`Update::Reset`] or an [`Update::Imported`].
    ///
    /// # Errors
    /// The reason why the connection ended. A change that an update can carry is never an error.
    fn run(&mut self, out: &mut WatchOutbox) -> impl Future<Output = Result<Infallible, WatchError>> + Send;
}

/// One watch's way to the catalog: sends updates, counts them, and notes when the watch has synced.
#[derive(Debug)]
pub struct WatchOutbox {
    pub(super) outbox: Outbox,
    pub(super) handle: Arc<WatchHandle>,
    pub(super) sync_state: watch::Sender<SyncState>,
}

/// How current the state is that a watch has delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncState {
    /// There is no state: the watch never synced, or its state has expired.
    Unsynced,
    /// The watch has followed every change since this time.
    Synced(Instant),
    /// The watch lost the source at this time; its last state is still served.
    Stale(Instant),
}

impl WatchOutbox {
    /// Sends one update; waits while the channel is full.
    ///
    /// # Errors
    /// [`WatchError::Closed`] when the program is stopping.
    pub async fn send(&mut self, update: Update) -> Result<(), WatchError> {
        self.outbox.send(update).await?;
        self.handle.sent(1);
        self.synced();
        Ok(())
    }

    /// Notes whether the source left entries out of its last response since the token may not read
    /// them; logs it once.
    pub fn filtered(&self, is_filtered: bool) {
        if self.handle.filtered(is_filtered) {
            warn!(
                source = %self.handle.source(), watch = self.handle.name(),
                "the source leaves out entries that the token may not read; they are not answered. Grant the \
                 token more permissions unless this is intended",
            );
        }
    }

    /// Sends the changes of one response, which become visible together.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_all(&mut self, changes: Vec<Update>) -> Result<(), WatchError> {
        match Update::together(changes) {
            Some(update) => self.send(update).await,
            None => Ok(()),
        }
    }

    /// Notes that the watch follows every change now, also when there was nothing to send.
    pub fn synced(&mut self) {
        let has_changed = self.sync_state.send_if_modified(|sync_state| {
            let was_synced = matches!(sync_state, SyncState::Synced(_));
            if !was_synced {
                *sync_state = SyncState::Synced(Instant::now());
            }
            !was_synced
        });
        if has_changed {
            let (source, watch) = (self.handle.source(), self.handle.name());
            debug!(%source, watch, "synced");
            let SyncNews { back_after, all_synced } = self.handle.synced();
            if let Some(outage) = back_after {
                info!(%source, after = ?rounded(outage), "back");
            }
            if let Some(watches) = all_synced {
                info!(%source, watches, "synced: every change is followed");
            }
        }
    }

    /// Notes that the watch has failed, and is retried after `wait`. Logs one warning for a source that
    /// is lost, not one for each watch and retry.
    pub(super) fn failed(&self, error: &WatchError, wait: Duration) {
        let (source, watch, kind) = (self.handle.source(), self.handle.name(), error.kind());
        let message = error.chain();
        let is_answered = matches!(*self.sync_state.borrow(), SyncState::Stale(_));
        let news = self.handle.failed(kind, message.clone());
        let answers = if is_answered { "; its last state is answered meanwhile" } else { "" };
        match news {
            FailureNews::SourceLost => warn!(%source, watch, kind, "source lost: {message}{answers}"),
            FailureNews::WatchLost => warn!(%source, watch, kind, "watch lost: {message}{answers}"),
            FailureNews::Known => debug!(%source, watch, kind, retry_in = ?wait, "still lost: {message}"),
        }
    }
}

/// A time in a log: to the millisecond.
fn rounded(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64)
}
