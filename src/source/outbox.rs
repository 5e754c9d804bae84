//! The way of updates to the catalog.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::watch_error::WatchError;
use crate::model::Update;

/// Where a source sends updates: bounded, so that a slow catalog slows sources down instead of filling memory.
///
/// Clones share one gate. Once it is [shut](Self::shut) nothing goes through any more, whichever task still runs: aborting a
/// task does not wait for those that it had started, and what one of them says too late could be about something that
/// has another meaning by then.
#[derive(Clone, Debug)]
pub struct Outbox {
    updates: mpsc::Sender<Update>,
    is_open: Arc<Mutex<bool>>,
}

impl Outbox {
    /// Makes an outbox with a gate of its own.
    pub fn new(updates: mpsc::Sender<Update>) -> Self {
        Self { updates, is_open: Arc::new(Mutex::new(true)) }
    }

    /// Sends one update; waits while the catalog is behind.
    ///
    /// # Errors
    /// [`WatchError::Closed`] when the source or the program is stopping.
    pub async fn send(&self, update: Update) -> Result<(), WatchError> {
        let permit = self.updates.reserve().await.map_err(|_| WatchError::Closed)?;
        let is_open = self.lock();
        if !*is_open {
            return Err(WatchError::Closed);
        }
        permit.send(update);
        Ok(())
    }

    /// Sends several updates at once if, when there is room for them, `holds` still does; tells whether it did.
    ///
    /// # Errors
    /// As [`send`](Self::send), and where there are more of them than the channel ever has room for.
    pub async fn send_if(
        &self,
        updates: Vec<Update>,
        holds: impl FnOnce() -> bool,
    ) -> Result<bool, WatchError> {
        let permits = self.updates.reserve_many(updates.len()).await.map_err(|_| WatchError::Closed)?;
        if !holds() {
            return Ok(false);
        }
        let is_open = self.lock();
        if !*is_open {
            return Err(WatchError::Closed);
        }
        for (permit, update) in permits.zip(updates) {
            permit.send(update);
        }
        Ok(true)
    }

    /// Shuts the gate: what has been sent is in the channel when this returns, and nothing more will be.
    pub fn shut(&self) {
        *self.lock() = false;
    }

    /// Waits until nobody takes updates any more.
    pub async fn closed(&self) {
        self.updates.closed().await;
    }

    /// Held only while something is put into a channel that has room for it.
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Member, SourceId, SourceKind};

    fn update() -> Update {
        let source = SourceId { kind: SourceKind::Static, name: "static".into() };
        Update::Expired { member: Member { service: "web.shop".parse().unwrap(), source, place: 0 } }
    }

    #[tokio::test]
    async fn nothing_goes_through_a_gate_that_is_shut_not_even_what_waited_for_room() {
        let (updates, mut inbox) = mpsc::channel(1);
        let (old, new) = (Outbox::new(updates.clone()), Outbox::new(updates));
        old.send(update()).await.unwrap();
        let task = tokio::spawn({
            let old = old.clone();
            async move { (old.send(update()).await, old.send_if(vec![update()], || true).await) }
        });
        tokio::task::yield_now().await; // it waits for room now
        old.shut();
        assert_eq!(inbox.recv().await, Some(update()), "sent before");
        let (one, many) = task.await.unwrap();
        assert!(matches!((one, many), (Err(WatchError::Closed), Err(WatchError::Closed))));
        assert!(inbox.try_recv().is_err());
        new.send(update()).await.unwrap();
        assert_eq!(inbox.recv().await, Some(update()), "the other gate is open");
    }

    #[tokio::test]
    async fn what_no_longer_holds_is_not_sent() {
        let (updates, mut inbox) = mpsc::channel(1);
        let outbox = Outbox::new(updates);
        assert!(!outbox.send_if(vec![update()], || false).await.unwrap());
        assert!(inbox.try_recv().is_err());
    }
}
