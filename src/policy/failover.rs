//! Failover: which tier of a group's instances is answered, and when an earlier one is returned to.

use std::time::Instant;

use super::{Candidate, accept::Fitness, filter::matches};
use crate::config::{Amount, Failover, Shape};

/// What is remembered of a group's failover from one compile to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierState {
    /// The tier in use.
    pub tier: usize,
    /// Since when an earlier one has been fit again.
    better_since: Option<Instant>,
}

impl TierState {
    /// Until when the tier is kept though an earlier one is fit again.
    pub fn held_until(&self, failover: &Failover) -> Option<Instant> {
        self.better_since?.checked_add(failover.hold_down)
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
/// The first that has `min_healthy`; if none has, the first with any fit instance; if there is none either, the first with
/// any instance at all. To a later tier at once; back to an earlier one when it has been fit for `hold_down`, or at once if
/// the later one is worse off. Only a choice made with all sources heard (`settled`) is remembered: the order
/// in which sources are first heard is no failover.
pub(super) fn choose(
    failover: &Failover,
    candidates: &[&Candidate],
    shape: &Shape,
    state: &mut Option<TierState>,
    settled: bool,
    now: Instant,
) -> Choice {
    let fitness: Vec<Fitness> = (0..failover.tiers.len())
        .map(|tier| {
            let members = candidates.iter().copied().filter(|c| tier_of(failover, c) == Some(tier));
            Fitness::of(members, shape)
        })
        .collect();
    let rank = |tier: usize| match fitness.get(tier) {
        Some(tier) if has_enough(*tier, failover.min_healthy) => 3,
        Some(Fitness { fit: 1.., .. }) => 2,
        Some(Fitness { all: 1.., .. }) => 1,
        _ => 0,
    };
    // Of equally fit tiers `rev` makes the first the last, which is what `max_by_key` takes.
    let best = (0..fitness.len()).rev().max_by_key(|tier| rank(*tier)).unwrap_or(0);
    let before =
        state.filter(|before| best < before.tier && rank(before.tier) > 1 && rank(before.tier) >= rank(best));
    let (chosen, until) = match before {
        None => (TierState { tier: best, better_since: None }, None),
        Some(TierState { tier, better_since }) => {
            let since = better_since.unwrap_or(now);
            match since.checked_add(failover.hold_down).filter(|end| *end > now) {
                Some(end) => (TierState { tier, better_since: Some(since) }, Some(end)),
                None => (TierState { tier: best, better_since: None }, None),
            }
        }
    };
    *state = settled.then_some(chosen);
    Choice { tier: chosen.tier, until }
}

fn has_enough(tier: Fitness, min_healthy: Amount) -> bool {
    tier.fit > 0
        && match min_healthy {
            Amount::Count(count) => tier.fit >= usize::try_from(count).unwrap_or(usize::MAX),
            Amount::Percent(percent) => !tier.is_below(percent),
        }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::Filter,
        model::Health::{self, Healthy, Unhealthy},
        policy::testing::candidate,
    };

    fn failover(min_healthy: Amount) -> Failover {
        let tier =
            |name: &str| Filter { labels: [("tier", name)].into_iter().collect(), ..Filter::default() };
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
            let choice =
                choose(&self.failover, &candidates, &Shape::default(), &mut self.state, true, self.now);
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
        let early = choose(&run.failover, &candidates, &Shape::default(), &mut run.state, false, run.now);
        assert_eq!((early.tier, run.state), (1, None));
        assert_eq!(run.choose([&[H], &[H], &[]]), (0, None));
    }
}
