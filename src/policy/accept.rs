//! Accepting by health, fail-open and the panic threshold.

use super::candidate::Candidate;
use crate::{
    config::{AnswerSettings, WhenAllUnhealthy},
    model::Health,
};

/// How fit a set of candidates is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Eligibility {
    /// Those whose health is accepted.
    pub eligible: usize,
    /// Those that are not draining.
    pub all: usize,
}

impl Eligibility {
    /// Measures candidates.
    pub fn count<'a>(candidates: impl IntoIterator<Item = &'a Candidate>, answers: &AnswerSettings) -> Self {
        candidates.into_iter().fold(Self::default(), |sum, candidate| Self {
            eligible: sum.eligible + usize::from(answers.accept.contains(candidate.health)),
            all: sum.all + usize::from(candidate.health != Health::Draining),
        })
    }

    /// Tells whether fewer than `percent` of 100 are fit.
    pub fn is_below(self, percent: u8) -> bool {
        self.eligible * 100 < self.all * usize::from(percent)
    }
}

/// Those of `candidates` whose health is accepted; all that are not draining if they are too few for the panic threshold.
///
/// Those of weight 0 count only while no other one is accepted, as in Route 53. Returns them in the order given, and whether unfit
/// ones are among them. None where none is accepted: whether to open up then is for [`open`], since other groups may have some.
///
/// Source: the panic threshold is Envoy's,
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/panic_threshold>
pub(super) fn accept<'a>(
    candidates: &[&'a Candidate],
    answers: &AnswerSettings,
) -> (Vec<&'a Candidate>, bool) {
    let is_eligible = |candidate: &&Candidate| answers.accept.contains(candidate.health);
    let any_heavy = candidates.iter().any(|candidate| is_eligible(candidate) && candidate.weight > 0);
    let counting = candidates.iter().copied().filter(|candidate| (candidate.weight > 0) == any_heavy);
    let eligibility = Eligibility::count(counting.clone(), answers);
    if eligibility.eligible > 0 && eligibility.is_below(answers.panic_threshold) {
        return (counting.filter(|candidate| candidate.health != Health::Draining).collect(), true);
    }
    (counting.filter(is_eligible).collect(), false)
}

/// What is answered when nothing at all is accepted: all but the draining ones and, while others have more, those of weight 0; or
/// nothing if that is asked for.
///
/// Sources: "If all records are unhealthy, Route 53 … considers all the records … to be healthy",
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-how-route-53-chooses-records.html>;
/// "If you set Weight to 0 for all of the records in the group, traffic is routed to all resources with equal probability",
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-values-weighted.html>
pub(super) fn open<'a>(candidates: &[&'a Candidate], answers: &AnswerSettings) -> Vec<&'a Candidate> {
    if answers.when_all_unhealthy == WhenAllUnhealthy::None {
        return Vec::new();
    }
    let there = candidates.iter().copied().filter(|candidate| candidate.health != Health::Draining);
    let any_heavy = there.clone().any(|candidate| candidate.weight > 0);
    there.filter(|candidate| !any_heavy || candidate.weight > 0).collect()
}
