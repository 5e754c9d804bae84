//! The plan of a service: for each route and group, the candidates that are answered.

use std::{collections::HashMap, time::Instant};

use super::{
    accept::{accept, fail_open},
    candidate::{Candidate, matches},
    failover::{self, TierState, tier_of},
    nearness::{Localities, Locality, Rings, nearest_ring, rings},
};
use crate::config::{
    AnswerSettings, ClientFilter, Failover, Group, InstanceFilter, Near, Route, ServiceDefinition, SubsetName,
};

/// The configured policy of one owner name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// TTL, size and order of answers, and which health is accepted.
    pub answers: AnswerSettings,
    /// The failover tiers, if any.
    pub failover: Option<Failover>,
    /// A candidate that does not match is not answered.
    filter: InstanceFilter,
    /// At least one; the last is for every client.
    routes: Vec<Route>,
}

impl Policy {
    /// The policy of a service without routes or failover, such as an imported one.
    pub fn of_answers(answers: AnswerSettings) -> Self {
        Self {
            answers,
            failover: None,
            filter: InstanceFilter::default(),
            routes: with_last_route(Vec::new()),
        }
    }

    /// The policy of a configured service.
    pub fn of_service(service: &ServiceDefinition) -> Self {
        Self {
            answers: service.answers.clone(),
            failover: service.failover.clone(),
            filter: InstanceFilter::default(),
            routes: with_last_route(service.routes.clone()),
        }
    }

    /// The policy of one of the service's subset names. It has no routes: those divide the whole
    /// service.
    pub fn of_subset(service: &ServiceDefinition, subset: &SubsetName) -> Self {
        Self {
            filter: subset.filter.clone(),
            routes: with_last_route(Vec::new()),
            ..Self::of_service(service)
        }
    }

    /// This policy with another shape of answers, for an alias.
    #[must_use]
    pub fn with_answers(&self, answers: AnswerSettings) -> Self {
        Self { answers, ..self.clone() }
    }

    /// The filter of a subset name; without one, it matches every candidate.
    pub fn filter(&self) -> &InstanceFilter {
        &self.filter
    }

    /// The routes in order, at least one; the last is for every client.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The failover tiers in order of preference; none without failover.
    fn tiers(&self) -> &[InstanceFilter] {
        self.failover.as_ref().map_or(&[], |failover| &failover.tiers)
    }
}

/// Adds the route of clients that match no configured route: they get all instances.
fn with_last_route(mut routes: Vec<Route>) -> Vec<Route> {
    if routes.iter().all(|route| route.clients.is_some()) {
        let all = Group { filter: InstanceFilter::default(), weight: 1, strict: false };
        routes.push(Route { clients: None, split: vec![all] });
    }
    routes
}

/// How much is known of a service's instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Some member has neither synced nor failed: it may have eligible instances in a moment.
    Pending,
    /// Some member failed before it synced.
    Partial,
    /// Every member is synced.
    Complete,
}

/// The failover state of each group, by the indexes of its route and of the group within it.
pub type Memory = HashMap<(usize, usize), TierState>;

/// Returns the memory for `policy`, given the memory of the policy `before` it.
///
/// A group keeps its state if a route for the same clients still has a group with the same filter,
/// whatever their order and weights. Empty if the tiers differ; a tier in use stays in use when
/// only `min_healthy` or `hold_down` was edited.
pub fn carry_over(memory: &Memory, before: &Policy, policy: &Policy) -> Memory {
    if before.tiers() != policy.tiers() {
        return Memory::new();
    }
    let key_now = |(route, group): &(usize, usize)| {
        let route = before.routes.get(*route)?;
        let group = route.split.get(*group)?;
        let route_at = policy.routes.iter().position(|other| other.clients == route.clients)?;
        let split = &policy.routes.get(route_at)?.split;
        Some((route_at, split.iter().position(|other| other.filter == group.filter)?))
    };
    memory.iter().filter_map(|(key, state)| Some((key_now(key)?, state.clone()))).collect()
}

/// Which clients get which candidates of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan<'a> {
    /// The first route that matches the client decides; the last matches every client.
    pub routes: Vec<RoutePlan<'a>>,
    /// When to plan again even if nothing changes: at the end of a hold-down.
    pub until: Option<Instant>,
}

/// The plan of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePlan<'a> {
    /// The clients it is for; `None`: every client.
    pub clients: Option<&'a ClientFilter>,
    /// At least one.
    pub groups: Vec<GroupPlan<'a>>,
    /// No candidate of any group is eligible, so ineligible ones are answered.
    pub failed_open: bool,
}

/// The plan of one group of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlan<'a> {
    /// The configured group.
    pub group: &'a Group,
    /// Index of the failover tier in use; `None` without failover.
    pub tier: Option<usize>,
    /// The candidates that are answered, in the order given.
    pub candidates: Vec<&'a Candidate>,
    /// The candidates that clients near to them get.
    pub rings: Rings<'a>,
    /// Too few candidates are eligible, so ineligible ones are answered too.
    pub in_panic: bool,
}

