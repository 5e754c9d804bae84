//! Verdicts: whether an instance is in the answers to one client, and why or why not.

use std::collections::BTreeSet;

use super::wanted::Wanted;
use crate::{
    catalog::{
        member_state::{DatedInstance, Report},
        merge::deciding,
    },
    config::Near,
    model::{Health, Instance, Member},
    policy::{Candidate, GroupPlan, Locality, Policy, RoutePlan, matches, nearest_ring, tier_of},
};

/// The verdict on one instance.
pub(super) struct Verdict {
    pub(super) answered: bool,
    pub(super) why: String,
    /// The first group whose filter selects it.
    pub(super) group: Option<usize>,
    /// Its failover tier.
    pub(super) tier: Option<usize>,
}

/// Judges the instances of one service for one client and one query.
pub(super) struct Judge<'a> {
    rules: &'a Policy,
    route: &'a RoutePlan<'a>,
    wanted: Wanted,
    groups: Vec<JudgedGroup<'a>>,
}

/// A group from the client's point of view.
struct JudgedGroup<'a> {
    plan: &'a GroupPlan<'a>,
    /// The candidates that answers are made from.
    pool: &'a [&'a Candidate],
    /// The zone or region that nearness narrowed the pool to. `None` if it did not.
    near: Option<String>,
    wanted: Wanted,
    /// Its share of the lookups, in percent.
    share: f64,
    /// The number of seconds for which its tier stays in use although an earlier one has recovered.
    held: Option<u64>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        rules: &'a Policy,
        route: &'a RoutePlan<'a>,
        wanted: Wanted,
        locality: Option<&Locality>,
        held: impl Fn(usize) -> Option<u64>,
    ) -> Self {
        let has_records = |group: &GroupPlan<'_>| match wanted.divides_by_records() {
            true => group.candidates.iter().any(|candidate| wanted.records(candidate).is_ok()),
            false => !group.candidates.is_empty(),
        };
        let weights = route.weights(|at| route.groups.get(at).is_some_and(has_records));
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let judged = |(at, (plan, weight)): (usize, (&'a GroupPlan<'a>, u32))| {
            let (pool, near) = near(plan, locality);
            let share = if sum > 0.0 { f64::from(weight) * 100.0 / sum } else { 0.0 };
            JudgedGroup { plan, pool, near, wanted: wanted.within(pool), share, held: held(at) }
        };
        let groups = route.groups.iter().zip(weights).enumerate().map(judged).collect();
        Self { rules, route, wanted, groups }
    }

    /// A group's share of the lookups, in percent.
    pub(super) fn share(&self, group: usize) -> f64 {
        debug_assert!(group < self.groups.len(), "each group of the route is judged");
        self.groups.get(group).map_or(0.0, |group| (group.share * 100.0).round() / 100.0)
    }

    /// The number of seconds for which a group's tier stays in use although an earlier one has
    /// recovered.
    pub(super) fn held(&self, group: usize) -> Option<u64> {
        self.groups.get(group)?.held
    }

    /// The zone or region that nearness narrowed a group to. `None` if it did not.
    pub(super) fn near(&self, group: usize) -> Option<&str> {
        self.groups.get(group)?.near.as_deref()
    }

    /// The records that a group's answers are made from, without duplicates.
    pub(super) fn records(&self, group: usize) -> Vec<String> {
        let is_instance = matches!(self.wanted, Wanted::Instance { .. });
        let Some(group) = self.groups.get(group).filter(|_| !is_instance) else { return Vec::new() };
        let records =
            group.pool.iter().filter_map(|candidate| group.wanted.records(candidate).ok()).flatten();
        let mut seen = BTreeSet::new();
        records.filter(|record| seen.insert(record.clone())).collect()
    }

    /// Judges one instance with these reports.
    pub(super) fn judge(&self, candidate: &Candidate, reports: &[Report<'_>]) -> Verdict {
        let mut taking = (0..).zip(&self.groups).filter(|(_, group)| self.takes(group, candidate)).peekable();
        let first = taking.peek().map(|(at, _)| *at);
        let tier = self.rules.failover.as_ref().and_then(|failover| tier_of(failover, candidate));
        let verdict = |answered, why, group| Verdict { answered, why, group, tier };
        match &self.wanted {
            Wanted::Instance { label, .. } => {
                let labels = std::iter::once(&candidate.label).chain(&candidate.aliases);
                let is_queried = labels.into_iter().any(|own| own == label);
                return match self.wanted.records(candidate) {
                    Ok(_) if is_queried => verdict(true, "queried by its own name".to_owned(), first),
                    Err(lacks) if is_queried => verdict(false, lacks, first),
                    _ => verdict(false, "a different instance was queried".to_owned(), first),
                };
            }
            Wanted::Nothing(why) => return verdict(false, why.clone(), first),
            Wanted::List(_) | Wanted::Cname | Wanted::Any => {}
        }
        if !matches(self.rules.filter(), candidate) {
            let why = format!("not in the subset of this name: {}", self.rules.filter());
            return verdict(false, why, None);
        }
        let mut why_not = None;
        for (at, group) in taking {
            match self.obstacle(group, candidate, tier, reports) {
                None => return verdict(true, self.why(group, candidate, reports), Some(at)),
                Some(obstacle) => why_not = why_not.or(Some(obstacle)),
            }
        }
        let why_not = why_not.unwrap_or_else(|| "in no group of the route".to_owned());
        verdict(false, why_not, first)
    }

    fn takes(&self, group: &JudgedGroup<'_>, candidate: &Candidate) -> bool {
        matches(self.rules.filter(), candidate) && matches(&group.plan.group.filter, candidate)
    }

    /// The first reason why a group does not answer an instance, in the order of policy's steps.
    fn obstacle(
        &self,
        group: &JudgedGroup<'_>,
        candidate: &Candidate,
        tier: Option<usize>,
        reports: &[Report<'_>],
    ) -> Option<String> {
        if group.plan.tier.is_some() && group.plan.tier != tier {
            return Some(other_tier(group.plan.tier.unwrap_or(0), tier, group.held));
        }
        if !contains(&group.plan.candidates, candidate) {
            let is_accepted = self.rules.answers.accept.contains(candidate.health);
            return Some(match candidate.health {
                // An ineligible candidate that panic or fail-open allows may still be dropped
                // because of its weight.
                Health::Draining if !is_accepted => with_reason(candidate, reports),
                _ if !is_accepted && !candidate.ever_healthy => {
                    format!("{}, and it was never healthy yet", with_reason(candidate, reports))
                }
                _ if is_accepted || group.plan.in_panic || self.route.failed_open => {
                    "weight 0, while others have more".to_owned()
                }
                _ => with_reason(candidate, reports),
            });
        }
        if !contains(group.pool, candidate) {
            debug_assert!(group.near.is_some(), "only nearness makes the pool smaller than the group");
            let near = group.near.as_deref().unwrap_or_default();
            return Some(match &candidate.locality {
                Some(zone) => format!("in {zone}; only instances in the client's {near} are answered"),
                None => {
                    format!("availability zone unknown; only instances in the client's {near} are answered")
                }
            });
        }
        if let Err(lacks) = group.wanted.records(candidate) {
            return Some(lacks);
        }
        (group.share <= 0.0).then(|| "its group has weight 0, while another has more".to_owned())
    }

    /// Why a group answers an instance.
    fn why(&self, group: &JudgedGroup<'_>, candidate: &Candidate, reports: &[Report<'_>]) -> String {
        if self.rules.answers.accept.contains(candidate.health) {
            return match candidate.health {
                Health::Healthy => with_others("healthy".to_owned(), reports),
                _ => format!("{} (accepted)", with_reason(candidate, reports)),
            };
        }
        let reason = with_reason(candidate, reports);
        match group.plan.in_panic {
            true => format!("{reason}; answered because too few are eligible (panic_threshold)"),
            false => format!("{reason}; answered because none is eligible (fail-open)"),
        }
    }
}

