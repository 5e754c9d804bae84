//! Limits of TCP: connections, their idle time, and bytes of late replies.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{
    open_connections::{OpenConnection, OpenConnections},
    reply_budget::ReplyBudget,
};
use crate::dns::access::AccessLevel;

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
    clients: Arc<OpenConnections>,
    /// Clients that may query nothing. Their connections never close another client's.
    strangers: Arc<OpenConnections>,
}

impl Limits {
    /// Allows `connections` at once, each of which may be idle for `idle`. One client may have a
    /// quarter of them, but always eight. Clients that may query nothing share a sixteenth as many
    /// of their own.
    pub fn new(idle: Duration, connections: usize) -> Self {
        let open = |all: usize| OpenConnections::new(all, (all / CLIENT_SHARE).max(CLIENT_MINIMUM));
        Self {
            idle,
            replies: Arc::default(),
            clients: open(connections),
            strangers: open((connections / STRANGER_SHARE).max(1)),
        }
    }

    /// Adds a connection of this client. Returns how many others close.
    pub(super) fn add(&self, client: IpAddr, level: AccessLevel) -> (OpenConnection, usize) {
        let open = match level {
            AccessLevel::Denied | AccessLevel::Refused => &self.strangers,
            AccessLevel::OwnNames | AccessLevel::AllNames => &self.clients,
        };
        open.add(client)
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
        connection.closing().is_cancelled()
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
            assert_eq!(limits.clients.count(), 0);
        }
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
