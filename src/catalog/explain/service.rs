//! Explaining a service: its routes, its groups, and each of its instances.

use std::net::IpAddr;

use super::{
    position::NamePosition,
    query::ExplainQuery,
    verdict::Judge,
    wanted::Wanted,
    words::{health_of, instance_report, labels, members, not_synced, order_in_words},
};
use crate::{
    catalog::{
        clients::{Client, ClientMatch, ClientTests},
        member_state::Report,
        merge::merge_with_reports,
        state::{Catalog, OwnerName},
    },
    config::ClientFilter,
    model::{ExplainedGroup, ExplainedInstance, ExplainedRoute, ExplainedService, FOR_EVERY_CLIENT, Name},
    policy::{self, Candidate, CandidateTarget, Memory, RoutePlan, ServicePlan},
};

/// The client whose routes are explained.
pub(super) struct RouteClient<'c> {
    pub(super) client: &'c Client,
    pub(super) address: IpAddr,
    pub(super) tests: &'c ClientTests,
}

impl RouteClient<'_> {
    /// Whether a route matches the client, and why or why not.
    fn matches(&self, clients: Option<&ClientFilter>) -> (bool, String) {
        let Some(clients) = clients else { return (true, FOR_EVERY_CLIENT.to_owned()) };
        let test = self.tests.test(clients);
        let address = self.address;
        let why = match self.client.check(&test) {
            ClientMatch::Matches if test.identity.is_some() => {
                return (true, format!("the instance at {address} matches"));
            }
            ClientMatch::Matches => return (true, format!("{address} matches")),
            ClientMatch::NotInNetworks => format!("{address} is in none of these networks"),
            ClientMatch::OtherZone => {
                let zone = self.client.locality().map_or("", |locality| &*locality.zone);
                format!("{address} is in zone {zone}")
            }
            ClientMatch::ZoneUnknown => format!("the availability zone of {address} is unknown"),
            ClientMatch::Unknown => format!("no source reports an instance at {address}"),
            ClientMatch::Ambiguous => {
                format!("ambiguous: {address} is shared and only some of its instances match")
            }
            ClientMatch::Different => format!("the instance at {address} does not match"),
        };
        (false, why)
    }
}

impl Catalog {
    /// Explains the service that is answered under `owner_name`. `None` if it is gone by now.
    pub(super) fn explain_service(
        &self,
        owner_name: &Name,
        position: &NamePosition,
        query: &ExplainQuery,
        route_client: &RouteClient<'_>,
    ) -> Option<ExplainedService> {
        let name = self.additional_names.get(owner_name).unwrap_or(owner_name);
        let service = self.services.get(name)?;
        let owner_name = service.owner_names.iter().find(|owner| owner.name == *owner_name)?;
        let rules = &owner_name.policy;
        let localities = self.snapshot.localities();
        let coverage = service.coverage();
        let (candidates, reports): (Vec<_>, Vec<_>) =
            merge_with_reports(service.reports(), localities).into_iter().unzip();
        let (plan, memory) =
            policy::plan(rules, &candidates, localities, &owner_name.memory, coverage, self.now);
        let matches: Vec<_> = plan.routes.iter().map(|route| route_client.matches(route.clients)).collect();
        let matched = matches.iter().position(|(matches, _)| *matches);
        debug_assert!(matched.is_some(), "the last route matches every client");
        let matched = matched?;
        let route = plan.routes.get(matched)?;
        let held = |group| self.held(&memory, (matched, group), owner_name);
        let wanted = Wanted::new(position, query.qtype);
        let judge = Judge::new(rules, route, wanted, route_client.client.locality(), held);
        let instance = |(candidate, reports): (&Candidate, &Vec<Report<'_>>)| {
            let verdict = judge.judge(candidate, reports);
            ExplainedInstance {
                answered: verdict.answered,
                why: verdict.why,
                group: verdict.group.map(|group| group + 1),
                tier: verdict.tier.map(|tier| tier + 1),
                reports: reports.iter().map(|report| self.report(report)).collect(),
                ..unjudged(candidate)
            }
        };
        let is_alias = owner_name.alias.is_some();
        let members = members(service, &query.stale, self.now);
        Some(ExplainedService {
            name: owner_name.name.to_string(),
            service: name.to_string(),
            namespace: service.apex.to_string(),
            not_synced: not_synced(&members),
            members,
            ttl: rules.answers.ttl,
            order: order_in_words(rules.answers.order).to_owned(),
            max_answers: rules.answers.max_answers,
            accept: health_of(rules.answers.accept),
            routes: if is_alias {
                Vec::new()
            } else {
                explain_routes(&plan, &matches, matched, &judge, query)
            },
            instances: candidates.iter().zip(&reports).take(query.limit).map(instance).collect(),
            omitted: candidates.len().saturating_sub(query.limit),
        })
    }

    /// The number of seconds for which a group's tier stays in use although an earlier one has
    /// recovered.
    fn held(&self, memory: &Memory, group: (usize, usize), owner_name: &OwnerName) -> Option<u64> {
        let until = memory.get(&group)?.held_until(owner_name.policy.failover.as_ref()?)?;
        let left = until.checked_duration_since(self.now)?;
        Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
    }

    /// The report of one member on one instance.
    pub(super) fn report(&self, (member, dated): &Report<'_>) -> crate::model::InstanceReport {
        let age = u64::from(self.seconds().saturating_sub(dated.since));
        instance_report(member, &dated.instance, age, self.now)
    }
}

fn explain_routes(
    plan: &ServicePlan<'_>,
    matches: &[(bool, String)],
    matched: usize,
    judge: &Judge<'_>,
    query: &ExplainQuery,
) -> Vec<ExplainedRoute> {
    let explain = |(at, (route, (matches, why))): (usize, (&RoutePlan<'_>, &(bool, String)))| {
        let is_matched = at == matched;
        let why = if *matches && !is_matched {
            format!("route {} takes precedence", matched + 1)
        } else {
            why.clone()
        };
        ExplainedRoute {
            number: at + 1,
            clients: route.clients.map_or_else(|| "every client".to_owned(), ToString::to_string),
            matched: is_matched,
            why,
            failed_open: route.failed_open,
            groups: if is_matched { explain_groups(route, judge, query) } else { Vec::new() },
        }
    };
    plan.routes.iter().zip(matches).enumerate().map(explain).collect()
}

fn explain_groups(route: &RoutePlan<'_>, judge: &Judge<'_>, query: &ExplainQuery) -> Vec<ExplainedGroup> {
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
        records: judge.records(at).into_iter().take(query.limit).collect(),
    };
    route.groups.iter().enumerate().map(explain).collect()
}

/// An instance without its verdict.
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
