//! Words: settings and reports as text.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Instant};

use crate::{
    catalog::{member_state::MemberState, snapshot::View, state::ServiceState, zone::Zone},
    config::AnswerOrder,
    model::{
        ExplainedMember, Health, HealthSet, Held, HeldReport, Instance, InstanceReport, Labels, Member,
        MemberStatus, Name, StaleMembers, Target, nearest,
    },
};

/// The order, as the configuration names it.
pub(super) const fn order_in_words(order: AnswerOrder) -> &'static str {
    match order {
        AnswerOrder::Rotate => "rotate",
        AnswerOrder::Random => "random",
        AnswerOrder::Weighted => "weighted",
    }
}

/// `; did you mean …?` if a service has a name like `name`, in `zone` or, without a zone, in any of
/// them; otherwise an empty string. Without a zone, a service with the same first label is
/// preferred.
///
/// *Cost*: a copy of every service's name.
pub(super) fn suggest(view: &View<'_>, name: &Name, zone: Option<&Zone>) -> String {
    let of_zone = view.iter().filter(|service| zone.is_none_or(|zone| service.zone.apex == zone.apex));
    let mut services: Vec<_> = of_zone.map(|service| (service.name.to_string(), &service.name)).collect();
    services.sort();
    let is_short_form = |service: &Name| zone.is_none() && service.labels().next() == name.labels().next();
    let short_form =
        services.iter().find(|(_, service)| is_short_form(service)).map(|(text, _)| text.as_str());
    match short_form.or_else(|| nearest(&name.to_string(), services.iter().map(|(text, _)| text.as_str()))) {
        Some(text) => format!("; did you mean {text}?"),
        None => String::new(),
    }
}

/// The labels of the members that have no data.
pub(super) fn not_synced(members: &[ExplainedMember]) -> Vec<String> {
    let not_synced = members.iter().filter(|member| member.state != MemberStatus::Synced);
    not_synced.map(ExplainedMember::label).collect()
}

/// The query and the state of each member.
pub(super) fn members(service: &ServiceState, stale: &StaleMembers, now: Instant) -> Vec<ExplainedMember> {
    let explained = |(member, state): (&Member, &MemberState)| {
        let stale = stale.get(member).filter(|_| state.synced);
        ExplainedMember {
            source: member.source.to_string(),
            member: place(member),
            query: service.queries.get(member).map_or("imported", |query| query).to_owned(),
            state: match state {
                MemberState { synced: true, .. } => MemberStatus::Synced,
                MemberState { expired: true, .. } => MemberStatus::Expired,
                MemberState { failed: true, .. } => MemberStatus::Failed,
                _ => MemberStatus::NotSynced,
            },
            instances: state.instances.len(),
            stale_seconds: stale.map(|stale| stale.seconds(now)),
            expires_in_seconds: stale.and_then(|stale| stale.seconds_left(now)),
        }
    };
    service.members.iter().map(explained).collect()
}

/// A member's position in `from`, if it has one.
fn place(member: &Member) -> Option<u16> {
    (member.place != Member::IMPORTED).then_some(member.place)
}

/// One source's report on an instance.
pub(super) fn instance_report(
    member: &Member,
    instance: &Instance,
    age_seconds: u64,
    now: Instant,
) -> InstanceReport {
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    let (addresses, host): (Vec<IpAddr>, _) = match &instance.target {
        Target::Addresses(addresses) => (addresses.to_vec(), None),
        Target::Host(host) => (Vec::new(), Some(host.to_string())),
    };
    InstanceReport {
        source: member.source.to_string(),
        member: place(member),
        id: instance.id.to_string(),
        addresses,
        host,
        port: instance.port,
        health: instance.health.to_string(),
        reason: text(&instance.reason),
        held: instance.held.as_ref().map(|held| held_report(held, now)),
        age_seconds,
        weight: instance.weight,
        labels: labels(&instance.labels),
        zone: text(&instance.locality),
        datacenter: text(&instance.datacenter),
        kube_namespace: text(&instance.kube_namespace),
    }
}

fn held_report(held: &Held, now: Instant) -> HeldReport {
    let word = held.word.as_ref();
    HeldReport {
        why: held.why.as_str().to_owned(),
        source_health: word.map(|word| word.health.to_string()),
        source_reason: word.and_then(|word| word.reason.as_deref()).map(str::to_owned),
        seconds_left: held
            .until
            .map(|until| until.saturating_duration_since(now).as_millis().div_ceil(1000) as u64),
    }
}

pub(super) fn labels(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The names of the health states in a set.
pub(super) fn health_of(set: HealthSet) -> Vec<String> {
    Health::ALL.iter().filter(|health| set.contains(**health)).map(ToString::to_string).collect()
}
