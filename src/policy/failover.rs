//! Failover: which tier of a group is answered, and when to return to an earlier one.

use std::time::Instant;

use super::{
    accept::Eligibility,
    candidate::{Candidate, matches},
};
use crate::config::{Amount, AnswerSettings, Failover};

/// The failover state of one group, remembered from one plan to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierState {
    /// Index of the tier in use.
    pub tier: usize,
    /// Earlier tiers that have recovered, and since when.
    recovered: Vec<(usize, Instant)>,
}

impl TierState {
    /// A tier in use while no earlier one has recovered.
    pub(super) fn new(tier: usize) -> Self {
        Self { tier, recovered: Vec::new() }
    }

    /// When the hold-down of the first recovered tier ends; `None` if no earlier tier has
    /// recovered.
    pub fn held_until(&self, failover: &Failover) -> Option<Instant> {
        self.recovered.iter().filter_map(|(_, since)| since.checked_add(failover.hold_down)).min()
    }

    /// The earlier tiers that are good now, each with the time since when it has been.
    fn still_recovered(&self, is_good: impl Fn(usize) -> bool, now: Instant) -> Vec<(usize, Instant)> {
        let since = |tier| self.recovered.iter().find(|(other, _)| *other == tier).map_or(now, |(_, at)| *at);
        (0..self.tier).filter(|tier| is_good(*tier)).map(|tier| (tier, since(tier))).collect()
    }
}

/// The tier that a group is answered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TierChoice {
    pub(super) tier: usize,
    /// When to choose again even if nothing changes: at the end of the hold-down.
    pub(super) until: Option<Instant>,
}

/// The index of the tier that a candidate belongs to: the first whose filter it matches.
pub fn tier_of(failover: &Failover, candidate: &Candidate) -> Option<usize> {
    failover.tiers.iter().position(|tier| matches(tier, candidate))
}

/// Chooses the tier to answer from, and returns what to remember of the choice.
///
/// The first tier that has `min_healthy` eligible candidates and is not in panic is best; if there
/// is none, the first with any eligible candidate; then the first with any that was ever healthy;
/// then the first with any candidate. The choice moves to a later tier at once. It returns to an
/// earlier one when that has been as good for `hold_down`, or at once if the later tier gets worse.
///
/// The order in which sources deliver their first state is not a failover: until all are synced, a
/// later tier is remembered only if an earlier one was in use before. Neither is the order in which
/// first probes finish: a tier is not left while instances that nothing is known of may give it
/// enough.
pub(super) fn choose(
    failover: &Failover,
    candidates: &[&Candidate],
    answers: &AnswerSettings,
    before: Option<&TierState>,
    all_synced: bool,
    now: Instant,
) -> (TierChoice, Option<TierState>) {
    debug_assert!(!failover.tiers.is_empty(), "the configuration reader rejects failover without tiers");
    let tiers: Vec<Eligibility> = (0..failover.tiers.len())
        .map(|tier| {
            let members = candidates.iter().copied().filter(|one| tier_of(failover, one) == Some(tier));
            Eligibility::count(members, answers)
        })
        .collect();
    let rank = |tier: usize| match tiers.get(tier) {
        Some(tier) if has_enough(*tier, failover.min_healthy) && !tier.is_below(answers.panic_threshold) => 4,
        Some(Eligibility { eligible: 1.., .. }) => 3,
        Some(Eligibility { total: 1.., .. }) => 2,
        Some(Eligibility { alive: 1.., .. }) => 1,
        _ => 0,
    };
    let is_undecided = |tier: usize| {
        let at_best = tiers.get(tier).filter(|tier| tier.undecided > 0).map(|tier| tier.at_best());
        at_best.is_some_and(|tier| has_enough(tier, failover.min_healthy))
    };
    // `max_by_key` returns the last of equal elements; reversed, that is the first tier.
    let best = (0..tiers.len()).rev().max_by_key(|tier| rank(*tier)).unwrap_or(0);
    let in_use = before.map_or(0, |before| before.tier);
    let best = (in_use..best).find(|tier| is_undecided(*tier)).unwrap_or(best);
    let held = before
        .filter(|before| best < before.tier && rank(before.tier) > 2 && rank(before.tier) == rank(best));
    let chosen = match held {
        None => TierState::new(best),
        Some(before) => {
            let mut recovered = before.still_recovered(|tier| rank(tier) == rank(best), now);
            let is_over =
                |since: Instant| since.checked_add(failover.hold_down).is_some_and(|end| end <= now);
            let back = recovered.iter().position(|(_, since)| is_over(*since));
            let tier = back.and_then(|at| recovered.get(at)).map_or(before.tier, |(tier, _)| *tier);
            recovered.truncate(back.unwrap_or(recovered.len()));
            TierState { tier, recovered }
        }
    };
    let choice = TierChoice { tier: chosen.tier, until: chosen.held_until(failover) };
    let is_first_in_use = chosen.tier == 0 && rank(0) > 2;
    let is_remembered = all_synced || before.is_some() || is_first_in_use;
    (choice, is_remembered.then_some(chosen))
}

