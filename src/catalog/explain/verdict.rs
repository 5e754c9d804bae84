//! Verdicts: whether an instance is part of the answers to one client, and why or why not.

use std::collections::BTreeSet;

use hickory_proto::rr::RecordType;

use super::service::At;
use crate::{
    catalog::dns_sd::port_labels,
    config::Near,
    model::{Health, Instance, Member},
    policy::{Candidate, CandidateTarget, GroupPlan, Locality, Policy, RoutePlan, matches, tier_of},
};

/// What is asked for, of a service or of something below it.
pub(super) enum Kind {
    /// A, AAAA, CNAME or ANY of the service; other types have nothing there.
    Type(RecordType),
    /// SRV of a named port, `_port._proto` as wire labels.
    Port(Box<[u8]>),
    /// One instance's own records.
    Instance(String, RecordType),
    /// Something that no instance has.
    Nothing(String),
}

impl Kind {
    pub(super) fn new(at: &At, qtype: RecordType) -> Self {
        let is_srv = matches!(qtype, RecordType::SRV | RecordType::ANY);
        match at {
            At::Itself => Self::Type(qtype),
            At::Port(labels) if is_srv => Self::Port(labels.clone()),
            At::Port(_) | At::AbovePort => Self::Nothing(format!("there is no {qtype} at this name")),
            At::Instance(label) => Self::Instance(label.clone(), qtype),
            At::Nowhere => Self::Nothing("it has another name".to_owned()),
        }
    }

    /// What an instance adds to the records, or why it has nothing to add.
    fn records(&self, candidate: &Candidate) -> Result<Vec<String>, String> {
        match self {
            Self::Type(qtype) => of_type(*qtype, candidate),
            Self::Instance(_, qtype) => match (qtype, &candidate.target) {
                (_, CandidateTarget::Host(host)) => Ok(vec![format!("CNAME {host}")]),
                (RecordType::A | RecordType::AAAA | RecordType::ANY, _) => of_type(*qtype, candidate),
                _ => Err(format!("there is no {qtype} at an instance's name")),
            },
            Self::Port(wanted) => {
                let named = candidate.named_ports.iter();
                let ports = named.filter(|port| port_labels(port).as_ref() == Some(wanted));
                let records: Vec<_> = ports.map(|port| target(candidate, port.port)).collect();
                if records.is_empty() { Err("it has no port of that name".to_owned()) } else { Ok(records) }
            }
            Self::Nothing(why) => Err(why.clone()),
        }
    }

    /// What is asked for of these, where that depends on what they have: "one or a subset of the available RRsets"
    /// (RFC 8482 section 4.1).
    fn within(&self, pool: &[&Candidate]) -> Self {
        match self {
            Self::Type(RecordType::ANY) => {
                let types = [RecordType::A, RecordType::AAAA, RecordType::SRV];
                let has = |qtype: &RecordType| pool.iter().any(|one| of_type(*qtype, one).is_ok());
                Self::Type(types.into_iter().find(has).unwrap_or(RecordType::A))
            }
            Self::Type(qtype) => Self::Type(*qtype),
            Self::Port(labels) => Self::Port(labels.clone()),
            Self::Instance(label, qtype) => Self::Instance(label.clone(), *qtype),
            Self::Nothing(why) => Self::Nothing(why.clone()),
        }
    }

    /// Whether turns are divided among groups by who has such records, or by who has any instance at all.
    fn divides_by_records(&self) -> bool {
        matches!(self, Self::Port(_) | Self::Type(RecordType::SRV))
    }
}

fn of_type(qtype: RecordType, candidate: &Candidate) -> Result<Vec<String>, String> {
    let some = |records: Vec<String>, lacks: &str| {
        if records.is_empty() { Err(lacks.to_owned()) } else { Ok(records) }
    };
    match (qtype, &candidate.target) {
        (RecordType::SRV, _) if candidate.port == 0 => Err("no source knows its port".to_owned()),
        (RecordType::SRV, _) => Ok(vec![target(candidate, candidate.port)]),
        (
            RecordType::A | RecordType::AAAA | RecordType::CNAME | RecordType::ANY,
            CandidateTarget::Host(host),
        ) => Ok(vec![format!("CNAME {host}")]),
        (RecordType::A, CandidateTarget::Addresses { v4, .. }) => {
            some(v4.iter().map(ToString::to_string).collect(), "it has no IPv4 address")
        }
        (RecordType::AAAA, CandidateTarget::Addresses { v6, .. }) => {
            some(v6.iter().map(ToString::to_string).collect(), "it has no IPv6 address")
        }
        (RecordType::ANY, CandidateTarget::Addresses { v4, v6 }) if v4.is_empty() => {
            some(v6.iter().map(ToString::to_string).collect(), "it has no address")
        }
        (RecordType::ANY, CandidateTarget::Addresses { v4, .. }) => {
            Ok(v4.iter().map(ToString::to_string).collect())
        }
        (RecordType::CNAME, _) => Err("it has addresses, so it is no alias".to_owned()),
        _ => Err(format!("there is no {qtype} at this name")),
    }
}

