//! Failover: which tier of a group's instances is answered, and when an earlier one is returned to.

use std::time::Instant;

use super::{
    accept::Eligibility,
    candidate::{Candidate, matches},
};
use crate::config::{Amount, AnswerSettings, Failover};

/// What is remembered of a group's failover from one compile to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierState {
    /// The tier in use.
    pub tier: usize,
    /// Earlier ones that are fit again, and since when.
    recovered: Vec<(usize, Instant)>,
}

impl TierState {
    /// A tier that no earlier one could take the place of.
    pub(super) fn new(tier: usize) -> Self {
        Self { tier, recovered: Vec::new() }
    }

    /// Until when the tier is kept though an earlier one is fit again.
    pub fn held_until(&self, failover: &Failover) -> Option<Instant> {
        self.recovered.iter().filter_map(|(_, since)| since.checked_add(failover.hold_down)).min()
    }

    /// The earlier tiers that are as fit as this one, and since when.
    fn recovered_since(&self, is_eligible: impl Fn(usize) -> bool, now: Instant) -> Vec<(usize, Instant)> {
        let since = |tier| self.recovered.iter().find(|(other, _)| *other == tier).map_or(now, |(_, at)| *at);
        (0..self.tier).filter(|tier| is_eligible(*tier)).map(|tier| (tier, since(tier))).collect()
    }
}

/// Which tier is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) tier: usize,
    /// When it has to be looked at again, though nothing changes: the end of `hold_down`.
    pub(super) until: Option<Instant>,
}

/// The tier that a candidate belongs to: the first that it matches.
pub fn tier_of(failover: &Failover, candidate: &Candidate) -> Option<usize> {
    failover.tiers.iter().position(|tier| matches(tier, candidate))
}

