//! `remove_at_most` and `second_opinion`.

use super::*;
use crate::config::{Amount, RemovalLimit};

fn limit(amount: Amount, seconds: u64) -> GuardRule {
    let removal = Some(RemovalLimit { amount, window: Duration::from_secs(seconds) });
    GuardRule { removal, ..GuardRule::default() }
}

fn opinions() -> GuardRule {
    GuardRule { second_opinion: Some(true), ..GuardRule::default() }
}

fn unhealthy(numbers: std::ops::Range<u8>) -> Vec<Instance> {
    numbers.map(|last| instance(last, Health::Unhealthy)).collect()
}

/// Twenty healthy instances, of which the source says that all are unhealthy.
fn all_condemned(rule: GuardRule) -> Bed {
    let mut bed = Bed::new(rule);
    bed.at(0, reset(healthy(0..20)));
    bed.at(1000, reset(unhealthy(0..20)));
    bed
}

#[test]
fn a_source_takes_out_only_so_many_within_the_time() {
    let mut bed = all_condemned(limit(Amount::Percent(30), 10));
    assert_eq!(bed.good(), 14, "6 of 20");
    assert_eq!(bed.held(19), Some((HoldReason::Limited, None)));
    bed.wait_until(10_999);
    assert_eq!(bed.good(), 14);
    bed.wait_until(11_000);
    assert_eq!(bed.good(), 10, "4 of 14");
    bed.wait_until(1_000_000);
    assert_eq!(bed.good(), 0, "the last word counts in the end");
    assert!(bed.catalog.values().all(|instance| instance.held.is_none()));
    assert_eq!(bed.memory.deadline(), None);
}

#[test]
fn one_may_always_go_and_the_last_one_only_after_a_whole_time() {
    let mut bed = Bed::new(limit(Amount::Percent(1), 10));
    bed.at(0, reset(healthy(0..2)));
    bed.at(1000, upsert(0, Health::Unhealthy));
    assert_eq!(bed.good(), 1);
    bed.at(2000, remove(1));
    assert_eq!(bed.health(1), Some(Health::Healthy), "nothing goes to zero on one word");
    bed.wait_until(11_999);
    assert_eq!(bed.good(), 1);
    bed.wait_until(12_000);
    assert_eq!(bed.health(1), None);
}

#[test]
fn draining_is_the_operators_word_and_good_news_ends_a_doubt() {
    let mut bed = Bed::new(limit(Amount::Count(1), 10));
    bed.at(0, reset(healthy(0..4)));
    bed.at(1000, reset((0..4).map(|last| instance(last, Health::Draining)).collect()));
    assert_eq!(bed.good(), 0, "draining instances go at once");
    bed.at(2000, reset(healthy(0..4)));
    bed.at(3000, reset(unhealthy(0..4)));
    assert_eq!(bed.good(), 3);
    bed.at(4000, upsert(3, Health::Healthy));
    assert_eq!(bed.held(3), None);
    bed.at(5000, upsert(2, Health::Draining));
    assert_eq!(bed.health(2), Some(Health::Draining));
}

#[test]
fn few_instances_go_without_a_second_opinion() {
    let mut bed = Bed::new(opinions());
    bed.at(0, reset(healthy(0..20)));
    bed.at(1000, Update::Changes((0..6).map(|last| upsert(last, Health::Unhealthy)).collect()));
    assert_eq!(bed.good(), 14);
    assert_eq!(bed.asked(), []);
}

#[test]
fn instances_that_go_in_bulk_are_probed_and_the_open_ones_stay() {
    let mut bed = all_condemned(opinions());
    let asked = bed.asked();
    assert_eq!(asked.len(), 20, "all are asked about");
    assert_eq!(bed.good(), 20, "the old answer stands meanwhile");
    bed.hear(1001, &asked[..18], Opinion::Closed);
    assert_eq!(bed.good(), 2);
    bed.hear(1002, &asked[18..], Opinion::Open);
    bed.wait_until(5999);
    assert_eq!((bed.good(), bed.held(19)), (2, Some((HoldReason::Contradicted, None))));
    assert_eq!(bed.asked(), []);
    // They are probed again after a time.
    bed.wait_until(6002);
    let again = bed.asked();
    assert_eq!(again.len(), 2);
    assert_eq!(bed.held(19), Some((HoldReason::Contradicted, None)));
    bed.hear(6003, &again, Opinion::Closed);
    assert_eq!(bed.good(), 0);
    bed.wait_until(100_000);
    assert_eq!(bed.asked(), []);
}

#[test]
fn the_source_counts_if_no_opinion_comes_within_a_second() {
    let mut bed = all_condemned(opinions());
    let asked = bed.asked();
    bed.hear(1100, &asked[..10], Opinion::Unknown);
    bed.wait_until(1999);
    assert_eq!(bed.good(), 20);
    bed.wait_until(2000);
    assert_eq!(bed.good(), 1, "but nothing goes to zero on one word");
    bed.wait_until(30_000);
    assert_eq!(bed.good(), 0);
}

#[test]
fn an_opinion_of_an_earlier_doubt_does_not_count() {
    let mut bed = all_condemned(opinions());
    let earlier = bed.asked();
    bed.at(1100, reset(healthy(0..20)));
    bed.at(1200, reset(unhealthy(0..20)));
    assert_eq!(bed.asked().len(), 20);
    bed.hear(1300, &earlier, Opinion::Closed);
    assert_eq!(bed.good(), 20);
    let mut bed = all_condemned(opinions());
    let earlier = bed.asked();
    bed.at(1100, reset(healthy(0..20)));
    bed.hear(1200, &earlier, Opinion::Closed);
    assert_eq!(bed.good(), 20, "the source's newer word counts");
}

#[test]
fn the_first_of_many_come_back_if_they_are_open() {
    let mut bed = Bed::new(opinions());
    bed.at(0, reset(healthy(0..20)));
    for last in 0..20 {
        bed.at(1000 + u64::from(last) * 100, remove(last));
        let asked = bed.asked();
        bed.hear(1001 + u64::from(last) * 100, &asked, Opinion::Open);
    }
    assert_eq!(bed.good(), 20, "those that went first too");
    bed.at(4000, reset(healthy(0..20)));
    assert!(bed.catalog.values().all(|instance| instance.held.is_none()));
    assert_eq!(bed.memory.held().by_reason().count(), 0);
}

#[test]
fn a_reload_asks_again_and_one_that_ends_the_limit_follows_the_source() {
    let mut bed = all_condemned(opinions());
    bed.asked();
    bed.take_over(opinions());
    bed.wait_until(1001);
    assert_eq!((bed.asked().len(), bed.good()), (20, 20));
    bed.take_over(damping(1, None));
    bed.wait_until(1002);
    assert_eq!(bed.good(), 0);
}
