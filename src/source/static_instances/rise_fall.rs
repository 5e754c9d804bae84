//! Health from probe results: `rise` and `fall`; no I/O.

use crate::model::Health;

/// Turns one instance's probe results into its health. The first result decides at once; after
/// that, it takes `rise` or `fall` results in a row to turn.
///
/// Route 53 calls the number in a row the failure threshold and uses it in both directions:
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html>
#[derive(Debug)]
pub(super) struct RiseFall {
    rise: u32,
    fall: u32,
    /// `None`: no result yet.
    is_healthy: Option<bool>,
    /// Results in a row that contradict `is_healthy`.
    contrary: u32,
}

impl RiseFall {
    /// Makes a counter without results. `rise` passes in a row turn it healthy, `fall` failures
    /// unhealthy; 0 counts as 1.
    pub(super) fn new(rise: u32, fall: u32) -> Self {
        Self { rise: rise.max(1), fall: fall.max(1), is_healthy: None, contrary: 0 }
    }

    /// Starts at an earlier health, if it is one that probes find; otherwise the first result
    /// decides.
    pub(super) fn starting_at(mut self, health: Health) -> Self {
        self.is_healthy = match health {
            Health::Healthy => Some(true),
            Health::Unhealthy => Some(false),
            _ => None,
        };
        self
    }

    /// Records one result; returns the new health if the result changes it.
    pub(super) fn record(&mut self, passed: bool) -> Option<Health> {
        if self.is_healthy == Some(passed) {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        let needed = match self.is_healthy {
            None => 1,
            Some(true) => self.fall,
            Some(false) => self.rise,
        };
        if self.contrary < needed {
            return None;
        }
        self.is_healthy = Some(passed);
        self.contrary = 0;
        Some(if passed { Health::Healthy } else { Health::Unhealthy })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Plays `results` (`+` passed, `-` failed) and writes the outcome of each: `H`, `U`, or `.`
    /// for no change.
    fn play(rise: u32, fall: u32, results: &str) -> String {
        let mut counter = RiseFall::new(rise, fall);
        let symbol = |result| match counter.record(result == '+') {
            Some(Health::Healthy) => 'H',
            Some(Health::Unhealthy) => 'U',
            Some(other) => panic!("a probe cannot report {other}"),
            None => '.',
        };
        results.chars().map(symbol).collect()
    }

    #[test]
    fn earlier_health_takes_rise_or_fall_results_to_turn() {
        let mut counter = RiseFall::new(2, 2).starting_at(Health::Healthy);
        assert_eq!([counter.record(false), counter.record(false)], [None, Some(Health::Unhealthy)]);
        let mut counter = RiseFall::new(2, 2).starting_at(Health::Unknown);
        assert_eq!(counter.record(false), Some(Health::Unhealthy));
    }

    #[rstest]
    #[case::the_first_success_decides(3, 3, "+", "H")]
    #[case::the_first_failure_decides(3, 3, "-", "U")]
    #[case::fall_failures_in_a_row_flip(2, 3, "+---", "H..U")]
    #[case::rise_successes_in_a_row_flip(2, 3, "-++", "U.H")]
    #[case::a_success_between_resets_the_count(2, 3, "+--+--+---", "H........U")]
    #[case::a_failure_between_resets_the_count(2, 3, "-+-+-++", "U.....H")]
    #[case::more_of_the_same_changes_nothing(2, 2, "++++----", "H....U..")]
    #[case::both_ways_again_and_again(1, 1, "+-+-", "HUHU")]
    #[case::zero_counts_as_one(0, 0, "+-+", "HUH")]
    #[case::counts_start_over_after_a_flip(3, 2, "+--+-++-+++", "H.U.......H")]
    fn health_turns_after_enough_results_in_a_row(
        #[case] rise: u32,
        #[case] fall: u32,
        #[case] results: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(play(rise, fall, results), expected);
    }
}
