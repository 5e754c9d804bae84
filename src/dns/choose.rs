//! Choosing: which of a service's pools a question is answered from.

use super::{answer::Facts, rotation::Rotation};
use crate::{
    catalog::{Answers, Client, GroupPools, GroupRotation, GroupRotations, Pool, Routing, Service},
    model::Network,
};

/// What is asked for; each kind takes turns of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    V4,
    V6,
    Srv,
    /// SRV of the named port at this place.
    Port(usize),
}

/// Chooses the pool: the first route that is the client's, the group whose turn it is, what is near of that.
///
/// `None`: the service is but another name of one that is not ours. *Cost*: nothing for a plain service; a look-up of the
/// client where a route or nearness needs it.
pub(super) fn choose<'a>(
    service: &'a Service,
    kind: Kind,
    facts: &Facts<'a>,
    rotation: &mut Rotation,
) -> Option<&'a Pool> {
    match &service.answers {
        Answers::Same(pool) => Some(pool),
        Answers::Routed(routing) => routed(routing, kind, facts, rotation),
        Answers::Alias(_) => None,
    }
}

fn routed<'a>(
    routing: &'a Routing,
    kind: Kind,
    facts: &Facts<'a>,
    rotation: &mut Rotation,
) -> Option<&'a Pool> {
    let network = || facts.on_behalf_of.unwrap_or_else(|| Network::of(facts.client));
    let client = routing.by_client.then(|| facts.view.client(network()));
    let mut was_ambiguous = false;
    let mut is_theirs = |test| {
        let Some(client) = &client else { return false };
        was_ambiguous |= client.is_ambiguous_for(test);
        client.passes(test)
    };
    let route = routing.routes.iter().find(|route| route.clients.as_ref().is_none_or(&mut is_theirs))?;
    if let Some(metrics) = facts.metrics.filter(|_| was_ambiguous) {
        metrics.ambiguous_client();
    }
    let group = match turn(&route.rotations, kind) {
        Some(turn) => {
            let whose = turn.shares.pick(rotation.turn_of(turn.rotation, turn.shares.total()));
            route.groups.get(whose)
        }
        None => route.groups.first(),
    };
    group.map(|group| near(group, client.as_ref()))
}

fn turn(turns: &GroupRotations, kind: Kind) -> Option<&GroupRotation> {
    match kind {
        Kind::V4 => turns.v4.as_ref(),
        Kind::V6 => turns.v6.as_ref(),
        Kind::Srv => turns.srv.as_ref(),
        Kind::Port(at) => turns.ports.get(at)?.as_ref(),
    }
}

/// The pool of the client's zone, else of its region, else the whole group's.
fn near<'a>(group: &'a GroupPools, client: Option<&Client>) -> &'a Pool {
    let Some(locality) = client.and_then(Client::locality) else { return &group.all };
    let of = |rings: &'a [(std::sync::Arc<str>, Pool)], place: &str| {
        rings.iter().find(|(at, _)| **at == *place).map(|(_, pool)| pool)
    };
    of(&group.zones, &locality.zone).or_else(|| of(&group.regions, &locality.region)).unwrap_or(&group.all)
}
