//! Accepting by health, and fail-open.

use super::Candidate;
use crate::{
    config::{Shape, WhenAllUnhealthy},
    model::Health,
};

/// Which of a service's candidates may be answered, and how that came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// The candidates, in the order given.
    pub candidates: Vec<&'a Candidate>,
    /// Whether none was accepted by its health, so that all are answered that are not draining.
    pub failed_open: bool,
}

/// Accepts candidates by their health; if there is none, opens up to all but the draining ones. Of those, the ones with
/// weight 0 get nothing while another has more.
///
/// Source: "If all records are unhealthy, Route 53 … considers all the records … to be healthy",
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-how-route-53-chooses-records.html>
pub fn accept<'a>(candidates: &'a [Candidate], shape: &Shape) -> Accepted<'a> {
    let by = |keep: &dyn Fn(Health) -> bool| -> Vec<&'a Candidate> {
        candidates.iter().filter(|candidate| keep(candidate.health)).collect()
    };
    let accepted = by(&|health| shape.accept.contains(health));
    if !accepted.is_empty() || shape.when_all_unhealthy == WhenAllUnhealthy::None {
        return Accepted { candidates: without_zero_weights(accepted), failed_open: false };
    }
    let open = by(&|health| health != Health::Draining);
    Accepted { failed_open: !open.is_empty(), candidates: without_zero_weights(open) }
}

/// "If you set Weight to 0 for all of the records in the group, traffic is routed to all resources with equal
/// probability", else a record of weight 0 is not answered:
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-values-weighted.html>
fn without_zero_weights(mut candidates: Vec<&Candidate>) -> Vec<&Candidate> {
    if candidates.iter().any(|candidate| candidate.weight > 0) {
        candidates.retain(|candidate| candidate.weight > 0);
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Shape, model::Labels, policy::Place};
    use Health::{Draining, Healthy, Unhealthy, Unknown, Warning};

    fn shape(when_all_unhealthy: WhenAllUnhealthy) -> Shape {
        Shape { when_all_unhealthy, ..Shape::default() }
    }

    fn candidate(health: Health, weight: u16) -> Candidate {
        Candidate {
            label: "i".to_owned(),
            aliases: Vec::new(),
            place: Place::Addresses { v4: vec![[127, 0, 0, 1].into()], v6: Vec::new() },
            port: 80,
            named_ports: Vec::new(),
            health,
            weight,
            labels: Labels::default(),
            locality: None,
            datacenter: None,
        }
    }

    fn accepted(states: &[Health], when: WhenAllUnhealthy) -> (Vec<Health>, bool) {
        let candidates: Vec<_> = states.iter().map(|health| candidate(*health, 1)).collect();
        let accepted = accept(&candidates, &shape(when));
        (accepted.candidates.iter().map(|c| c.health).collect(), accepted.failed_open)
    }

    #[test]
    fn only_accepted_states_are_answered_while_there_is_one() {
        let (states, open) =
            accepted(&[Healthy, Unhealthy, Warning, Unknown, Draining], WhenAllUnhealthy::All);
        assert_eq!(states, [Healthy, Warning]);
        assert!(!open);
    }

    #[test]
    fn all_but_draining_are_answered_when_none_is_accepted() {
        let (states, open) = accepted(&[Unhealthy, Unknown, Draining], WhenAllUnhealthy::All);
        assert_eq!(states, [Unhealthy, Unknown]);
        assert!(open);
    }

    #[test]
    fn nothing_is_answered_when_that_is_asked_for() {
        assert_eq!(accepted(&[Unhealthy, Unknown], WhenAllUnhealthy::None), (vec![], false));
    }

    #[test]
    fn draining_instances_are_never_brought_back() {
        assert_eq!(accepted(&[Draining, Draining], WhenAllUnhealthy::All), (vec![], false));
    }
    #[test]
    fn weight_zero_gets_nothing_while_another_that_is_accepted_has_more() {
        let weights = |given: &[(Health, u16)]| -> Vec<u16> {
            let candidates: Vec<_> =
                given.iter().map(|(health, weight)| candidate(*health, *weight)).collect();
            let accepted = accept(&candidates, &shape(WhenAllUnhealthy::All));
            accepted.candidates.iter().map(|candidate| candidate.weight).collect()
        };
        assert_eq!(weights(&[(Healthy, 0), (Healthy, 3), (Healthy, 0)]), [3]);
        assert_eq!(weights(&[(Healthy, 0), (Unhealthy, 3)]), [0]);
        assert_eq!(weights(&[(Healthy, 0), (Healthy, 0)]), [0, 0]);
        assert_eq!(weights(&[(Unhealthy, 0), (Unhealthy, 5)]), [5]);
    }
}
