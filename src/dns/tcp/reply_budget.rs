//! Bytes of deferred replies that wait until their clients read them.
//!
//! A client can send many small queries for large answers and read none of them. Without a limit
//! 124 KB of queries hold hundreds of megabytes.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes that each connection may have: one message of the largest size.
const OF_CONNECTION: usize = 64 << 10;

/// Bytes that all connections together may have beyond that.
const SHARED: usize = 16 << 20;

/// One client may have one part in this many of the shared bytes.
const CLIENT_SHARE: usize = 4;

/// The bytes of all connections.
#[derive(Debug, Default)]
pub(super) struct ReplyBudget(Mutex<SharedBytes>);

#[derive(Debug, Default)]
struct SharedBytes {
    held: usize,
    by_client: HashMap<u128, usize>,
}

impl ReplyBudget {
    /// The budget of one connection of `client`.
    pub(super) fn connection(self: &Arc<Self>, client: u128) -> Arc<ConnectionBudget> {
        Arc::new(ConnectionBudget { shared: Arc::clone(self), client, own: Mutex::new(0) })
    }

    fn take(&self, client: u128, bytes: usize) -> bool {
        let mut shared = lock(&self.0);
        let of_client = shared.by_client.get(&client).copied().unwrap_or(0);
        if shared.held + bytes > SHARED || of_client + bytes > SHARED / CLIENT_SHARE {
            return false;
        }
        shared.held += bytes;
        *shared.by_client.entry(client).or_default() += bytes;
        true
    }

    fn give_back(&self, client: u128, bytes: usize) {
        let mut shared = lock(&self.0);
        debug_assert!(bytes <= shared.held, "only bytes that were taken are given back");
        shared.held = shared.held.saturating_sub(bytes);
        if let Entry::Occupied(mut of_client) = shared.by_client.entry(client) {
            *of_client.get_mut() = of_client.get().saturating_sub(bytes);
            if *of_client.get() == 0 {
                of_client.remove();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes of one connection.
#[derive(Debug)]
pub(super) struct ConnectionBudget {
    shared: Arc<ReplyBudget>,
    client: u128,
    /// How many of [`OF_CONNECTION`] are held.
    own: Mutex<usize>,
}

impl ConnectionBudget {
    /// Takes bytes until the result is dropped; the connection's own first. `None` if there are not
    /// enough.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<HeldBytes> {
        let mut own = lock(&self.own);
        let is_shared = *own + bytes > OF_CONNECTION;
        if is_shared && !self.shared.take(self.client, bytes) {
            return None;
        }
        if !is_shared {
            *own += bytes;
        }
        Some(HeldBytes { budget: Arc::clone(self), bytes, is_shared })
    }
}

/// Bytes of a budget, given back on drop.
#[derive(Debug)]
pub(super) struct HeldBytes {
    budget: Arc<ConnectionBudget>,
    bytes: usize,
    is_shared: bool,
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        let Self { budget, bytes, is_shared } = self;
        if *is_shared {
            budget.shared.give_back(budget.client, *bytes);
        } else {
            let mut own = lock(&budget.own);
            *own = own.saturating_sub(*bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: usize = 64 << 10;

    fn take_all(connection: &Arc<ConnectionBudget>) -> Vec<HeldBytes> {
        std::iter::from_fn(|| connection.take(MESSAGE)).take(10_000).collect()
    }

    #[test]
    fn one_client_leaves_bytes_for_others() {
        let budget = Arc::<ReplyBudget>::default();
        let connections: Vec<_> = (0..16).map(|_| budget.connection(1)).collect();
        let held: Vec<_> = connections.iter().flat_map(take_all).collect();
        let bytes = held.len() * MESSAGE;
        assert_eq!(bytes, 16 * OF_CONNECTION + SHARED / CLIENT_SHARE);
        assert!(budget.connection(2).take(MESSAGE).is_some());
        assert_eq!(take_all(&budget.connection(2)).len() * MESSAGE, OF_CONNECTION + SHARED / CLIENT_SHARE);
    }

    #[test]
    fn a_connection_has_room_for_one_message_whatever_others_hold() {
        let budget = Arc::<ReplyBudget>::default();
        let held: Vec<_> = (0..100).flat_map(|client| take_all(&budget.connection(client))).collect();
        assert_eq!(held.len() * MESSAGE, 100 * OF_CONNECTION + SHARED);
        let late = budget.connection(200);
        let reply = late.take(MESSAGE);
        assert!(reply.is_some() && late.take(1).is_none());
        drop(reply);
        assert!(late.take(MESSAGE).is_some());
    }

    #[test]
    fn bytes_are_given_back() {
        let budget = Arc::<ReplyBudget>::default();
        drop(take_all(&budget.connection(1)));
        let shared = lock(&budget.0);
        assert!(shared.held == 0 && shared.by_client.is_empty());
    }
}
