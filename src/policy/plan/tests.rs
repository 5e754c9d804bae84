//! Tests of plans.

use std::time::{Duration, Instant};

use super::*;
use crate::{
    config::{Amount, Failover, Near, Nearness, WhenAllUnhealthy},
    model::Health::{self, Draining, Healthy, Unhealthy, Unknown, Warning},
    policy::testing::candidate,
};

fn policy(answers: AnswerSettings, routes: Vec<Route>) -> Policy {
    Policy::of_service(&ServiceDefinition {
        name: "web.test".parse().unwrap(),
        answers,
        alias: None,
        from: Vec::new(),
        routes,
        failover: None,
        names: Vec::new(),
    })
}

fn version(version: &str, weight: u16) -> Group {
    let labels = [("version", version)].into_iter().collect();
    Group { filter: InstanceFilter { labels, ..InstanceFilter::default() }, weight, strict: false }
}

fn planned<'a>(policy: &'a Policy, candidates: &'a [Candidate]) -> ServicePlan<'a> {
    plan(policy, candidates, &Localities::default(), &Memory::new(), Coverage::Complete, Instant::now()).0
}

fn candidates(states: &[(Health, &str, u16)]) -> Vec<Candidate> {
    let one = |(at, (health, version, weight)): (usize, &(Health, &str, u16))| {
        let labels = [("version", *version)].into_iter().collect();
        Candidate { labels, weight: *weight, ..candidate(&format!("i{at}"), *health) }
    };
    states.iter().enumerate().map(one).collect()
}

fn labels<'a>(candidates: &[&'a Candidate]) -> Vec<&'a str> {
    candidates.iter().map(|one| one.label.as_str()).collect()
}

/// The health of the answered candidates of a service without routes, and whether it opened up.
fn plain(states: &[Health], answers: AnswerSettings) -> (Vec<Health>, bool) {
    let candidates = candidates(&states.iter().map(|health| (*health, "v1", 1)).collect::<Vec<_>>());
    let policy = Policy::of_answers(answers);
    let plan = planned(&policy, &candidates);
    let [RoutePlan { clients: None, groups, failed_open }] = plan.routes.as_slice() else {
        panic!("{plan:?}")
    };
    (groups[0].candidates.iter().map(|one| one.health).collect(), *failed_open || groups[0].in_panic)
}

#[test]
fn only_eligible_candidates_are_answered() {
    let answered = plain(&[Healthy, Unhealthy, Warning, Unknown, Draining], AnswerSettings::default());
    assert_eq!(answered, (vec![Healthy, Warning], false));
}

#[test]
fn all_but_draining_are_answered_when_none_is_eligible() {
    let answered = plain(&[Unhealthy, Unhealthy, Draining], AnswerSettings::default());
    assert_eq!(answered, (vec![Unhealthy, Unhealthy], true));
    assert_eq!(plain(&[Draining, Draining], AnswerSettings::default()), (vec![], false));
    let none = AnswerSettings { when_all_unhealthy: WhenAllUnhealthy::None, ..AnswerSettings::default() };
    assert_eq!(plain(&[Unhealthy, Unknown], none), (vec![], false));
}

#[test]
fn below_the_panic_threshold_ineligible_are_answered_too() {
    let answers = AnswerSettings { panic_threshold: 50, ..AnswerSettings::default() };
    assert_eq!(plain(&[Healthy, Unhealthy, Draining], answers.clone()), (vec![Healthy], false));
    let three = plain(&[Healthy, Unhealthy, Unhealthy, Draining], answers);
    assert_eq!(three, (vec![Healthy, Unhealthy, Unhealthy], true));
}

#[test]
fn instances_that_were_never_healthy_are_answered_last() {
    let answers = AnswerSettings { panic_threshold: 50, ..AnswerSettings::default() };
    let starting = [Healthy, Healthy, Unknown, Unknown, Unknown, Unknown, Unknown];
    assert_eq!(plain(&starting, answers.clone()), (vec![Healthy, Healthy], false), "no panic");
    let failing = plain(&[Healthy, Unhealthy, Unhealthy, Unknown], answers.clone());
    assert_eq!(failing, (vec![Healthy, Unhealthy, Unhealthy], true));
    assert_eq!(plain(&[Unhealthy, Unknown], answers.clone()), (vec![Unhealthy], true));
    assert_eq!(plain(&[Unknown, Unknown, Draining], answers), (vec![Unknown, Unknown], true));
}

#[test]
fn weight_0_gets_nothing_while_an_eligible_one_has_more() {
    let weights = |given: &[(Health, u16)]| -> Vec<u16> {
        let candidates =
            candidates(&given.iter().map(|(health, weight)| (*health, "v1", *weight)).collect::<Vec<_>>());
        let policy = Policy::of_answers(AnswerSettings::default());
        planned(&policy, &candidates).routes[0].groups[0].candidates.iter().map(|one| one.weight).collect()
    };
    assert_eq!(weights(&[(Healthy, 0), (Healthy, 3), (Healthy, 0)]), [3]);
    assert_eq!(weights(&[(Healthy, 0), (Unhealthy, 3)]), [0]);
    assert_eq!(weights(&[(Healthy, 0), (Healthy, 0)]), [0, 0]);
    assert_eq!(weights(&[(Unhealthy, 0), (Unhealthy, 5)]), [5]);
}