/// Plans a service's answers, and returns what to remember for the next plan.
///
/// Each group of each route goes through these steps: its filter, the failover tier, health (with
/// weight 0 and the panic threshold), fail-open if no group of the route has an eligible candidate,
/// and nearness. While the coverage is pending, nothing fails open.
pub fn plan<'a>(
    policy: &'a Policy,
    candidates: &'a [Candidate],
    localities: &Localities,
    memory: &Memory,
    coverage: Coverage,
    now: Instant,
) -> (ServicePlan<'a>, Memory) {
    let candidates: Vec<&Candidate> = candidates.iter().filter(|one| matches(&policy.filter, one)).collect();
    let mut next_memory = Memory::new();
    let mut until = None;
    let all_synced = coverage == Coverage::Complete;
    let mut in_tier = |key, members: &mut Vec<&'a Candidate>| {
        let failover = policy.failover.as_ref()?;
        let before = memory.get(&key);
        let (choice, state) = failover::choose(failover, members, &policy.answers, before, all_synced, now);
        next_memory.extend(state.map(|state| (key, state)));
        until = [until, choice.until].into_iter().flatten().min();
        members.retain(|one| tier_of(failover, one) == Some(choice.tier));
        Some(choice.tier)
    };
    let routes = policy.routes.iter().enumerate().map(|(route_at, route)| {
        let groups = route.split.iter().enumerate().map(|(group_at, group)| {
            let mut members: Vec<_> =
                candidates.iter().copied().filter(|one| matches(&group.filter, one)).collect();
            let tier = in_tier((route_at, group_at), &mut members);
            let (candidates, in_panic) = accept(&members, &policy.answers);
            (GroupPlan { group, tier, candidates, rings: Rings::default(), in_panic }, members)
        });
        plan_route(policy, route.clients.as_ref(), groups.collect(), localities, coverage)
    });
    let routes = routes.collect();
    (ServicePlan { routes, until }, next_memory)
}

/// Finishes the groups of one route, each given with the candidates of its tier: they fail open
/// together, or each has its rings.
fn plan_route<'a>(
    policy: &Policy,
    clients: Option<&'a ClientFilter>,
    groups: Vec<(GroupPlan<'a>, Vec<&'a Candidate>)>,
    localities: &Localities,
    coverage: Coverage,
) -> RoutePlan<'a> {
    let answers = &policy.answers;
    let none_eligible = groups.iter().all(|(plan, _)| plan.candidates.is_empty());
    let finish = |(mut plan, members): (GroupPlan<'a>, Vec<&'a Candidate>)| {
        if none_eligible {
            if coverage != Coverage::Pending {
                plan.candidates = fail_open(&members, answers);
            }
        } else if let Some(nearness) = answers.nearness.filter(|_| !plan.in_panic) {
            plan.rings = rings(nearness, &members, &plan.candidates, answers, localities);
        }
        plan
    };
    let groups: Vec<_> = groups.into_iter().map(finish).collect();
    let failed_open = none_eligible && groups.iter().any(|plan| !plan.candidates.is_empty());
    RoutePlan { clients, groups, failed_open }
}

impl<'a> GroupPlan<'a> {
    /// The candidates that a client at `locality` gets, and the kind of ring they are; `None`: they
    /// are the whole group.
    pub fn nearest(&self, locality: Option<&Locality>) -> (&[&'a Candidate], Option<Near>) {
        match nearest_ring(&self.rings.zones, &self.rings.regions, locality) {
            Some((near, candidates)) => (candidates, Some(near)),
            None => (&self.candidates, None),
        }
    }

    /// Whether the group gets its share: without candidates it does not, unless it is `strict`.
    fn may_be_chosen(&self) -> bool {
        !self.candidates.is_empty() || self.group.strict
    }
}

impl RoutePlan<'_> {
    /// The weight of each group in the split of lookups, given which groups have records to answer
    /// with.
    ///
    /// A group without records leaves its share to the others unless it is `strict`. A group of
    /// weight 0 gets nothing while another has more. Source:
    /// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-values-weighted.html>
    pub fn weights(&self, has_records: impl Fn(usize) -> bool) -> Vec<u32> {
        let weight = |(at, plan): (usize, &GroupPlan<'_>)| {
            let is_chosen = plan.may_be_chosen() && (plan.group.strict || has_records(at));
            is_chosen.then_some(u32::from(plan.group.weight))
        };
        let weights: Vec<Option<u32>> = self.groups.iter().enumerate().map(weight).collect();
        let all_zero = weights.iter().flatten().all(|weight| *weight == 0);
        weights
            .into_iter()
            .map(|weight| weight.map_or(0, |weight| if all_zero { 1 } else { weight }))
            .collect()
    }
}

#[cfg(test)]
mod tests;