fn has_enough(tier: Eligibility, min_healthy: Amount) -> bool {
    tier.eligible > 0
        && match min_healthy {
            Amount::Count(count) => tier.eligible >= usize::try_from(count).unwrap_or(usize::MAX),
            Amount::Percent(percent) => !tier.is_below(percent),
        }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::InstanceFilter,
        model::Health::{self, Draining, Healthy, Unhealthy, Unknown},
        policy::testing::candidate,
    };

    fn failover(min_healthy: Amount) -> Failover {
        let tier = |name: &str| InstanceFilter {
            labels: [("tier", name)].into_iter().collect(),
            ..InstanceFilter::default()
        };
        Failover {
            tiers: vec![tier("1"), tier("2"), tier("3")],
            min_healthy,
            hold_down: Duration::from_secs(30),
        }
    }

    /// Candidates of tier 1, 2 and 3 with these states.
    fn candidates(tiers: [&[Health]; 3]) -> Vec<Candidate> {
        let mut all = Vec::new();
        for (tier, states) in (1..).zip(tiers) {
            for health in states {
                let mut one = candidate(&format!("i{}", all.len()), *health);
                one.labels = [("tier", tier.to_string())].into_iter().collect();
                all.push(one);
            }
        }
        all
    }

    struct Run {
        failover: Failover,
        answers: AnswerSettings,
        all_synced: bool,
        state: Option<TierState>,
        now: Instant,
    }

    impl Run {
        fn new(min_healthy: Amount) -> Self {
            Self {
                failover: failover(min_healthy),
                answers: AnswerSettings::default(),
                all_synced: true,
                state: None,
                now: Instant::now(),
            }
        }

        fn choose(&mut self, tiers: [&[Health]; 3]) -> (usize, Option<u64>) {
            let candidates = candidates(tiers);
            let candidates: Vec<_> = candidates.iter().collect();
            let before = self.state.take();
            let (choice, state) = choose(
                &self.failover,
                &candidates,
                &self.answers,
                before.as_ref(),
                self.all_synced,
                self.now,
            );
            self.state = state;
            (choice.tier, choice.until.map(|until| (until - self.now).as_secs()))
        }

        fn wait(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }
    }

    const H: Health = Healthy;
    const U: Health = Unhealthy;
    const N: Health = Unknown;
    const D: Health = Draining;

    #[test]
    fn the_first_tier_with_enough_is_used() {
        let cases: [(Amount, [&[Health]; 3], usize); 10] = [
            (Amount::Count(1), [&[H, U], &[H], &[H]], 0),
            (Amount::Count(2), [&[H, U], &[H, H], &[H]], 1),
            (Amount::Count(1), [&[U], &[], &[H]], 2),
            (Amount::Percent(50), [&[H, U], &[H], &[]], 0),
            (Amount::Percent(51), [&[H, U], &[H], &[]], 1),
            // A draining instance counts in no percentage, and a number counts what is left.
            (Amount::Percent(100), [&[H, D], &[H], &[]], 0),
            (Amount::Count(2), [&[H, D], &[H, H], &[]], 1),
            // None has enough: the first with any.
            (Amount::Count(3), [&[U], &[H], &[H, H]], 1),
            // None has any: the first with instances, for fail-open.
            (Amount::Count(1), [&[], &[U], &[U]], 1),
            (Amount::Count(1), [&[], &[], &[]], 0),
        ];
        for (min_healthy, tiers, expected) in cases {
            assert_eq!(Run::new(min_healthy).choose(tiers), (expected, None), "{min_healthy:?} {tiers:?}");
        }
    }

    #[test]
    fn failing_over_is_immediate_and_returning_waits_for_hold_down() {
        let mut run = Run::new(Amount::Count(1));
        assert_eq!(run.choose([&[H], &[H], &[]]), (0, None));
        assert_eq!(run.choose([&[U], &[H], &[]]), (1, None));
        run.wait(100);
        assert_eq!(run.choose([&[H], &[H], &[]]), (1, Some(30)));
        run.wait(20);
        assert_eq!(run.choose([&[H], &[H], &[]]), (1, Some(10)));
        // A relapse starts the wait again.
        assert_eq!(run.choose([&[U], &[H], &[]]), (1, None));
        run.wait(20);
        assert_eq!(run.choose([&[H], &[H], &[]]), (1, Some(30)));
        run.wait(30);
        assert_eq!(run.choose([&[H], &[H], &[]]), (0, None));
    }

    #[test]
    fn hold_down_ends_when_the_later_tier_gets_worse() {
        let mut run = Run::new(Amount::Count(1));
        assert_eq!(run.choose([&[U], &[H], &[]]), (1, None));
        assert_eq!(run.choose([&[H], &[U], &[]]), (0, None));
        let mut run = Run::new(Amount::Count(2));
        assert_eq!(run.choose([&[H, U], &[H, H], &[]]), (1, None));
        assert_eq!(run.choose([&[H, H], &[H, U], &[]]), (0, None), "a tier with too few is not held");
    }

    #[test]
    fn a_choice_made_before_all_are_synced_is_not_held() {
        let mut run = Run { all_synced: false, ..Run::new(Amount::Count(1)) };
        assert_eq!(run.choose([&[], &[H], &[]]), (1, None));
        assert_eq!(run.state, None);
        run.all_synced = true;
        assert_eq!(run.choose([&[H], &[H], &[]]), (0, None));
    }

    #[test]
    fn hold_down_lasts_while_a_source_is_not_synced() {
        let mut run = Run { all_synced: false, ..Run::new(Amount::Count(1)) };
        assert_eq!(run.choose([&[H], &[H], &[]]), (0, None));
        assert_eq!(run.choose([&[U], &[H], &[]]), (1, None));
        assert_eq!(run.choose([&[H], &[H], &[]]), (1, Some(30)));
        run.wait(30);
        assert_eq!(run.choose([&[H], &[H], &[]]), (0, None));
    }

    #[test]
    fn each_earlier_tier_has_its_own_hold_down() {
        let mut run = Run::new(Amount::Count(1));
        assert_eq!(run.choose([&[U], &[U], &[H]]), (2, None));
        assert_eq!(run.choose([&[U], &[H], &[H]]), (2, Some(30)));
        run.wait(29);
        // The first tier recovers for a moment only: muster neither returns to it nor waits longer
        // for the second.
        assert_eq!(run.choose([&[H], &[H], &[H]]), (2, Some(1)));
        run.wait(1);
        assert_eq!(run.choose([&[H], &[H], &[H]]), (1, Some(29)));
        assert_eq!(run.choose([&[U], &[H], &[H]]), (1, None));
        assert_eq!(run.choose([&[H], &[H], &[H]]), (1, Some(30)));
        run.wait(30);
        assert_eq!(run.choose([&[H], &[H], &[H]]), (0, None));
    }

    #[test]
    fn instances_that_were_never_healthy_count_in_no_denominator() {
        let starting = [H, H, N, N, N, N, N, N, N, N];
        assert_eq!(Run::new(Amount::Percent(50)).choose([&starting, &[H], &[]]), (0, None));
        let answers = AnswerSettings { panic_threshold: 50, ..AnswerSettings::default() };
        let mut run = Run { answers, ..Run::new(Amount::Count(1)) };
        assert_eq!(run.choose([&starting, &[H], &[]]), (0, None));
    }

    #[test]
    fn the_order_of_first_probes_is_no_failover() {
        let mut run = Run::new(Amount::Count(1));
        assert_eq!(run.choose([&[N], &[N], &[]]), (0, None));
        assert_eq!(run.choose([&[N], &[H], &[]]), (0, None));
        assert_eq!(run.choose([&[H], &[H], &[]]), (0, None));
        let mut run = Run::new(Amount::Count(1));
        assert_eq!(run.choose([&[N], &[H], &[]]), (0, None));
        assert_eq!(run.choose([&[U], &[H], &[]]), (1, None), "the probe decides");
        assert_eq!(run.choose([&[N], &[H], &[]]), (1, None), "and a tier in use stays so");
        let mut run = Run::new(Amount::Count(2));
        assert_eq!(run.choose([&[N, U], &[H, H], &[]]), (1, None), "one more is not enough");
        assert_eq!(Run::new(Amount::Count(2)).choose([&[H, N], &[H, H], &[]]), (0, None));
    }

    #[test]
    fn a_tier_in_panic_is_left_for_one_that_is_not() {
        let answers = AnswerSettings { panic_threshold: 50, ..AnswerSettings::default() };
        let mut run = Run { answers: answers.clone(), ..Run::new(Amount::Count(1)) };
        assert_eq!(run.choose([&[H, U, U], &[H], &[]]), (1, None));
        let mut run = Run { answers, ..Run::new(Amount::Count(1)) };
        assert_eq!(run.choose([&[H, U, U], &[H, U, U], &[]]), (0, None));
    }
}
