//! Limits of TCP connections: how many are open, and which one closes when there are too many.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::reply_budget::ReplyBudget;
use crate::dns::access::{AccessLevel, subnet};

/// One client may have one in this many of all connections.
const CLIENT_SHARE: usize = 4;

/// Number of connections that one client may always have.
const CLIENT_MINIMUM: usize = 8;

/// Clients that may query nothing have one connection for this many of the others.
const STRANGER_SHARE: usize = 16;

/// Limits that all TCP listeners share.
#[derive(Debug)]
pub struct Limits {
    pub(super) idle: Duration,
    pub(super) replies: Arc<ReplyBudget>,
    clients: Arc<Pool>,
    /// Clients that may query nothing. Their connections never close another client's.
    strangers: Arc<Pool>,
}

impl Limits {
    /// Allows `connections` at once, each of which may be idle for `idle`. One client may have a
    /// quarter of them, but always eight. Clients that may query nothing share a sixteenth as many
    /// of their own.
    pub fn new(idle: Duration, connections: usize) -> Self {
        Self {
            idle,
            replies: Arc::default(),
            clients: Arc::new(Pool::new(connections)),
            strangers: Arc::new(Pool::new((connections / STRANGER_SHARE).max(1))),
        }
    }

    /// Adds a connection of this client. If there are too many, of the client or in total, the one
    /// that has been idle longest closes. Returns how many do.
    pub(super) fn add(&self, client: IpAddr, level: AccessLevel) -> (OpenConnection, usize) {
        let pool = match level {
            AccessLevel::Denied | AccessLevel::Refused => &self.strangers,
            AccessLevel::OwnNames | AccessLevel::AllNames => &self.clients,
        };
        pool.add(subnet(client, 32, 64))
    }
}

/// Connections that compete for the same slots.
#[derive(Debug)]
struct Pool {
    /// Maximum number of connections.
    all: usize,
    /// Maximum number of connections of one client.
    per_client: usize,
    open: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    /// Each connection's client: an IPv4 address or an IPv6 /64.
    by_activity: BTreeMap<Activity, u128>,
    by_client: HashMap<u128, BTreeMap<Activity, CancellationToken>>,
}

/// When a connection was last active. The lowest is the first to close: one that has sent no query
/// before any that has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Activity {
    has_queried: bool,
    /// Counts up with each activity of any connection.
    order: u64,
}

impl Pool {
    fn new(all: usize) -> Self {
        let per_client = (all / CLIENT_SHARE).max(CLIENT_MINIMUM);
        Self { all, per_client, open: Mutex::default() }
    }

    fn add(self: &Arc<Self>, client: u128) -> (OpenConnection, usize) {
        let mut open = self.lock();
        let mut closed = 0;
        if open.count_of(client) >= self.per_client {
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
}

impl Connections {
    fn now(&mut self, has_queried: bool) -> Activity {
        self.next += 1;
        Activity { has_queried, order: self.next }
    }

    fn count_of(&self, client: u128) -> usize {
        self.by_client.get(&client).map_or(0, BTreeMap::len)
    }

    fn insert(&mut self, activity: Activity, client: u128, closing: CancellationToken) {
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

    fn close_idlest_of(&mut self, client: u128) -> bool {
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
pub(super) struct OpenConnection {
    pool: Arc<Pool>,
    client: u128,
    activity: Activity,
    closing: CancellationToken,
}

impl OpenConnection {
    /// The client that it counts against.
    pub(super) fn client(&self) -> u128 {
        self.client
    }

    /// Canceled when another connection needs the slot.
    pub(super) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Notes that the client has just sent a query or got an answer.
    pub(super) fn is_active(&mut self) {
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

    fn limits(connections: usize) -> Limits {
        Limits::new(Duration::from_secs(1), connections)
    }

    fn add(limits: &Limits, client: &str) -> OpenConnection {
        limits.add(client.parse().unwrap(), AccessLevel::OwnNames).0
    }

    fn is_closed(connection: &OpenConnection) -> bool {
        connection.closing.is_cancelled()
    }

    #[test]
    fn one_client_leaves_slots_for_others_and_frees_its_own() {
        for (all, share) in [(400, 100), (40, 10), (12, 8), (2, 2)] {
            let limits = limits(all);
            let other = add(&limits, "192.0.2.2");
            let many: Vec<_> = (0..500).map(|_| add(&limits, "192.0.2.1")).collect();
            let open = many.iter().filter(|one| !is_closed(one)).count();
            assert_eq!(open, share.min(all), "of {all}");
            assert_eq!(is_closed(&other), share == all, "of {all}");
            drop((many, other));
            let connections = limits.clients.lock();
            assert!(connections.by_activity.is_empty() && connections.by_client.is_empty());
        }
    }

    #[test]
    fn an_ipv6_64_counts_as_one_client_and_a_mapped_address_as_ipv4() {
        let limits = limits(40);
        let many: Vec<_> = (0..20).map(|at| add(&limits, &format!("2001:db8::{at}"))).collect();
        assert_eq!(many.iter().filter(|one| !is_closed(one)).count(), 10);
        let (mapped, plain) = (add(&limits, "::ffff:192.0.2.1"), add(&limits, "192.0.2.1"));
        assert_eq!(mapped.client(), plain.client());
    }

    #[test]
    fn the_connection_that_is_idle_longest_closes_and_silent_ones_before_it() {
        let limits = limits(3);
        let mut queried = add(&limits, "192.0.2.1");
        queried.is_active();
        let (first, second) = (add(&limits, "192.0.2.2"), add(&limits, "192.0.2.3"));
        let third = add(&limits, "192.0.2.4");
        assert!(is_closed(&first) && !is_closed(&second) && !is_closed(&queried));
        let mut others: Vec<_> = [second, third].into_iter().collect();
        others.iter_mut().for_each(OpenConnection::is_active);
        let _new = add(&limits, "192.0.2.5");
        assert!(is_closed(&queried), "all have queried, and it has been idle longest");
        assert!(!others.iter().any(is_closed));
    }

    #[test]
    fn an_answer_to_a_closed_connection_does_not_reopen_it() {
        let limits = limits(1);
        let mut closed = add(&limits, "192.0.2.1");
        let open = add(&limits, "192.0.2.2");
        closed.is_active();
        drop(closed);
        assert_eq!(limits.clients.lock().by_activity.len(), 1);
        assert!(!is_closed(&open));
    }

    #[test]
    fn clients_that_may_query_nothing_close_no_other_connection() {
        let limits = limits(32);
        let clients: Vec<_> = (0..32).map(|at| add(&limits, &format!("192.0.2.{at}"))).collect();
        let add_stranger = |at: u8| limits.add([203, 0, 113, at].into(), AccessLevel::Refused).0;
        let strangers: Vec<_> = (0..100).map(add_stranger).collect();
        assert!(!clients.iter().any(is_closed));
        assert_eq!(strangers.iter().filter(|one| !is_closed(one)).count(), 2);
    }
}
