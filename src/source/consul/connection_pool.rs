//! Sharing connections: more watches than connections take turns.
//!
//! A blocking query holds its connection for as long as it waits. With a connection for each watch it waits as long as
//! configured. With more watches than connections each holds a connection for one short wait and then stands in line
//! behind the others. The wait is chosen so that the line is through within [`Timing::line`]; a change meanwhile is seen
//! as soon as the watch's turn comes. Giving each watch a socket whatever happens was rejected: Consul closes what is
//! over its `http_max_conns_per_client`, and which watches that hits is chance.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::timing::Timing;

/// The connections of one source and who wants them.
#[derive(Debug)]
pub(super) struct ConnectionPool {
    /// First come, first served.
    connections: Semaphore,
    capacity: usize,
    watches: watch::Sender<usize>,
    timing: Timing,
}

impl ConnectionPool {
    pub(super) fn new(capacity: usize, timing: Timing) -> Arc<Self> {
        let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            connections: Semaphore::new(capacity),
            capacity,
            watches: watch::Sender::new(0),
            timing,
        })
    }

    /// Adds a watch, until the slot is dropped.
    pub(super) fn join(self: &Arc<Self>) -> Slot {
        self.watches.send_modify(|watches| *watches += 1);
        Slot(Arc::clone(self))
    }

    /// How many watches there are.
    pub(super) fn watches(&self) -> usize {
        *self.watches.borrow()
    }

    /// How long a query may wait while its watch holds a connection; `None`: for as long as it likes.
    fn slice(&self) -> Option<Duration> {
        let in_line = self.watches().checked_sub(self.capacity).filter(|in_line| *in_line > 0)?;
        let Timing { line, shortest_wait, .. } = self.timing;
        let share = self.capacity as f64 / in_line.max(self.capacity) as f64;
        Some(line.mul_f64(share).max(shortest_wait))
    }
}

/// One watch's place among those who share connections.
#[derive(Debug)]
pub(super) struct Slot(Arc<ConnectionPool>);

impl Slot {
    /// Stands in line for a connection. Dropping the turn gives it back.
    pub(super) async fn acquire(&self) -> Option<HeldConnection<'_>> {
        let permit = self.0.connections.acquire().await.ok()?;
        Some(HeldConnection { _permit: permit, pool: &self.0, slice: self.0.slice() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.watches.send_modify(|watches| *watches -= 1);
    }
}

/// The right to one connection.
#[derive(Debug)]
pub(super) struct HeldConnection<'a> {
    _permit: SemaphorePermit<'a>,
    pool: &'a ConnectionPool,
    slice: Option<Duration>,
}

impl HeldConnection<'_> {
    /// How long a query that would like to wait for `wanted` may wait.
    pub(super) fn wait(&self, wanted: Duration) -> Duration {
        self.slice.map_or(wanted, |slice| slice.min(wanted))
    }

    /// Returns when a turn without a limit has become too long, since there are more watches than connections now.
    pub(super) async fn called_off(&self) {
        if self.slice.is_none() {
            let mut watches = self.pool.watches.subscribe();
            if watches.wait_for(|watches| *watches > self.pool.capacity).await.is_ok() {
                return;
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(watches: usize, capacity: usize) -> Option<Duration> {
        let pool = ConnectionPool::new(capacity, Timing::default());
        let _slots: Vec<_> = (0..watches).map(|_| pool.join()).collect();
        pool.slice()
    }

    #[test]
    fn waits_are_cut_so_that_the_line_is_through_in_time() {
        assert_eq!(slice(128, 128), None);
        assert_eq!(slice(129, 128), Some(Duration::from_secs(4)));
        assert_eq!(slice(3 * 128, 128), Some(Duration::from_secs(2)));
        assert_eq!(slice(1000, 1), Some(Duration::from_millis(250)), "never shorter");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unlimited_turn_is_called_off_when_there_are_too_many() {
        let pool = ConnectionPool::new(1, Timing::default());
        let first = pool.join();
        let held = first.acquire().await.unwrap();
        assert_eq!(held.wait(Duration::from_secs(300)), Duration::from_secs(300));
        let early = tokio::time::timeout(Duration::from_secs(1000), held.called_off()).await;
        assert!(early.is_err(), "nobody else wants it");
        let _second = pool.join();
        held.called_off().await;
        drop(held);
        let held = first.acquire().await.unwrap();
        assert_eq!(held.wait(Duration::from_secs(300)), Duration::from_secs(4));
        let limited = tokio::time::timeout(Duration::from_secs(1000), held.called_off()).await;
        assert!(limited.is_err(), "a limited turn ends by itself");
    }
}
