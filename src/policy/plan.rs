//! The plan of a service: for each route and group, which candidates are answered.

use std::{collections::HashMap, time::Instant};

use super::{
    accept::{accept, open},
    candidate::{Candidate, matches},
    failover::{self, TierState, tier_of},
    nearness::{Localities, Locality, Rings, nearest_ring, rings},
};
use crate::config::{
    AnswerSettings, ClientFilter, Failover, Group, InstanceFilter, Near, Route, ServiceDefinition, SubsetName,
};

/// What the configuration says of a service's answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What its answers look like.
    pub answers: AnswerSettings,
    /// Tiers of instances.
    pub failover: Option<Failover>,
    /// Which candidates count at all.
    filter: InstanceFilter,
    /// Which clients get which groups; the last is for everybody.
    routes: Vec<Route>,
}

impl Policy {
    /// The policy of a service that has answer settings and nothing else.
    pub fn of_answers(answers: AnswerSettings) -> Self {
        Self { answers, failover: None, filter: InstanceFilter::default(), routes: with_last(Vec::new()) }
    }

    /// The policy of a configured service.
    pub fn of_service(service: &ServiceDefinition) -> Self {
        Self {
            answers: service.answers.clone(),
            failover: service.failover.clone(),
            filter: InstanceFilter::default(),
            routes: with_last(service.routes.clone()),
        }
    }

    /// The policy of one of its further names: no routes, since those divide the whole.
    pub fn of_subset(service: &ServiceDefinition, subset: &SubsetName) -> Self {
        Self { filter: subset.filter.clone(), routes: with_last(Vec::new()), ..Self::of_service(service) }
    }

    /// This policy with other answer settings.
    #[must_use]
    pub fn with_answers(&self, answers: AnswerSettings) -> Self {
        Self { answers, ..self.clone() }
    }

    /// Which candidates count at all.
    pub fn filter(&self) -> &InstanceFilter {
        &self.filter
    }

    /// The routes, in order; the last one is for everybody.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

/// Whoever matches no route gets all instances.
fn with_last(mut routes: Vec<Route>) -> Vec<Route> {
    if routes.iter().all(|route| route.clients.is_some()) {
        let all = Group { filter: InstanceFilter::default(), weight: 1, strict: false };
        routes.push(Route { clients: None, split: vec![all] });
    }
    routes
}

/// What is remembered from one plan of a service to the next: the failover of each group, by route and group.
pub type Memory = HashMap<(usize, usize), TierState>;

/// What is remembered for `policy`, of what was remembered for `before`: that of the groups that are still there, for the same
/// clients, whatever their weights and places now. Nothing if the tiers are others.
pub fn carried(memory: &Memory, before: &Policy, policy: &Policy) -> Memory {
    if before.failover != policy.failover {
        return Memory::new();
    }
    let place_of = |(route, group): &(usize, usize)| {
        let route = before.routes.get(*route)?;
        let group = route.split.get(*group)?;
        let at = policy.routes.iter().position(|other| other.clients == route.clients)?;
        let group_at = policy.routes.get(at)?.split.iter().position(|other| other.filter == group.filter)?;
        Some((at, group_at))
    };
    memory.iter().filter_map(|(place, state)| Some((place_of(place)?, state.clone()))).collect()
}

/// Who gets which candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan<'a> {
    /// In order; the first whose clients match counts, and the last one has none, so it matches everybody.
    pub routes: Vec<RoutePlan<'a>>,
    /// When it has to be made again, though nothing changes.
    pub until: Option<Instant>,
}

/// What the clients of one route get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePlan<'a> {
    /// Who they are; `None`: everybody.
    pub clients: Option<&'a ClientFilter>,
    /// At least one.
    pub groups: Vec<GroupPlan<'a>>,
    /// Whether nothing in any group is fit, so that the unfit are answered.
    pub failed_open: bool,
}

/// One group of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlan<'a> {
    /// What the configuration says of it.
    pub group: &'a Group,
    /// The tier that is answered, where there are tiers.
    pub tier: Option<usize>,
    /// Those that are answered, in the order given.
    pub candidates: Vec<&'a Candidate>,
    /// Who is answered to those who are near.
    pub rings: Rings<'a>,
    /// Whether too few are fit, so that unfit ones are answered with them.
    pub panics: bool,
}

