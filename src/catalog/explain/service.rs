//! A service's part of an explanation: its routes, its groups and each of its instances.

use std::net::IpAddr;

use super::{
    Asked, Explanation,
    list::{health_of, instance_report, labels},
    verdict::{Judge, Kind},
    words::order_in_words,
};
use crate::{
    catalog::{
        clients::{Client, ClientMatch, ClientTests},
        merge::merge_with_reports,
        service::{Answers, Service},
        state::{Catalog, OwnerName, ServiceState},
    },
    config::ClientFilter,
    model::{
        ExplainedGroup, ExplainedInstance, ExplainedRoute, ExplainedService, FOR_EVERY_CLIENT, Instance,
        Member, Name, NameKind,
    },
    policy::{self, Candidate, CandidateTarget, Memory, RoutePlan, ServicePlan},
};

/// Where in a service a question's name is.
pub(super) enum At {
    /// It is the service's own.
    Itself,
    /// It is an instance's, by this label.
    Instance(String),
    /// It is a named port's: `_port._proto` as wire labels.
    Port(Box<[u8]>),
    /// It is above a named port's.
    AbovePort,
    /// It is none.
    Nowhere,
}

impl At {
    pub(super) fn find(service: &Service, below: &[u8]) -> Self {
        if below.is_empty() {
            Self::Itself
        } else if service.instances.find(below).is_some() {
            Self::Instance(String::from_utf8_lossy(below.get(1..).unwrap_or_default()).into_owned())
        } else if service.port(below).is_some() {
            Self::Port(below.into())
        } else if service.ports.iter().any(|labels| labels.ends_with(below)) {
            Self::AbovePort
        } else {
            Self::Nowhere
        }
    }

    /// What is found in words, beside what is said of the service.
    pub(super) fn describe(&self, service: &Service, explained: ExplainedService) -> Explanation {
        let name = &service.name;
        let (kind, note) = match self {
            Self::Itself => match &service.answers {
                Answers::Alias(target) => {
                    (NameKind::Alias, format!("another name of {target}, which is none of ours: a CNAME"))
                }
                _ => (NameKind::Service, itself(service, &explained)),
            },
            Self::Instance(_) => {
                (NameKind::Instance, format!("an instance of {name}, answered whatever its health"))
            }
            Self::Port(_) => (NameKind::Port, format!("a named port of {name}, which SRV asks for")),
            Self::AbovePort => (NameKind::EmptyNonTerminal, format!("named ports of {name} are below it")),
            Self::Nowhere if service.all_synced => {
                (NameKind::NxDomain, format!("{name} has no such instance or port"))
            }
            Self::Nowhere => (
                NameKind::NotSynced,
                format!(
                    "no such instance or port of {name} is known, but not all of its members have been heard"
                ),
            ),
        };
        (kind, note, Some(explained))
    }
}

fn itself(service: &Service, explained: &ExplainedService) -> String {
    let ExplainedService { name, service: of, not_synced, .. } = explained;
    let mut note = if name == of { "a service".to_owned() } else { format!("another name for {of}") };
    if !not_synced.is_empty() {
        note += &format!("; not heard yet: {}", not_synced.join(", "));
        note += match service.has_eligible() {
            true => ", so the others are answered",
            false => ", and there is nothing else to answer: SERVFAIL, not an empty answer",
        };
    } else if explained.instances.is_empty() {
        note += "; its sources say that it has no instances";
    }
    note
}

/// Who asks, as the routes see it.
pub(super) struct Seen<'c> {
    pub(super) client: &'c Client,
    pub(super) address: IpAddr,
    pub(super) tests: &'c ClientTests,
}

impl Seen<'_> {
    /// Whether it passes what a route asks for, and why or why not.
    fn passes(&self, clients: Option<&ClientFilter>) -> (bool, String) {
        let Some(clients) = clients else { return (true, FOR_EVERY_CLIENT.to_owned()) };
        let test = self.tests.test(clients);
        let address = self.address;
        let why = match self.client.check(&test) {
            ClientMatch::Matches => return (true, format!("{address} is that")),
            ClientMatch::NotInNetworks => format!("{address} is in none of these networks"),
            ClientMatch::OtherZone => {
                let zone = self.client.locality().map_or("", |locality| &*locality.zone);
                format!("{address} is in zone {zone}")
            }
            ClientMatch::ZoneUnknown => format!("nobody says in which zone {address} is"),
            ClientMatch::Unknown => format!("no source reports an instance at {address}"),
            ClientMatch::Ambiguous => {
                format!("several share {address}, and not all of them are that, so it does not tell")
            }
            ClientMatch::Different => format!("{address} is not that"),
        };
        (false, why)
    }
}

