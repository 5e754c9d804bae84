//! The verdict on one instance, from the results of its probes; no I/O.

use crate::model::Health;

/// Judges an instance by its probes: the first result decides at once, after that only enough opposite ones in a row.
///
/// Route 53 calls the number in a row the failure threshold and uses it both ways:
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html>
#[derive(Debug)]
pub(super) struct RiseFall {
    rise: u32,
    fall: u32,
    healthy: Option<bool>,
    against: u32,
}

impl RiseFall {
    /// Makes a verdict that takes `rise` successes in a row to become healthy again and `fall` failures to become
    /// unhealthy; 0 counts as 1.
    pub(super) fn new(rise: u32, fall: u32) -> Self {
        Self { rise: rise.max(1), fall: fall.max(1), healthy: None, against: 0 }
    }

    /// Begins with what was found before, if that is something that a probe can find.
    pub(super) fn knowing(mut self, health: Health) -> Self {
        self.healthy = match health {
            Health::Healthy => Some(true),
            Health::Unhealthy => Some(false),
            _ => None,
        };
        self
    }

    /// Takes one result; returns the new health if that changes it.
    pub(super) fn hear(&mut self, passed: bool) -> Option<Health> {
        if self.healthy == Some(passed) {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = match self.healthy {
            None => 1,
            Some(true) => self.fall,
            Some(false) => self.rise,
        };
        if self.against < needed {
            return None;
        }
        self.healthy = Some(passed);
        self.against = 0;
        Some(if passed { Health::Healthy } else { Health::Unhealthy })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Plays `results` (`+` passed, `-` failed) and writes what came of each: `H`, `U`, or `.` for no change.
    fn play(rise: u32, fall: u32, results: &str) -> String {
        let mut verdict = RiseFall::new(rise, fall);
        let said = |result| match verdict.hear(result == '+') {
            Some(Health::Healthy) => 'H',
            Some(Health::Unhealthy) => 'U',
            Some(other) => panic!("a probe cannot say {other}"),
            None => '.',
        };
        results.chars().map(said).collect()
    }

    #[test]
    fn what_was_found_before_needs_as_many_in_a_row_to_change() {
        let mut verdict = RiseFall::new(2, 2).knowing(Health::Healthy);
        assert_eq!([verdict.hear(false), verdict.hear(false)], [None, Some(Health::Unhealthy)]);
        let mut verdict = RiseFall::new(2, 2).knowing(Health::Unknown);
        assert_eq!(verdict.hear(false), Some(Health::Unhealthy));
    }

    #[rstest]
    #[case::the_first_success_decides(3, 3, "+", "H")]
    #[case::the_first_failure_decides(3, 3, "-", "U")]
    #[case::fall_failures_in_a_row_flip(2, 3, "+---", "H..U")]
    #[case::rise_successes_in_a_row_flip(2, 3, "-++", "U.H")]
    #[case::a_success_between_starts_the_count_anew(2, 3, "+--+--+---", "H........U")]
    #[case::a_failure_between_starts_the_count_anew(2, 3, "-+-+-++", "U.....H")]
    #[case::more_of_the_same_says_nothing(2, 2, "++++----", "H....U..")]
    #[case::both_ways_again_and_again(1, 1, "+-+-", "HUHU")]
    #[case::zero_counts_as_one(0, 0, "+-+", "HUH")]
    #[case::counts_do_not_add_up_over_a_flip(3, 2, "+--+-++-+++", "H.U.......H")]
    fn verdicts(#[case] rise: u32, #[case] fall: u32, #[case] results: &str, #[case] expected: &str) {
        assert_eq!(play(rise, fall, results), expected);
    }
}
