//! Damping: `settle` and flapping.

use super::*;
use Health::{Draining, Healthy, Unhealthy, Unknown};

#[test]
fn good_news_has_to_last_and_bad_news_counts_at_once() {
    let mut bed = Bed::new(damping(5, None));
    bed.at(0, reset(healthy(0..2)));
    assert_eq!(bed.health(1), Some(Healthy), "the first list is believed");
    bed.at(1000, upsert(1, Unhealthy));
    assert_eq!(bed.health(1), Some(Unhealthy));
    bed.at(2000, upsert(1, Healthy));
    assert_eq!(bed.health(1), Some(Unhealthy));
    assert_eq!(bed.held(1), Some((HoldReason::Settling, Some(7000))));
    bed.at(4000, upsert(1, Unhealthy));
    assert_eq!(bed.held(1), None, "it is as the source says");
    bed.at(5000, upsert(1, Healthy));
    bed.wait_until(9999);
    assert_eq!(bed.health(1), Some(Unhealthy), "it has been healthy since 5 s only");
    bed.wait_until(10_000);
    assert_eq!((bed.health(1), bed.held(1)), (Some(Healthy), None));
    assert_eq!(bed.memory.deadline(), None);
}

#[test]
fn a_new_instance_has_to_settle_and_was_never_healthy() {
    let mut bed = Bed::new(damping(5, None));
    bed.at(0, reset(healthy(0..1)));
    bed.at(1000, upsert(7, Healthy));
    assert_eq!(bed.health(7), Some(Unknown));
    bed.wait_until(6000);
    assert_eq!(bed.health(7), Some(Healthy));
}

#[test]
fn the_first_result_of_a_check_decides_at_once() {
    let mut bed = Bed::new(damping(5, None));
    bed.at(0, reset(vec![instance(1, Unknown)]));
    bed.at(100, upsert(1, Healthy));
    assert_eq!(bed.health(1), Some(Healthy));
}

#[test]
fn what_is_held_follows_every_other_change() {
    let mut bed = Bed::new(damping(5, None));
    bed.at(0, reset(vec![instance(1, Unhealthy)]));
    bed.at(1000, upsert(1, Healthy));
    let heavy = Instance { weight: 7, ..instance(1, Healthy) };
    bed.at(2000, Update::Upsert { member: web(), instance: heavy.clone() });
    let given = bed.catalog.values().next().unwrap();
    assert_eq!((given.weight, given.health), (7, Unhealthy));
    assert_eq!(given.source_word(), Some(&heavy));
    assert_eq!(bed.held(1), Some((HoldReason::Settling, Some(6000))), "it is healthy since 1 s");
}

#[test]
fn an_instance_that_flaps_is_unhealthy_until_it_was_quiet() {
    let mut bed = Bed::new(damping(0, Some((10, 4, 30))));
    bed.at(0, reset(healthy(0..2)));
    for (second, health) in [(1, Unhealthy), (2, Healthy), (3, Unhealthy)] {
        bed.at(second * 1000, upsert(1, health));
        assert_eq!(bed.health(1), Some(health), "three changes are not yet flapping");
    }
    bed.at(4000, upsert(1, Healthy));
    assert_eq!(bed.health(1), Some(Unhealthy));
    assert_eq!(bed.held(1), Some((HoldReason::Flapping, Some(14_000))));
    bed.at(13_000, upsert(1, Unhealthy));
    bed.at(13_500, upsert(1, Healthy));
    bed.wait_until(23_499);
    assert_eq!(bed.health(1), Some(Unhealthy), "it was not quiet for 10 s");
    bed.wait_until(23_500);
    assert_eq!(bed.health(1), Some(Healthy));
    bed.at(24_000, upsert(1, Unhealthy));
    bed.at(24_500, upsert(1, Healthy));
    assert_eq!(bed.health(1), Some(Healthy), "counting begins again after the hold");
    assert_eq!(bed.health(0), Some(Healthy));
}

#[test]
fn slow_changes_are_no_flapping() {
    let mut bed = Bed::new(damping(0, Some((10, 4, 30))));
    bed.at(0, reset(healthy(1..2)));
    for number in 1..40 {
        let health = if number % 2 == 0 { Healthy } else { Unhealthy };
        bed.at(number * 11_000, upsert(1, health));
        assert_eq!(bed.health(1), Some(health));
    }
}