fn contains(pool: &[&Candidate], candidate: &Candidate) -> bool {
    pool.iter().any(|other| std::ptr::eq(*other, candidate))
}

/// A candidate's health, with the reason that its source gives.
fn with_reason(candidate: &Candidate, reports: &[Report<'_>]) -> String {
    let deciding = deciding(reports.iter().copied());
    let deciding = deciding.iter().find(|(_, dated)| dated.instance.health == candidate.health);
    let text = match deciding.and_then(|(_, dated)| dated.instance.reason.as_ref()) {
        Some(reason) => format!("{}: {reason}", candidate.health),
        None => candidate.health.to_string(),
    };
    with_others(text, reports)
}

/// Adds that a source has worse reports of the instance, which do not count.
fn with_others(text: String, reports: &[Report<'_>]) -> String {
    let deciding = deciding(reports.iter().copied());
    let is_deciding =
        |(_, dated): &Report<'_>| deciding.iter().any(|(_, other)| std::ptr::eq(*other, *dated));
    match reports.iter().find(|report| !report.1.withdrawn && !is_deciding(report)) {
        Some((Member { source, .. }, DatedInstance { instance: Instance { id, health, .. }, .. })) => {
            format!("{text} ({source} also reports {id} as {health}; its best report counts)")
        }
        None => text,
    }
}

/// Why an instance is not answered whose tier is not in use.
fn other_tier(used: usize, own: Option<usize>, held: Option<u64>) -> String {
    let number = used + 1;
    match (own, held) {
        (None, _) => "in no tier".to_owned(),
        (Some(own), _) if own > used => format!("tier {} stands by while tier {number} is used", own + 1),
        (Some(own), Some(seconds)) => {
            format!("tier {} has recovered; tier {number} is held for {seconds} s more (hold_down)", own + 1)
        }
        (Some(own), None) => {
            format!("tier {} has too few eligible instances; tier {number} is used", own + 1)
        }
    }
}

/// The candidates of a group that a client at `locality` gets, and the zone or region that they are
/// narrowed to.
fn near<'a>(group: &'a GroupPlan<'a>, locality: Option<&Locality>) -> (&'a [&'a Candidate], Option<String>) {
    match (nearest_ring(&group.rings.zones, &group.rings.regions, locality), locality) {
        (Some((Near::Zone, pool)), Some(at)) => (pool, Some(format!("zone {}", at.zone))),
        (Some((Near::Region, pool)), Some(at)) => (pool, Some(format!("region {}", at.region))),
        _ => (&group.candidates, None),
    }
}
