//! Selecting a pool: which instances of a service a client's answer is made from.

use super::{rotation::Rotation, trace::Trace};
use crate::{
    catalog::{Answers, Client, ClientMatch, Pool, RecordList, Routing, Service, View},
    model::Network,
};

/// Selects pools for one client.
pub(super) struct PoolSelector<'f, 'a, T> {
    pub(super) view: &'a View<'a>,
    /// The client's address, or the network that a trusted forwarder sent for it.
    pub(super) network: Network,
    pub(super) rotation: &'f mut Rotation,
    pub(super) trace: &'f mut T,
}

impl<T: Trace> PoolSelector<'_, '_, T> {
    /// Selects the pool: the first route that matches the client, the group whose turn it is, and
    /// the instances near the client. `None` if the service is an alias of an external name.
    ///
    /// *Cost*: none for a plain service. Looks the client up if a route or nearness needs it.
    #[inline]
    pub(super) fn select<'a>(&mut self, service: &'a Service, list: RecordList<usize>) -> Option<&'a Pool> {
        match &service.answers {
            Answers::Same(pool) => Some(pool),
            Answers::Routed(routing) => self.routed(routing, list),
            Answers::Alias(_) => None,
        }
    }

    fn routed<'a>(&mut self, routing: &'a Routing, list: RecordList<usize>) -> Option<&'a Pool> {
        let client = routing.by_client.then(|| self.view.client(self.network));
        let mut was_ambiguous = false;
        let mut matches = |test| {
            let Some(client) = &client else { return false };
            let found = client.check(test);
            was_ambiguous |= found == ClientMatch::Ambiguous;
            found == ClientMatch::Matches
        };
        let route = routing.routes.iter().find(|route| route.clients.as_ref().is_none_or(&mut matches));
        debug_assert!(route.is_some(), "the last route matches every client");
        let route = route?;
        if was_ambiguous {
            self.trace.ambiguous_client();
        }
        let group = match route.rotations.get(list) {
            Some(turn) => turn.shares.pick(self.rotation.turn_in_round(turn.rotation, turn.shares.total())),
            None => 0,
        };
        debug_assert!(group < route.groups.len(), "shares divide turns between the route's groups");
        let locality = client.as_ref().and_then(Client::locality);
        route.groups.get(group).map(|group| group.nearest(locality))
    }
}