#[test]
fn an_instance_that_comes_and_goes_flaps() {
    let mut bed = Bed::new(damping(0, Some((10, 4, 30))));
    bed.at(0, reset(healthy(0..2)));
    bed.at(1000, remove(1));
    bed.at(2000, upsert(1, Healthy));
    bed.at(3000, remove(1));
    assert_eq!(bed.health(1), None, "bad news counts at once");
    bed.at(4000, upsert(1, Healthy));
    assert_eq!(bed.held(1), Some((HoldReason::Flapping, Some(14_000))));
    bed.at(5000, remove(1));
    assert_eq!(bed.health(1), None);
    bed.wait_until(100_000);
    assert_eq!(bed.memory.deadline(), None, "it is forgotten");
}

#[test]
fn maintenance_is_let_through_and_is_no_flapping() {
    let mut bed = Bed::new(damping(0, Some((10, 2, 30))));
    bed.at(0, reset(healthy(0..2)));
    for second in 1..10 {
        bed.at(second * 1000, upsert(1, Draining));
        assert_eq!(bed.health(1), Some(Draining));
        bed.at(second * 1000 + 500, upsert(1, Healthy));
        assert_eq!(bed.health(1), Some(Healthy));
    }
    bed.at(20_000, upsert(1, Unhealthy));
    bed.at(20_500, upsert(1, Healthy));
    assert_eq!(bed.held(1).map(|(why, _)| why), Some(HoldReason::Flapping));
    bed.at(21_000, upsert(1, Draining));
    assert_eq!((bed.health(1), bed.held(1)), (Some(Draining), None));
}

#[test]
fn a_new_list_is_a_difference_and_ends_staleness() {
    let mut bed = Bed::new(damping(5, None));
    bed.at(0, reset(vec![instance(1, Healthy), instance(2, Unhealthy)]));
    let passed = bed.at(1000, reset(vec![instance(1, Healthy), instance(2, Healthy)]));
    assert!(matches!(passed, Some(Update::Reset { .. })), "{passed:?}");
    assert_eq!((bed.health(1), bed.health(2)), (Some(Healthy), Some(Unhealthy)));
    bed.wait_until(6000);
    assert_eq!(bed.health(2), Some(Healthy));
}

#[test]
fn an_expiry_passes_at_once_and_clears_the_memory() {
    let mut bed = Bed::new(damping(5, None));
    bed.at(0, reset(vec![instance(1, Unhealthy)]));
    bed.at(1000, upsert(1, Healthy));
    let expired = Update::Expired { member: web() };
    assert_eq!(bed.at(2000, expired.clone()), Some(expired));
    assert_eq!(bed.memory.deadline(), None);
    assert!(bed.memory.held().by_reason().next().is_none());
    bed.at(3000, reset(healthy(1..2)));
    assert_eq!(bed.health(1), Some(Healthy), "as a first list");
}

#[test]
fn a_reload_goes_on_where_the_memory_was() {
    let rule = damping(5, None);
    let mut bed = Bed::new(rule.clone());
    bed.at(0, reset(vec![instance(1, Unhealthy)]));
    bed.at(1000, upsert(1, Healthy));
    let rules = GuardRules { source: rule, members: Default::default() };
    bed.memory = GuardMemory::new(rules, &mut bed.memory.take());
    bed.at(2000, reset(healthy(1..2)));
    assert_eq!(bed.held(1), Some((HoldReason::Settling, Some(6000))));
    assert_eq!(bed.memory.held().by_reason().collect::<Vec<_>>(), [(HoldReason::Settling, 1)]);
    bed.wait_until(6000);
    assert_eq!(bed.health(1), Some(Healthy));
}

#[test]
fn a_member_without_a_rule_passes_in_order() {
    let off = member("db.shop");
    let mut rules = GuardRules { source: damping(5, None), members: Default::default() };
    rules.members.insert(off.clone(), damping(0, None));
    let mut memory = GuardMemory::new(rules, &mut CarriedMemory::new());
    let list = Update::Reset { member: off.clone(), instances: vec![instance(1, Unhealthy)] };
    let good = Update::Upsert { member: off, instance: instance(1, Healthy) };
    let both = Update::Changes(vec![list, good]);
    assert_eq!(memory.judge(both.clone(), Instant::now()), Some(both));
    let clients = Member::clients(web().source);
    let update = Update::Upsert { member: clients, instance: instance(1, Healthy) };
    assert_eq!(memory.judge(update.clone(), Instant::now()), Some(update));
}
