//! A watch, and the way of its updates.

use std::{convert::Infallible, sync::Arc};

use tokio::{sync::watch, time::Instant};
use tracing::info;

use super::{outbox::Outbox, watch_error::WatchError};
use crate::model::Update;
use crate::telemetry::WatchHandle;

/// One connection's worth of following something at a source.
///
/// A watch is asked to run again after it failed, a panic included; whatever it keeps in `self` (an index, a client)
/// lives on.
pub trait Watch: Send {
    /// Follows the source until that fails. The first thing sent after every (re)connection is a
    /// [`Update::Reset`] or [`Update::Imported`].
    ///
    /// # Errors
    /// Whatever ends the connection; never a change that can be told by an update.
    fn run(&mut self, out: &mut WatchOutbox) -> impl Future<Output = Result<Infallible, WatchError>> + Send;
}

/// Where a watch's updates go; notes that it is synced with the first one of each connection.
#[derive(Debug)]
pub struct WatchOutbox {
    pub(super) outbox: Outbox,
    pub(super) handle: Arc<WatchHandle>,
    pub(super) freshness: watch::Sender<Freshness>,
}

/// How good the last word of a watch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// There is none: it has never synced, or what it said has expired.
    Unsynced,
    /// It hears every change, since this time.
    Synced(Instant),
    /// It has lost the source at this time; what it said still counts.
    Stale(Instant),
}

impl WatchOutbox {
    /// Sends one update; waits while the catalog is behind.
    ///
    /// # Errors
    /// [`WatchError::Closed`] when the program is stopping.
    pub async fn send(&mut self, update: Update) -> Result<(), WatchError> {
        self.outbox.send(update).await?;
        self.handle.sent(1);
        self.synced();
        Ok(())
    }

    /// Notes that the watch hears every change now, also where nothing had to be sent.
    pub fn synced(&mut self) {
        let changed = self.freshness.send_if_modified(|freshness| {
            let is_news = !matches!(freshness, Freshness::Synced(_));
            if is_news {
                *freshness = Freshness::Synced(Instant::now());
            }
            is_news
        });
        if changed {
            self.handle.synced();
            info!(source = %self.handle.source(), watch = self.handle.name(), "synced");
        }
    }
}
