//! The timer: lets through what has been held for long enough.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::shared::Guard;
use crate::source::{outbox::Outbox, watch_error::WatchError};

/// Releases what the guard holds when it is due; returns when the source or the program is
/// stopping.
pub async fn release_when_due(guard: Arc<Guard>, outbox: Outbox) {
    loop {
        let due = guard.deadline();
        tokio::select! {
            () = guard.deadline_changed.notified() => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                if matches!(outbox.release().await, Err(WatchError::Closed)) {
                    return;
                }
            }
        }
    }
}