fn split(groups: Vec<Group>) -> Policy {
    policy(AnswerSettings::default(), vec![Route { clients: None, split: groups }])
}

#[test]
fn groups_take_what_their_filter_matches() {
    let candidates =
        candidates(&[(Healthy, "v1", 1), (Healthy, "v2", 1), (Unhealthy, "v2", 1), (Healthy, "v3", 1)]);
    let policy = split(vec![version("v1", 90), version("v2", 10)]);
    let plan = planned(&policy, &candidates);
    assert_eq!(plan.routes.len(), 1);
    let route = &plan.routes[0];
    assert_eq!(labels(&route.groups[0].candidates), ["i0"]);
    assert_eq!(labels(&route.groups[1].candidates), ["i1"]);
    assert_eq!(route.weights(|_| true), [90, 10]);
    assert_eq!(route.weights(|at| at == 0), [90, 0]);
}

#[test]
fn an_empty_group_gives_up_its_share_unless_strict() {
    let candidates = candidates(&[(Healthy, "v1", 1), (Unhealthy, "v2", 1)]);
    let policy = split(vec![version("v1", 90), version("v2", 10)]);
    let route = planned(&policy, &candidates).routes.remove(0);
    assert_eq!((route.weights(|_| true), route.failed_open), (vec![90, 0], false));
    let strict = Group { strict: true, ..version("v2", 10) };
    let policy = split(vec![version("v1", 90), strict]);
    let route = planned(&policy, &candidates).routes.remove(0);
    assert!(route.groups[1].candidates.is_empty());
    assert_eq!(route.weights(|at| at == 0), [90, 10]);
}

#[test]
fn a_group_of_weight_0_is_a_standby() {
    let policy = split(vec![version("v1", 1), version("v2", 0)]);
    let both = candidates(&[(Healthy, "v1", 1), (Healthy, "v2", 1)]);
    assert_eq!(planned(&policy, &both).routes[0].weights(|_| true), [1, 0]);
    let standby = candidates(&[(Unhealthy, "v1", 1), (Healthy, "v2", 1)]);
    assert_eq!(planned(&policy, &standby).routes[0].weights(|_| true), [0, 1]);
}

#[test]
fn a_route_fails_open_only_if_no_group_has_an_eligible_one() {
    let policy = split(vec![version("v1", 9), version("v2", 1)]);
    let candidates = candidates(&[(Unhealthy, "v1", 1), (Unknown, "v2", 1), (Draining, "v2", 1)]);
    // Each group decides for itself which of its candidates to answer.
    let route = planned(&policy, &candidates).routes.remove(0);
    assert!(route.failed_open);
    assert_eq!(labels(&route.groups[1].candidates), ["i1"]);
    assert_eq!(route.weights(|_| true), [9, 1]);
}

#[test]
fn a_client_that_matches_no_route_gets_everything() {
    let clients =
        ClientFilter { service: Some("magnanimo.test".parse().unwrap()), ..ClientFilter::default() };
    let route = Route { clients: Some(clients.clone()), split: vec![version("v1", 1)] };
    let policy = policy(AnswerSettings::default(), vec![route]);
    let candidates = candidates(&[(Healthy, "v1", 1), (Healthy, "v2", 1)]);
    let plan = planned(&policy, &candidates);
    assert_eq!(plan.routes.len(), 2);
    assert_eq!(plan.routes[0].clients, Some(&clients));
    assert_eq!(labels(&plan.routes[0].groups[0].candidates), ["i0"]);
    assert_eq!(plan.routes[1].clients, None);
    assert_eq!(labels(&plan.routes[1].groups[0].candidates), ["i0", "i1"]);
}

/// How many candidates each ring has.
type Counts = Vec<(String, usize)>;

fn near(prefer: Near, spill_below: u8, places: &[(Health, Option<&str>)]) -> (Counts, Counts) {
    let candidates: Vec<Candidate> = places
        .iter()
        .enumerate()
        .map(|(at, (health, zone))| Candidate {
            locality: zone.map(Into::into),
            ..candidate(&format!("i{at}"), *health)
        })
        .collect();
    let answers =
        AnswerSettings { nearness: Some(Nearness { prefer, spill_below }), ..AnswerSettings::default() };
    let policy = policy(answers, Vec::new());
    let plan = planned(&policy, &candidates);
    let counts = |rings: &[(std::sync::Arc<str>, Vec<&Candidate>)]| {
        rings.iter().map(|(place, near)| (place.to_string(), near.len())).collect()
    };
    let rings = &plan.routes[0].groups[0].rings;
    (counts(&rings.zones), counts(&rings.regions))
}

fn ring(place: &str, count: usize) -> (String, usize) {
    (place.to_owned(), count)
}

