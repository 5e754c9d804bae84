//! The way of updates to the catalog.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::{
    guard::{Guard, SecondOpinion},
    watch_error::WatchError,
};
use crate::model::Update;

/// One source's way to the catalog: a bounded channel, so that a slow catalog slows sources down
/// instead of filling memory.
///
/// Clones share one gate. After it is [shut](Self::shut), no clone can send. Aborting a task does
/// not wait for the tasks that it spawned, and a late update of one of them could name a member
/// that means something else by then.
#[derive(Clone, Debug)]
pub struct Outbox {
    updates: mpsc::Sender<Update>,
    is_open: Arc<Mutex<bool>>,
    guard: Option<Arc<Guard>>,
}

impl Outbox {
    /// Makes an outbox with its own gate, open.
    pub fn new(updates: mpsc::Sender<Update>) -> Self {
        Self::guarded(updates, None)
    }

    /// Makes an outbox whose updates pass a guard, if there is one.
    pub fn guarded(updates: mpsc::Sender<Update>, guard: Option<Arc<Guard>>) -> Self {
        Self { updates, is_open: Arc::new(Mutex::new(true)), guard }
    }

    /// Sends one update; waits while the channel is full.
    ///
    /// # Errors
    /// [`WatchError::Closed`] when the source or the program is stopping.
    pub async fn send(&self, update: Update) -> Result<(), WatchError> {
        self.send_if(update, || true).await?;
        Ok(())
    }

    /// Waits for room, then sends `update` if `holds` still returns true. Returns whether it was
    /// sent.
    ///
    /// For expiries, which pass the guard at once: `holds` is not asked again for what it holds.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_if(&self, update: Update, holds: impl FnOnce() -> bool) -> Result<bool, WatchError> {
        self.pass(|guard| {
            if !holds() {
                return (false, None);
            }
            let passed = match guard {
                Some(guard) => guard.judge(update),
                None => Some(update),
            };
            (true, passed)
        })
        .await
    }

    /// Sends what the guard held until now.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(super) async fn release(&self) -> Result<(), WatchError> {
        self.pass(|guard| ((), guard.and_then(Guard::release))).await
    }

    /// Sends what follows from second opinions.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(super) async fn hear_opinions(&self, opinions: Vec<SecondOpinion>) -> Result<(), WatchError> {
        self.pass(|guard| ((), guard.and_then(|guard| guard.hear_opinions(opinions)))).await
    }

    /// Waits for room, then sends the update that `judge` returns, if any.
    async fn pass<T>(
        &self,
        judge: impl FnOnce(Option<&Guard>) -> (T, Option<Update>),
    ) -> Result<T, WatchError> {
        let permit = self.updates.reserve().await.map_err(|_| WatchError::Closed)?;
        let is_open = self.lock();
        if !*is_open {
            return Err(WatchError::Closed);
        }
        let (result, update) = judge(self.guard.as_deref());
        if let Some(update) = update {
            permit.send(update);
        }
        Ok(result)
    }

    /// Shuts the gate. When this returns, every sent update is in the channel and no more can
    /// follow.
    pub fn shut(&self) {
        *self.lock() = false;
    }

    /// Waits until the catalog stops taking updates.
    pub async fn closed(&self) {
        self.updates.closed().await;
    }

    /// Held only while an update passes the guard and goes into a channel that has room for it.
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
    async fn a_shut_gate_stops_even_senders_that_wait_for_room() {
        let (updates, mut inbox) = mpsc::channel(1);
        let (old, new) = (Outbox::new(updates.clone()), Outbox::new(updates));
        old.send(update()).await.unwrap();
        let task = tokio::spawn({
            let old = old.clone();
            async move { (old.send(update()).await, old.send_if(update(), || true).await) }
        });
        tokio::task::yield_now().await; // the task now waits for room
        old.shut();
        assert_eq!(inbox.recv().await, Some(update()), "sent before the gate was shut");
        let (single, several) = task.await.unwrap();
        assert!(matches!((single, several), (Err(WatchError::Closed), Err(WatchError::Closed))));
        assert!(inbox.try_recv().is_err());
        new.send(update()).await.unwrap();
        assert_eq!(inbox.recv().await, Some(update()), "the other gate is open");
    }

    #[tokio::test]
    async fn send_if_sends_nothing_if_the_condition_fails() {
        let (updates, mut inbox) = mpsc::channel(1);
        let outbox = Outbox::new(updates);
        assert!(!outbox.send_if(update(), || false).await.unwrap());
        assert!(inbox.try_recv().is_err());
    }
}