/// What an SRV record points to.
fn target(candidate: &Candidate, port: u16) -> String {
    match &candidate.target {
        CandidateTarget::Addresses { .. } => format!("{}:{port}", candidate.label),
        CandidateTarget::Host(host) => format!("{host}:{port}"),
    }
}

/// What is said of one instance.
pub(super) struct Verdict {
    pub(super) answered: bool,
    pub(super) why: String,
    /// The first group that takes it.
    pub(super) group: Option<usize>,
    pub(super) tier: Option<usize>,
}

/// Judges the instances of one service for one client and one question.
pub(super) struct Judge<'a> {
    rules: &'a Policy,
    route: &'a RoutePlan<'a>,
    kind: Kind,
    groups: Vec<Judged<'a>>,
}

/// One group as this client sees it.
struct Judged<'a> {
    plan: &'a GroupPlan<'a>,
    /// Who is answered, and whether that is for being near.
    pool: &'a [&'a Candidate],
    near: Option<String>,
    kind: Kind,
    share: f64,
    held: Option<u64>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        rules: &'a Policy,
        route: &'a RoutePlan<'a>,
        kind: Kind,
        locality: Option<&Locality>,
    ) -> Self {
        let has_records = |group: &GroupPlan<'_>| match kind.divides_by_records() {
            true => group.candidates.iter().any(|one| kind.records(one).is_ok()),
            false => !group.candidates.is_empty(),
        };
        let weights = route.weights(|at| route.groups.get(at).is_some_and(has_records));
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let judged = |(plan, weight): (&'a GroupPlan<'a>, u32)| {
            let (pool, near) = near(plan, locality);
            let share = if sum > 0.0 { f64::from(weight) * 100.0 / sum } else { 0.0 };
            Judged { plan, pool, near, kind: kind.within(pool), share, held: None }
        };
        let groups = route.groups.iter().zip(weights).map(judged).collect();
        Self { rules, route, kind, groups }
    }

    /// With the seconds for which each group's tier is kept though an earlier one is fit again.
    pub(super) fn remembering(mut self, held: impl Iterator<Item = Option<u64>>) -> Self {
        for (group, held) in self.groups.iter_mut().zip(held) {
            group.held = held;
        }
        self
    }

    /// A group's part of the look-ups, in percent.
    pub(super) fn share(&self, group: usize) -> f64 {
        self.groups.get(group).map_or(0.0, |group| (group.share * 100.0).round() / 100.0)
    }

    pub(super) fn held(&self, group: usize) -> Option<u64> {
        self.groups.get(group)?.held
    }

    /// Whom nearness has left of a group.
    pub(super) fn near(&self, group: usize) -> Option<&str> {
        self.groups.get(group)?.near.as_deref()
    }

    /// What answers of a group are made from, each once.
    pub(super) fn records(&self, group: usize) -> Vec<String> {
        let Some(group) = self.groups.get(group).filter(|_| !matches!(self.kind, Kind::Instance(..))) else {
            return Vec::new();
        };
        let records = group.pool.iter().filter_map(|one| group.kind.records(one).ok()).flatten();
        let mut seen = BTreeSet::new();
        records.filter(|record| seen.insert(record.clone())).collect()
    }

    pub(super) fn judge(&self, candidate: &Candidate, reports: &[(&Member, &Instance)]) -> Verdict {
        let mut taking = (0..).zip(&self.groups).filter(|(_, group)| self.takes(group, candidate)).peekable();
        let first = taking.peek().map(|(at, _)| *at);
        let tier = self.rules.failover.as_ref().and_then(|failover| tier_of(failover, candidate));
        let verdict = |answered, why, group| Verdict { answered, why, group, tier };
        if let Kind::Instance(label, _) = &self.kind {
            let is_it = std::iter::once(&candidate.label).chain(&candidate.aliases).any(|one| one == label);
            return match self.kind.records(candidate) {
                Ok(_) if is_it => verdict(true, "it is asked for by its own name".to_owned(), first),
                Err(lacks) if is_it => verdict(false, lacks, first),
                _ => verdict(false, "another one is asked for".to_owned(), first),
            };
        }
        if let Kind::Nothing(why) = &self.kind {
            return verdict(false, why.clone(), first);
        }
        if !matches(self.rules.filter(), candidate) {
            return verdict(false, format!("the name is for others: {}", self.rules.filter()), None);
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

    fn takes(&self, group: &Judged<'_>, candidate: &Candidate) -> bool {
        matches(self.rules.filter(), candidate) && matches(&group.plan.group.filter, candidate)
    }

    /// The first thing that keeps an instance of a group from being answered, in the order in which things are decided.
    fn obstacle(
        &self,
        group: &Judged<'_>,
        candidate: &Candidate,
        tier: Option<usize>,
        reports: &[(&Member, &Instance)],
    ) -> Option<String> {
        if group.plan.tier.is_some() && group.plan.tier != tier {
            return Some(tiers(group.plan.tier.unwrap_or(0), tier, group.held));
        }
        if !contains(&group.plan.candidates, candidate) {
            let is_fit = self.rules.answers.accept.contains(candidate.health);
            return Some(match candidate.health {
                // An unfit one that is let in may still be left out for its weight.
                Health::Draining if !is_fit => with_reason(candidate, reports),
                _ if is_fit || group.plan.in_panic || self.route.failed_open => {
                    "weight 0, while others have more".to_owned()
                }
                _ => with_reason(candidate, reports),
            });
        }
        if !contains(group.pool, candidate) {
            let near = group.near.as_deref().unwrap_or_default();
            return Some(match &candidate.locality {
                Some(zone) => format!("it is in {zone}; those in the client's {near} are answered"),
                None => format!("nobody knows its zone; those in the client's {near} are answered"),
            });
        }
        if let Err(lacks) = group.kind.records(candidate) {
            return Some(lacks);
        }
        (group.share <= 0.0).then(|| "its group has weight 0, while another has more".to_owned())
    }

    /// Why an instance of a group is answered.
    fn why(&self, group: &Judged<'_>, candidate: &Candidate, reports: &[(&Member, &Instance)]) -> String {
        if self.rules.answers.accept.contains(candidate.health) {
            return match candidate.health {
                Health::Healthy => "healthy".to_owned(),
                _ => format!("{} (accepted)", with_reason(candidate, reports)),
            };
        }
        let reason = with_reason(candidate, reports);
        match group.plan.in_panic {
            true => format!("{reason}; answered since too few are fit (panic_threshold)"),
            false => format!("{reason}; answered since none is fit (fail-open)"),
        }
    }
}

fn contains(pool: &[&Candidate], candidate: &Candidate) -> bool {
    pool.iter().any(|one| std::ptr::eq(*one, candidate))
}

/// A state with what its reporter says of it.
fn with_reason(candidate: &Candidate, reports: &[(&Member, &Instance)]) -> String {
    let deciding = reports.iter().find(|(_, instance)| instance.health == candidate.health);
    match deciding.and_then(|(_, instance)| instance.reason.as_ref()) {
        Some(reason) => format!("{}: {reason}", candidate.health),
        None => candidate.health.to_string(),
    }
}

fn tiers(used: usize, own: Option<usize>, held: Option<u64>) -> String {
    let number = used + 1;
    match (own, held) {
        (None, _) => "in no tier".to_owned(),
        (Some(own), _) if own > used => format!("tier {} stands by while tier {number} is used", own + 1),
        (Some(own), Some(seconds)) => {
            format!("tier {} waits: tier {number} is kept for {seconds} s more (hold_down)", own + 1)
        }
        (Some(own), None) => format!("tier {} has too few that are fit; tier {number} is used", own + 1),
    }
}

/// Who of a group is answered to a client from here: those of its zone, else of its region, else all.
fn near<'a>(group: &'a GroupPlan<'a>, locality: Option<&Locality>) -> (&'a [&'a Candidate], Option<String>) {
    let of = |rings: &'a [(std::sync::Arc<str>, Vec<&'a Candidate>)], place: &str, near: Near| {
        let (_, pool) = rings.iter().find(|(at, _)| **at == *place)?;
        let kind = if near == Near::Zone { "zone" } else { "region" };
        Some((pool.as_slice(), Some(format!("{kind} {place}"))))
    };
    let ring = locality.and_then(|at| {
        of(&group.rings.zones, &at.zone, Near::Zone)
            .or_else(|| of(&group.rings.regions, &at.region, Near::Region))
    });
    ring.unwrap_or((&group.candidates, None))
}
