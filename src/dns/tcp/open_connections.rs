//! Open connections: how many there are, and which one closes when there are too many.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::dns::access::subnet;

/// Connections that compete for the same slots. A new one always gets a slot: if there are too many,
/// the one that has been idle longest closes.
#[derive(Debug)]
pub struct OpenConnections {
    /// Maximum number of connections.
    all: usize,
    /// Maximum number of connections of one client: an IPv4 address or an IPv6 /64.
    per_client: usize,
    open: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    /// Each connection's client; `None` for one without a limit of its own.
    by_activity: BTreeMap<Activity, Option<u128>>,
    by_client: HashMap<Option<u128>, BTreeMap<Activity, CancellationToken>>,
}

/// When a connection was last active. The lowest is the first to close: one that has received nothing
/// before any that has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Activity {
    has_received: bool,
    /// Counts up with each activity of any connection.
    order: u64,
}

impl OpenConnections {
    /// Allows `all` connections, and `per_client` of each client.
    pub fn new(all: usize, per_client: usize) -> Arc<Self> {
        Arc::new(Self { all, per_client, open: Mutex::default() })
    }

    /// Adds a connection of the client at this address. If there are too many, of the client or in
    /// total, the one that has been idle longest closes. Returns how many do.
    pub fn add(self: &Arc<Self>, address: IpAddr) -> (OpenConnection, usize) {
        self.add_of(Some(subnet(address, 32, 64)))
    }

    /// As [`add`](Self::add), for clients that may have all connections.
    pub fn add_unlimited(self: &Arc<Self>) -> (OpenConnection, usize) {
        self.add_of(None)
    }

    fn add_of(self: &Arc<Self>, client: Option<u128>) -> (OpenConnection, usize) {
        let mut open = self.lock();
        let mut closed = 0;
        if client.is_some() && open.count_of(client) >= self.per_client {
            closed += usize::from(open.close_idlest_of(client));
        }
        if open.by_activity.len() >= self.all {
            closed += usize::from(open.close_idlest());
        }
        let (activity, closing) = (open.now(false), CancellationToken::new());
        open.insert(activity, client, closing.clone());
        drop(open);
        (OpenConnection { pool: Arc::clone(self), client, activity, closing }, closed)
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections are open.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.lock().by_activity.len()
    }
}

impl Connections {
    fn now(&mut self, has_received: bool) -> Activity {
        self.next += 1;
        Activity { has_received, order: self.next }
    }

    fn count_of(&self, client: Option<u128>) -> usize {
        self.by_client.get(&client).map_or(0, BTreeMap::len)
    }

    fn insert(&mut self, activity: Activity, client: Option<u128>, closing: CancellationToken) {
        self.by_activity.insert(activity, client);
        self.by_client.entry(client).or_default().insert(activity, closing);
    }

    fn remove(&mut self, activity: Activity) -> Option<CancellationToken> {
        let client = self.by_activity.remove(&activity)?;
        let own = self.by_client.get_mut(&client)?;
        let closing = own.remove(&activity);
        if own.is_empty() {
            self.by_client.remove(&client);
        }
        closing
    }

    fn close_idlest_of(&mut self, client: Option<u128>) -> bool {
        let idlest = self.by_client.get(&client).and_then(BTreeMap::first_key_value);
        let idlest = idlest.map(|(activity, _)| *activity);
        idlest.is_some_and(|activity| self.close(activity))
    }

    fn close_idlest(&mut self) -> bool {
        let idlest = self.by_activity.first_key_value().map(|(activity, _)| *activity);
        idlest.is_some_and(|activity| self.close(activity))
    }

    fn close(&mut self, activity: Activity) -> bool {
        let closing = self.remove(activity);
        if let Some(closing) = &closing {
            closing.cancel();
        }
        closing.is_some()
    }
}

/// One connection's slot, freed on drop.
#[derive(Debug)]
pub struct OpenConnection {
    pool: Arc<OpenConnections>,
    client: Option<u128>,
    activity: Activity,
    closing: CancellationToken,
}

impl OpenConnection {
    /// Canceled when another connection needs the slot.
    pub fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Notes that the client has just sent something, or received what it asked for.
    pub fn is_active(&mut self) {
        let mut open = self.pool.lock();
        if let Some(closing) = open.remove(self.activity) {
            self.activity = open.now(true);
            open.insert(self.activity, self.client, closing);
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.pool.lock().remove(self.activity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(open: &Arc<OpenConnections>, client: &str) -> OpenConnection {
        open.add(client.parse().unwrap()).0
    }

    fn is_closed(connection: &OpenConnection) -> bool {
        connection.closing.is_cancelled()
    }

    #[test]
    fn an_ipv6_64_counts_as_one_client_and_a_mapped_address_as_ipv4() {
        let open = OpenConnections::new(40, 10);
        let many: Vec<_> = (0..20).map(|at| add(&open, &format!("2001:db8::{at}"))).collect();
        assert_eq!(many.iter().filter(|one| !is_closed(one)).count(), 10);
        let (mapped, plain) = (add(&open, "::ffff:192.0.2.1"), add(&open, "192.0.2.1"));
        assert_eq!(mapped.client, plain.client);
    }

    #[test]
    fn the_connection_that_is_idle_longest_closes_and_silent_ones_before_it() {
        let open = OpenConnections::new(3, 3);
        let mut queried = add(&open, "192.0.2.1");
        queried.is_active();
        let (first, second) = (add(&open, "192.0.2.2"), add(&open, "192.0.2.3"));
        let third = add(&open, "192.0.2.4");
        assert!(is_closed(&first) && !is_closed(&second) && !is_closed(&queried));
        let mut others: Vec<_> = [second, third].into_iter().collect();
        others.iter_mut().for_each(OpenConnection::is_active);
        let _new = add(&open, "192.0.2.5");
        assert!(is_closed(&queried), "all have queried, and it has been idle longest");
        assert!(!others.iter().any(is_closed));
    }

    #[test]
    fn an_answer_to_a_closed_connection_does_not_reopen_it() {
        let open = OpenConnections::new(1, 1);
        let mut closed = add(&open, "192.0.2.1");
        let last = add(&open, "192.0.2.2");
        closed.is_active();
        drop(closed);
        assert_eq!(open.count(), 1);
        assert!(!is_closed(&last));
        drop(last);
        let connections = open.lock();
        assert!(connections.by_activity.is_empty() && connections.by_client.is_empty());
    }

    #[test]
    fn clients_without_a_limit_may_have_all_connections() {
        let open = OpenConnections::new(8, 2);
        let other = add(&open, "10.0.0.1");
        let hostile: Vec<_> = (0..20).map(|_| add(&open, "10.0.0.66")).collect();
        assert_eq!(open.count(), 3, "its own connections were closed");
        assert!(!is_closed(&other));
        let _local: Vec<_> = (0..5).map(|_| open.add_unlimited().0).collect();
        assert_eq!(open.count(), 8);
        drop(hostile);
        assert_eq!(open.count(), 6);
    }
}