#[test]
fn rings_are_by_zone_and_by_region() {
    let places = [
        (Healthy, Some("eu-west-1a")),
        (Healthy, Some("eu-west-1a")),
        (Healthy, Some("eu-west-1b")),
        (Healthy, Some("us-east-1a")),
        (Healthy, None),
    ];
    let (zones, regions) = near(Near::Zone, 1, &places);
    assert_eq!(zones, [ring("eu-west-1a", 2), ring("eu-west-1b", 1), ring("us-east-1a", 1)]);
    assert_eq!(regions, [ring("eu-west-1", 3), ring("us-east-1", 1)]);
    assert_eq!(near(Near::Region, 1, &places), (vec![], regions));
}

#[test]
fn a_zone_spills_over_if_too_few_are_eligible() {
    let places = [
        (Healthy, Some("eu-west-1a")),
        (Unhealthy, Some("eu-west-1a")),
        (Unhealthy, Some("eu-west-1a")),
        (Draining, Some("eu-west-1a")),
        (Healthy, Some("eu-west-1b")),
        (Unknown, Some("eu-west-1b")),
        (Unknown, Some("eu-west-1b")),
        (Unhealthy, Some("us-east-1a")),
    ];
    let (zones, regions) = near(Near::Zone, 50, &places);
    assert_eq!(zones, [ring("eu-west-1b", 1)]);
    assert_eq!(regions, [ring("eu-west-1", 2)]);
}

#[test]
fn weight_0_panics_separately() {
    let policy = policy(AnswerSettings { panic_threshold: 50, ..AnswerSettings::default() }, Vec::new());
    let answered = |states: &[(Health, &str, u16)]| {
        let candidates = candidates(states);
        let plan = planned(&policy, &candidates);
        labels(&plan.routes[0].groups[0].candidates).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(answered(&[(Healthy, "v", 0), (Unhealthy, "v", 1), (Unhealthy, "v", 1)]), ["i0"]);
    let heavy = [(Healthy, "v", 1), (Unhealthy, "v", 0), (Unhealthy, "v", 1), (Unhealthy, "v", 1)];
    assert_eq!(answered(&heavy), ["i0", "i2", "i3"]);
    assert_eq!(answered(&[(Healthy, "v", 0), (Unhealthy, "v", 0), (Unhealthy, "v", 0)]), ["i0", "i1", "i2"]);
}

#[test]
fn memory_follows_its_group() {
    let for_magnanimo = |split: Vec<Group>| Route {
        clients: Some(ClientFilter {
            service: Some("magnanimo.test".parse().unwrap()),
            ..ClientFilter::default()
        }),
        split,
    };
    let for_all = |split: Vec<Group>| Route { clients: None, split };
    let before = policy(AnswerSettings::default(), vec![for_all(vec![version("v1", 1), version("v2", 1)])]);
    let mut memory = Memory::new();
    memory.insert((0, 0), TierState::new(1));
    memory.insert((0, 1), TierState::new(2));
    let after = policy(
        AnswerSettings::default(),
        vec![for_magnanimo(vec![version("v1", 1)]), for_all(vec![version("v2", 9), version("v3", 1)])],
    );
    let kept = carry_over(&memory, &before, &after);
    let kept: Vec<_> = kept.into_iter().map(|(place, state)| (place, state.tier)).collect();
    assert_eq!(kept, [((1, 0), 2)]);
}

#[test]
fn memory_outlives_an_edit_of_hold_down_and_min_healthy() {
    let with = |failover: Failover| Policy {
        failover: Some(failover),
        ..policy(AnswerSettings::default(), Vec::new())
    };
    let tier = |zone: &str| InstanceFilter { locality: Some(zone.into()), ..InstanceFilter::default() };
    let failover = Failover {
        tiers: vec![tier("eu-west-1a"), tier("eu-west-1b")],
        min_healthy: Amount::Count(1),
        hold_down: Duration::from_secs(3600),
    };
    let memory = Memory::from([((0, 0), TierState::new(1))]);
    let kept = |after: Failover| carry_over(&memory, &with(failover.clone()), &with(after));
    let edited =
        Failover { min_healthy: Amount::Percent(50), hold_down: Duration::from_secs(60), ..failover.clone() };
    assert_eq!(kept(edited), memory, "the second tier stays in use until it has been held for a minute");
    let other_tiers = Failover { tiers: vec![tier("eu-west-1b")], ..failover.clone() };
    assert_eq!(kept(other_tiers), Memory::new(), "an index means another tier now");
}

#[test]
fn nothing_fails_open_while_a_member_is_pending() {
    let policy = Policy::of_answers(AnswerSettings::default());
    let answered = |health, coverage| {
        let candidates = candidates(&[(health, "v1", 1)]);
        let plan =
            plan(&policy, &candidates, &Localities::default(), &Memory::new(), coverage, Instant::now()).0;
        (plan.routes[0].groups[0].candidates.len(), plan.routes[0].failed_open)
    };
    assert_eq!(answered(Unhealthy, Coverage::Pending), (0, false));
    assert_eq!(answered(Unhealthy, Coverage::Partial), (1, true));
    assert_eq!(answered(Healthy, Coverage::Pending), (1, false));
}
