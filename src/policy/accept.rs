//! Accepting by health, fail-open and the panic threshold.

use super::Candidate;
use crate::{
    config::{Shape, WhenAllUnhealthy},
    model::Health,
};

/// How fit a set of candidates is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fitness {
    /// Those whose health is accepted.
    pub fit: usize,
    /// Those that are not draining.
    pub all: usize,
}

impl Fitness {
    /// Measures candidates.
    pub fn of<'a>(candidates: impl IntoIterator<Item = &'a Candidate>, shape: &Shape) -> Self {
        candidates.into_iter().fold(Self::default(), |sum, candidate| Self {
            fit: sum.fit + usize::from(shape.accept.contains(candidate.health)),
            all: sum.all + usize::from(candidate.health != Health::Draining),
        })
    }

    /// Tells whether fewer than `percent` of 100 are fit.
    pub fn is_below(self, percent: u8) -> bool {
        self.fit * 100 < self.all * usize::from(percent)
    }
}

/// Those of `candidates` whose health is accepted; all that are not draining if they are too few for the panic threshold.
///
/// Returns them in the order given, and whether unfit ones are among them. None where none is accepted: whether to open up
/// then is for [`open`], since other groups may have some.
///
/// Source: the panic threshold is Envoy's,
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/panic_threshold>
pub(super) fn accept<'a>(candidates: &[&'a Candidate], shape: &Shape) -> (Vec<&'a Candidate>, bool) {
    let fitness = Fitness::of(candidates.iter().copied(), shape);
    if fitness.fit > 0 && fitness.is_below(shape.panic_threshold) {
        return (not_draining(candidates), true);
    }
    let accepted = candidates.iter().copied().filter(|candidate| shape.accept.contains(candidate.health));
    (accepted.collect(), false)
}

/// What is answered when nothing at all is accepted: all but the draining ones, or nothing if that is asked for.
///
/// Source: "If all records are unhealthy, Route 53 … considers all the records … to be healthy",
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-how-route-53-chooses-records.html>
pub(super) fn open<'a>(candidates: &[&'a Candidate], shape: &Shape) -> Vec<&'a Candidate> {
    match shape.when_all_unhealthy {
        WhenAllUnhealthy::All => not_draining(candidates),
        WhenAllUnhealthy::None => Vec::new(),
    }
}

fn not_draining<'a>(candidates: &[&'a Candidate]) -> Vec<&'a Candidate> {
    candidates.iter().copied().filter(|candidate| candidate.health != Health::Draining).collect()
}

/// "If you set Weight to 0 for all of the records in the group, traffic is routed to all resources with equal
/// probability", else a record of weight 0 is not answered:
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-values-weighted.html>
///
/// In a panic too those that are fit count first: only if one of them has a weight are those without one left out.
pub(super) fn without_zero_weights<'a>(
    mut candidates: Vec<&'a Candidate>,
    shape: &Shape,
) -> Vec<&'a Candidate> {
    let is_fit = |candidate: &&Candidate| shape.accept.contains(candidate.health);
    let any_fit = candidates.iter().any(is_fit);
    if candidates.iter().any(|candidate| candidate.weight > 0 && (!any_fit || is_fit(candidate))) {
        candidates.retain(|candidate| candidate.weight > 0);
    }
    candidates
}