/// Plans a service's answers.
///
/// In this order: group, tier, health (with weight 0 and the panic threshold), fail-open where no group of a route has anything
/// fit, nearness. `all_synced` says whether all sources have been heard.
pub fn plan<'a>(
    policy: &'a Policy,
    candidates: &'a [Candidate],
    localities: &Localities,
    memory: &mut Memory,
    all_synced: bool,
    now: Instant,
) -> ServicePlan<'a> {
    let candidates: Vec<&Candidate> = candidates.iter().filter(|one| matches(&policy.filter, one)).collect();
    let mut until = None;
    let mut remembered = Memory::new();
    let routes = policy.routes.iter().enumerate().map(|(route_at, Route { clients, split })| {
        // Of each group: those of its tier.
        let mut groups: Vec<(GroupPlan<'a>, Vec<&'a Candidate>)> = Vec::with_capacity(split.len());
        for (group_at, group) in split.iter().enumerate() {
            let mut members: Vec<_> =
                candidates.iter().copied().filter(|one| matches(&group.filter, one)).collect();
            let tier = policy.failover.as_ref().map(|failover| {
                let mut state = memory.get(&(route_at, group_at)).cloned();
                let choice =
                    failover::choose(failover, &members, &policy.answers, &mut state, all_synced, now);
                remembered.extend(state.map(|state| ((route_at, group_at), state)));
                until = [until, choice.until].into_iter().flatten().min();
                members.retain(|one| tier_of(failover, one) == Some(choice.tier));
                choice.tier
            });
            let (accepted, panics) = accept(&members, &policy.answers);
            let plan = GroupPlan { group, tier, candidates: accepted, rings: Rings::default(), panics };
            groups.push((plan, members));
        }
        let none_eligible = groups.iter().all(|(plan, _)| plan.candidates.is_empty());
        let mut failed_open = false;
        for (plan, members) in &mut groups {
            if none_eligible {
                plan.candidates = open(members, &policy.answers);
                failed_open |= !plan.candidates.is_empty();
            }
            if let Some(nearness) = policy.answers.nearness
                && !none_eligible
                && !plan.panics
            {
                plan.rings = rings(nearness, members, &plan.candidates, &policy.answers, localities);
            }
        }
        let clients = clients.as_ref();
        RoutePlan { clients, groups: groups.into_iter().map(|(plan, _)| plan).collect(), failed_open }
    });
    let routes = routes.collect();
    *memory = remembered;
    ServicePlan { routes, until }
}

impl<'a> GroupPlan<'a> {
    /// The candidates that a client at `locality` is answered with, and the ring that they are of; `None`:
    /// they are the whole group.
    pub fn nearest(&self, locality: Option<&Locality>) -> (&[&'a Candidate], Option<Near>) {
        match nearest_ring(&self.rings.zones, &self.rings.regions, locality) {
            Some((near, candidates)) => (candidates, Some(near)),
            None => (&self.candidates, None),
        }
    }

    /// The part of its route's look-ups that it gets: nothing without candidates, unless it keeps its share by `strict`.
    fn may_be_chosen(&self) -> bool {
        !self.candidates.is_empty() || self.group.strict
    }
}

impl RoutePlan<'_> {
    /// The weights of the groups for those that `has_records` says may be answered with something; a group without hands its
    /// share to the others, and one of weight 0 gets nothing while another has more.
    ///
    /// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-values-weighted.html>
    pub fn weights(&self, has_records: impl Fn(usize) -> bool) -> Vec<u32> {
        let chosen = |(at, group): (usize, &GroupPlan<'_>)| {
            (group.may_be_chosen() && (group.group.strict || has_records(at)))
                .then_some(u32::from(group.group.weight))
        };
        let weights: Vec<Option<u32>> = self.groups.iter().enumerate().map(chosen).collect();
        let all_zero = weights.iter().flatten().all(|weight| *weight == 0);
        weights
            .into_iter()
            .map(|weight| weight.map_or(0, |weight| if all_zero { 1 } else { weight }))
            .collect()
    }
}

#[cfg(test)]
mod tests;
