//! Accepting by health and weight, the panic threshold and fail-open.

use std::ops::Add;

use super::candidate::Candidate;
use crate::{
    config::{AnswerSettings, WhenAllUnhealthy},
    model::Health,
};

/// How many of a set of candidates are eligible by their health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Eligibility {
    /// Candidates whose health is in the service's `accept`.
    pub eligible: usize,
    /// Candidates that percentages are of: neither draining nor still without having been healthy.
    ///
    /// So instances that are starting do not look like an outage. Source: Envoy's excluded hosts,
    /// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/excluded>
    pub total: usize,
    /// Candidates that are not draining.
    pub alive: usize,
    /// Candidates of which nothing is known yet: unknown, and never healthy.
    pub undecided: usize,
}

impl Eligibility {
    /// Counts candidates.
    pub fn count<'a>(candidates: impl IntoIterator<Item = &'a Candidate>, answers: &AnswerSettings) -> Self {
        let count = |candidate: &Candidate| {
            let is_eligible = answers.accept.contains(candidate.health);
            let is_alive = candidate.health != Health::Draining;
            let is_undecided = candidate.health == Health::Unknown && !candidate.ever_healthy && !is_eligible;
            Self {
                eligible: usize::from(is_eligible),
                total: usize::from(is_alive && (is_eligible || candidate.ever_healthy)),
                alive: usize::from(is_alive),
                undecided: usize::from(is_undecided),
            }
        };
        candidates.into_iter().map(count).fold(Self::default(), Self::add)
    }

    /// The counts if all undecided candidates turn out healthy.
    pub(super) fn at_best(self) -> Self {
        Self {
            eligible: self.eligible + self.undecided,
            total: self.total + self.undecided,
            undecided: 0,
            ..self
        }
    }

    /// Whether fewer than `percent` percent are eligible.
    pub fn is_below(self, percent: u8) -> bool {
        self.eligible * 100 < self.total * usize::from(percent)
    }
}

impl Add for Eligibility {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            eligible: self.eligible + other.eligible,
            total: self.total + other.total,
            alive: self.alive + other.alive,
            undecided: self.undecided + other.undecided,
        }
    }
}

/// Returns the eligible candidates in the order given, and whether the group is in panic.
///
/// In panic, all are returned that are not draining and were healthy at some time. Candidates of
/// weight 0 count only while no candidate with more weight is eligible, as in Route 53. Empty if
/// none is eligible: whether to [fail open](fail_open) then depends on the other groups of the
/// route.
///
/// Source: the panic threshold is Envoy's,
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/panic_threshold>
pub(super) fn accept<'a>(
    candidates: &[&'a Candidate],
    answers: &AnswerSettings,
) -> (Vec<&'a Candidate>, bool) {
    let is_eligible = |candidate: &&Candidate| answers.accept.contains(candidate.health);
    let any_weighted = candidates.iter().any(|candidate| is_eligible(candidate) && candidate.weight > 0);
    let counting = candidates.iter().copied().filter(|candidate| (candidate.weight > 0) == any_weighted);
    let eligibility = Eligibility::count(counting.clone(), answers);
    if eligibility.eligible > 0 && eligibility.is_below(answers.panic_threshold) {
        let may_work = |candidate: &&Candidate| {
            is_eligible(candidate) || candidate.health != Health::Draining && candidate.ever_healthy
        };
        return (counting.filter(may_work).collect(), true);
    }
    (counting.filter(is_eligible).collect(), false)
}

/// Returns the candidates that are answered when none is eligible: all that are not draining,
/// without those that were never healthy while others were, and those of weight 0 while others
/// have more. Empty if `when_all_unhealthy` asks for it.
///
/// Sources: "If all records are unhealthy, Route 53 … considers all the records … to be healthy",
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-how-route-53-chooses-records.html>;
/// "If you set Weight to 0 for all of the records in the group, traffic is routed to all resources
/// with equal probability",
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-values-weighted.html>
pub(super) fn fail_open<'a>(candidates: &[&'a Candidate], answers: &AnswerSettings) -> Vec<&'a Candidate> {
    if answers.when_all_unhealthy == WhenAllUnhealthy::None {
        return Vec::new();
    }
    let alive = candidates.iter().copied().filter(|candidate| candidate.health != Health::Draining);
    let any_ever_healthy = alive.clone().any(|candidate| candidate.ever_healthy);
    let alive = alive.filter(|candidate| candidate.ever_healthy == any_ever_healthy);
    let any_weighted = alive.clone().any(|candidate| candidate.weight > 0);
    alive.filter(|candidate| !any_weighted || candidate.weight > 0).collect()
}