impl Catalog {
    /// Explains the service that is answered under `owner_name`.
    pub(super) fn explain_service(
        &self,
        owner_name: &Name,
        at: &At,
        asked: &Asked,
        seen: &Seen<'_>,
    ) -> Option<ExplainedService> {
        let name = self.additional_names.get(owner_name).unwrap_or(owner_name);
        let service = self.services.get(name)?;
        let owner_name = service.owner_names.iter().find(|one| one.name == *owner_name)?;
        let rules = &owner_name.policy;
        let localities = self.snapshot.localities();
        let complete = service.all_synced();
        let (candidates, reports): (Vec<_>, Vec<_>) =
            merge_with_reports(service.reports(), localities).into_iter().unzip();
        let (plan, memory) =
            policy::plan(rules, &candidates, localities, &owner_name.memory, complete, self.now);
        let passes: Vec<_> = plan.routes.iter().map(|route| seen.passes(route.clients)).collect();
        let matched = passes.iter().position(|(passes, _)| *passes)?;
        let route = plan.routes.get(matched)?;
        let judge = Judge::new(rules, route, Kind::new(at, asked.qtype), seen.client.locality());
        let judge = judge.remembering((0..).map_while(|group| {
            (group < route.groups.len()).then(|| self.held(&memory, (matched, group), owner_name))
        }));
        let instance = |(candidate, reports): (&Candidate, &Vec<(&Member, &Instance)>)| {
            let verdict = judge.judge(candidate, reports);
            ExplainedInstance {
                answered: verdict.answered,
                why: verdict.why,
                group: verdict.group.map(|group| group + 1),
                tier: verdict.tier.map(|tier| tier + 1),
                reports: reports.iter().map(|report| self.report(service, report)).collect(),
                ..unjudged(candidate)
            }
        };
        let is_alias = owner_name.alias.is_some();
        Some(ExplainedService {
            name: owner_name.name.to_string(),
            service: name.to_string(),
            namespace: service.apex.to_string(),
            not_synced: not_synced(service),
            ttl: rules.answers.ttl,
            order: order_in_words(rules.answers.order).to_owned(),
            max_answers: rules.answers.max_answers,
            accept: health_of(rules.answers.accept),
            routes: if is_alias {
                Vec::new()
            } else {
                explain_routes(&plan, &passes, matched, &judge, asked)
            },
            instances: candidates.iter().zip(&reports).take(asked.limit).map(instance).collect(),
            omitted: candidates.len().saturating_sub(asked.limit),
        })
    }

    /// For how many seconds a group's tier is kept though an earlier one is fit again.
    fn held(&self, memory: &Memory, group: (usize, usize), owner_name: &OwnerName) -> Option<u64> {
        let until = memory.get(&group)?.held_until(owner_name.policy.failover.as_ref()?)?;
        let left = until.checked_duration_since(self.now)?;
        Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
    }

    /// What one member says of one instance.
    pub(super) fn report(
        &self,
        service: &ServiceState,
        (member, instance): &(&Member, &Instance),
    ) -> crate::model::InstanceReport {
        let held = service.members.get(*member).and_then(|state| state.instances.get(&instance.id));
        let since = held.map_or(0, |held| held.since);
        instance_report(member, instance, u64::from(self.seconds().saturating_sub(since)))
    }
}

/// The members of a service that have not been heard.
pub(super) fn not_synced(service: &ServiceState) -> Vec<String> {
    let not_synced = service.members.iter().filter(|(_, state)| !state.synced);
    not_synced
        .map(|(member, _)| match member.place {
            Member::IMPORTED => member.source.to_string(),
            place => format!("{} #{place}", member.source),
        })
        .collect()
}

fn explain_routes(
    plan: &ServicePlan<'_>,
    passes: &[(bool, String)],
    matched: usize,
    judge: &Judge<'_>,
    asked: &Asked,
) -> Vec<ExplainedRoute> {
    let explain = |(at, (route, (passes, why))): (usize, (&RoutePlan<'_>, &(bool, String)))| {
        let is_matched = at == matched;
        let why =
            if *passes && !is_matched { format!("route {} comes before", matched + 1) } else { why.clone() };
        ExplainedRoute {
            number: at + 1,
            clients: route.clients.map_or_else(|| "every client".to_owned(), ToString::to_string),
            matched: is_matched,
            why,
            failed_open: route.failed_open,
            groups: if is_matched { explain_groups(route, judge, asked) } else { Vec::new() },
        }
    };
    plan.routes.iter().zip(passes).enumerate().map(explain).collect()
}

fn explain_groups(route: &RoutePlan<'_>, judge: &Judge<'_>, asked: &Asked) -> Vec<ExplainedGroup> {
    let explain = |(at, group): (usize, &policy::GroupPlan<'_>)| ExplainedGroup {
        number: at + 1,
        filter: group.group.filter.to_string(),
        weight: group.group.weight,
        share: judge.share(at),
        strict: group.group.strict,
        tier: group.tier.map(|tier| tier + 1),
        hold_down_seconds: judge.held(at),
        in_panic: group.in_panic,
        near: judge.near(at).map(str::to_owned),
        records: judge.records(at).into_iter().take(asked.limit).collect(),
    };
    route.groups.iter().enumerate().map(explain).collect()
}

/// What is known of an instance before it is judged.
fn unjudged(candidate: &Candidate) -> ExplainedInstance {
    let (addresses, host) = match &candidate.target {
        CandidateTarget::Addresses { v4, v6 } => {
            let v4 = v4.iter().map(|address| IpAddr::V4(*address));
            (v4.chain(v6.iter().map(|address| IpAddr::V6(*address))).collect(), None)
        }
        CandidateTarget::Host(host) => (Vec::new(), Some(host.to_string())),
    };
    let port = |named: &crate::model::NamedPort| (format!("{}/{}", named.name, named.protocol), named.port);
    ExplainedInstance {
        label: candidate.label.clone(),
        aliases: candidate.aliases.clone(),
        addresses,
        host,
        port: candidate.port,
        ports: candidate.named_ports.iter().map(port).collect(),
        health: candidate.health.to_string(),
        weight: candidate.weight,
        labels: labels(&candidate.labels),
        zone: candidate.locality.as_deref().map(str::to_owned),
        datacenter: candidate.datacenter.as_deref().map(str::to_owned),
        answered: false,
        why: String::new(),
        group: None,
        tier: None,
        reports: Vec::new(),
    }
}
