//! Sharing connections: what happens when there are more watches than connections.
//!
//! A blocking query holds its connection for as long as it waits. While each watch can have a
//! connection, its queries wait as long as configured. With more watches than connections, each
//! watch holds a connection for one short wait and then queues behind the others. The wait is
//! chosen so that the queue passes within [`ConsulTiming::max_queue`]; a change in the meantime is seen
//! once the watch holds a connection again.
//!
//! Rejected: a connection for each watch in any case. Consul closes those over its
//! `http_max_conns_per_client`, and chance decides which watches that hits.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::timing::ConsulTiming;

/// The connections of one source, and the number of watches that share them.
#[derive(Debug)]
pub(super) struct ConnectionPool {
    /// First come, first served.
    connections: Semaphore,
    capacity: usize,
    watches: watch::Sender<usize>,
    timing: ConsulTiming,
}

impl ConnectionPool {
    pub(super) fn new(capacity: usize, timing: ConsulTiming) -> Arc<Self> {
        let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            connections: Semaphore::new(capacity),
            capacity,
            watches: watch::Sender::new(0),
            timing,
        })
    }

    /// Adds a watch, which leaves when the slot is dropped.
    pub(super) fn join(self: &Arc<Self>) -> Slot {
        self.watches.send_modify(|watches| *watches += 1);
        Slot(Arc::clone(self))
    }

    /// Takes connections from the watches until the result is dropped.
    pub(super) async fn reserve(&self, count: u32) -> Option<ReservedConnections<'_>> {
        self.connections.acquire_many(count).await.ok().map(ReservedConnections)
    }

    /// Waits until there are more watches than connections.
    pub(super) async fn crowded(&self) {
        // The sender is in `self`, so the channel is open.
        let _ = self.watches.subscribe().wait_for(|watches| *watches > self.capacity).await;
    }

    /// The number of watches.
    pub(super) fn watches(&self) -> usize {
        *self.watches.borrow()
    }

    /// How long a query may wait while its watch holds a connection; `None`: as long as configured.
    fn max_wait(&self) -> Option<Duration> {
        let queued = self.watches().checked_sub(self.capacity).filter(|queued| *queued > 0)?;
        let ConsulTiming { max_queue, min_wait, .. } = self.timing;
        let share = self.capacity as f64 / queued.max(self.capacity) as f64;
        Some(max_queue.mul_f64(share).max(min_wait))
    }
}

/// One watch's membership in a pool.
#[derive(Debug)]
pub(super) struct Slot(Arc<ConnectionPool>);

impl Slot {
    /// Queues for a connection. Dropping it gives it back.
    pub(super) async fn acquire(&self) -> Option<HeldConnection<'_>> {
        let permit = self.0.connections.acquire().await.ok();
        debug_assert!(permit.is_some(), "the semaphore is never closed");
        Some(HeldConnection { _permit: permit?, pool: &self.0, max_wait: self.0.max_wait() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.watches.send_modify(|watches| *watches -= 1);
    }
}

/// Connections that watches cannot get.
#[derive(Debug)]
pub(super) struct ReservedConnections<'a>(
    #[expect(dead_code, reason = "held until it is dropped")] SemaphorePermit<'a>,
);

/// The right to use one connection.
#[derive(Debug)]
pub(super) struct HeldConnection<'a> {
    _permit: SemaphorePermit<'a>,
    pool: &'a ConnectionPool,
    max_wait: Option<Duration>,
}

impl HeldConnection<'_> {
    /// How long a query may wait that would wait for `wanted` on its own connection.
    pub(super) fn wait(&self, wanted: Duration) -> Duration {
        self.max_wait.map_or(wanted, |max_wait| max_wait.min(wanted))
    }

    /// Waits until a connection held without a limit must be given back, since there are more
    /// watches than connections now. Never returns for a connection held with a limit.
    pub(super) async fn revoked(&self) {
        if self.max_wait.is_none() {
            self.pool.crowded().await;
        } else {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn max_wait(watches: usize, capacity: usize) -> Option<Duration> {
        let pool = ConnectionPool::new(capacity, ConsulTiming::default());
        let _slots: Vec<_> = (0..watches).map(|_| pool.join()).collect();
        pool.max_wait()
    }

    #[test]
    fn waits_shrink_so_that_the_queue_passes_in_time() {
        assert_eq!(max_wait(128, 128), None);
        assert_eq!(max_wait(129, 128), Some(Duration::from_secs(4)));
        assert_eq!(max_wait(3 * 128, 128), Some(Duration::from_secs(2)));
        assert_eq!(max_wait(1000, 1), Some(Duration::from_millis(250)), "never shorter");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unlimited_connection_is_revoked_for_a_new_watch() {
        let pool = ConnectionPool::new(1, ConsulTiming::default());
        let first = pool.join();
        let held = first.acquire().await.unwrap();
        assert_eq!(held.wait(Duration::from_secs(300)), Duration::from_secs(300));
        let early = tokio::time::timeout(Duration::from_secs(1000), held.revoked()).await;
        assert!(early.is_err(), "no other watch needs it");
        let _second = pool.join();
        held.revoked().await;
        drop(held);
        let held = first.acquire().await.unwrap();
        assert_eq!(held.wait(Duration::from_secs(300)), Duration::from_secs(4));
        let limited = tokio::time::timeout(Duration::from_secs(1000), held.revoked()).await;
        assert!(limited.is_err(), "the limit ends it already");
    }
}