/// Chooses the tier to answer from.
///
/// The first that has `min_healthy` and does not panic; if none has, the first with any fit instance; if there is none either, the
/// first with any instance at all. To a later tier at once; back to an earlier one when that has been fit for `hold_down`, or at once
/// if the later one is worse off. The order in which sources are heard for the first time is no failover: until all are
/// (`all_synced`), a later tier is remembered only if an earlier one was in use before.
pub(super) fn choose(
    failover: &Failover,
    candidates: &[&Candidate],
    answers: &AnswerSettings,
    state: &mut Option<TierState>,
    all_synced: bool,
    now: Instant,
) -> Choice {
    let eligibility: Vec<Eligibility> = (0..failover.tiers.len())
        .map(|tier| {
            let members = candidates.iter().copied().filter(|c| tier_of(failover, c) == Some(tier));
            Eligibility::count(members, answers)
        })
        .collect();
    let rank = |tier: usize| match eligibility.get(tier) {
        Some(tier) if has_enough(*tier, failover.min_healthy) && !tier.is_below(answers.panic_threshold) => 3,
        Some(Eligibility { eligible: 1.., .. }) => 2,
        Some(Eligibility { all: 1.., .. }) => 1,
        _ => 0,
    };
    // Of equally fit tiers `rev` makes the first the last, which is what `max_by_key` takes.
    let best = (0..eligibility.len()).rev().max_by_key(|tier| rank(*tier)).unwrap_or(0);
    let was_known = state.is_some();
    let kept = state
        .take()
        .filter(|before| best < before.tier && rank(before.tier) > 1 && rank(before.tier) == rank(best));
    let chosen = match kept {
        None => TierState::new(best),
        Some(before) => {
            let mut recovered = before.recovered_since(|tier| rank(tier) == rank(best), now);
            let is_over =
                |since: Instant| since.checked_add(failover.hold_down).is_some_and(|end| end <= now);
            let back = recovered.iter().position(|(_, since)| is_over(*since));
            let tier = back.and_then(|at| recovered.get(at)).map_or(before.tier, |(tier, _)| *tier);
            recovered.truncate(back.unwrap_or(recovered.len()));
            TierState { tier, recovered }
        }
    };
    let choice = Choice { tier: chosen.tier, until: chosen.held_until(failover) };
    let is_first_in_use = chosen.tier == 0 && rank(0) > 1;
    *state = Some(chosen).filter(|_| all_synced || was_known || is_first_in_use);
    choice
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
        model::Health::{self, Healthy, Unhealthy},
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
        state: Option<TierState>,
        now: Instant,
    }

    impl Run {
        fn new(min_healthy: Amount) -> Self {
            Self { failover: failover(min_healthy), state: None, now: Instant::now() }
        }

        fn choose(&mut self, tiers: [&[Health]; 3]) -> (usize, Option<u64>) {
            let candidates = candidates(tiers);
            let candidates: Vec<_> = candidates.iter().collect();
            let choice = choose(
                &self.failover,
                &candidates,
                &AnswerSettings::default(),
                &mut self.state,
                true,
                self.now,
            );
            (choice.tier, choice.until.map(|until| (until - self.now).as_secs()))
        }

        fn wait(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }
    }

    const H: Health = Healthy;
    const U: Health = Unhealthy;

    #[test]
    fn the_first_tier_with_enough_is_used() {
        let cases: [(Amount, [&[Health]; 3], usize); 8] = [
            (Amount::Count(1), [&[H, U], &[H], &[H]], 0),
            (Amount::Count(2), [&[H, U], &[H, H], &[H]], 1),
            (Amount::Count(1), [&[U], &[], &[H]], 2),
            (Amount::Percent(50), [&[H, U], &[H], &[]], 0),
            (Amount::Percent(51), [&[H, U], &[H], &[]], 1),
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
    fn failing_over_is_immediate_and_returning_is_held_down() {
        let mut run = Run::new(Amount::Count(1));
        assert_eq!(run.choose([&[H], &[H], &[]]), (0, None));
        assert_eq!(run.choose([&[U], &[H], &[]]), (1, None));
        run.wait(100);
        assert_eq!(run.choose([&[H], &[H], &[]]), (1, Some(30)));
        run.wait(20);
        assert_eq!(run.choose([&[H], &[H], &[]]), (1, Some(10)));
        // A relapse begins the wait anew.
        assert_eq!(run.choose([&[U], &[H], &[]]), (1, None));
        run.wait(20);
        assert_eq!(run.choose([&[H], &[H], &[]]), (1, Some(30)));
        run.wait(30);
        assert_eq!(run.choose([&[H], &[H], &[]]), (0, None));
    }

    #[test]
    fn nothing_is_held_down_when_the_later_tier_has_nothing_fit_left() {
        let mut run = Run::new(Amount::Count(1));
        assert_eq!(run.choose([&[U], &[H], &[]]), (1, None));
        assert_eq!(run.choose([&[H], &[U], &[]]), (0, None));
        let mut run = Run::new(Amount::Count(2));
        assert_eq!(run.choose([&[H, U], &[H, H], &[]]), (1, None));
        assert_eq!(run.choose([&[H, H], &[H, U], &[]]), (0, None), "one that has too few is not held");
    }

    #[test]
    fn what_is_chosen_before_all_is_heard_is_not_held() {
        let mut run = Run::new(Amount::Count(1));
        let candidates = candidates([&[], &[H], &[]]);
        let candidates: Vec<_> = candidates.iter().collect();
        let early =
            choose(&run.failover, &candidates, &AnswerSettings::default(), &mut run.state, false, run.now);
        assert_eq!((early.tier, run.state.take()), (1, None));
        assert_eq!(run.choose([&[H], &[H], &[]]), (0, None));
    }

    #[test]
    fn what_one_never_hears_does_not_end_holding_down() {
        let mut run = Run::new(Amount::Count(1));
        let choose_unsettled = |tiers: [&[Health]; 3], run: &mut Run| {
            let candidates = candidates(tiers);
            let candidates: Vec<_> = candidates.iter().collect();
            choose(&run.failover, &candidates, &AnswerSettings::default(), &mut run.state, false, run.now)
                .tier
        };
        assert_eq!(choose_unsettled([&[H], &[H], &[]], &mut run), 0);
        assert_eq!(choose_unsettled([&[U], &[H], &[]], &mut run), 1);
        assert_eq!(choose_unsettled([&[H], &[H], &[]], &mut run), 1, "held");
        run.wait(30);
        assert_eq!(choose_unsettled([&[H], &[H], &[]], &mut run), 0);
    }

    #[test]
    fn each_earlier_tier_has_a_wait_of_its_own() {
        let mut run = Run::new(Amount::Count(1));
        assert_eq!(run.choose([&[U], &[U], &[H]]), (2, None));
        assert_eq!(run.choose([&[U], &[H], &[H]]), (2, Some(30)));
        run.wait(29);
        // The first is fit for a moment only: that is no reason to return to it, nor to wait longer for the second.
        assert_eq!(run.choose([&[H], &[H], &[H]]), (2, Some(1)));
        run.wait(1);
        assert_eq!(run.choose([&[H], &[H], &[H]]), (1, Some(29)));
        assert_eq!(run.choose([&[U], &[H], &[H]]), (1, None));
        assert_eq!(run.choose([&[H], &[H], &[H]]), (1, Some(30)));
        run.wait(30);
        assert_eq!(run.choose([&[H], &[H], &[H]]), (0, None));
    }

    #[test]
    fn a_tier_that_would_panic_is_left_for_one_that_would_not() {
        let mut run = Run::new(Amount::Count(1));
        let answers = AnswerSettings { panic_threshold: 50, ..AnswerSettings::default() };
        let all = candidates([&[H, U, U], &[H], &[]]);
        let all: Vec<_> = all.iter().collect();
        assert_eq!(choose(&run.failover, &all, &answers, &mut run.state, true, run.now).tier, 1);
        let mut run = Run::new(Amount::Count(1));
        let all = candidates([&[H, U, U], &[H, U, U], &[]]);
        let all: Vec<_> = all.iter().collect();
        assert_eq!(choose(&run.failover, &all, &answers, &mut run.state, true, run.now).tier, 0);
    }
}
