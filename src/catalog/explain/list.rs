//! Lists: pages of services and of one service's instances.

use std::{
    collections::{BTreeMap, BinaryHeap},
    net::IpAddr,
    sync::Arc,
};

use super::{service::not_synced, words::suggest};
use crate::{
    catalog::{merge::merge_with_reports, snapshot::Snapshot, state::Catalog},
    model::{
        Health, HealthSet, Instance, InstancePage, InstanceReport, Labels, ListedInstance, ListedService,
        Member, Name, ServicePage, Target,
    },
};

impl Snapshot {
    /// The first `limit` names of services behind `after`, in their order, and whether there are more.
    ///
    /// *Cost*: a look at every service; the catalog does not wait for it.
    pub fn names_after(&self, after: Option<&Name>, limit: usize) -> (Vec<Name>, bool) {
        let view = self.view();
        let mut first = BinaryHeap::with_capacity(limit + 2);
        for service in view.iter().filter(|service| after.is_none_or(|after| service.name > *after)) {
            first.push(&service.name);
            if first.len() > limit + 1 {
                first.pop();
            }
        }
        let mut names: Vec<Name> = first.into_sorted_vec().into_iter().cloned().collect();
        let has_more = names.len() > limit;
        names.truncate(limit);
        (names, has_more)
    }
}

impl Snapshot {
    /// The service that somebody may have meant by `name`, as `; did you mean …?`, or nothing. *Cost*: a look at every service's
    /// name; the catalog does not wait for it.
    pub fn suggest(&self, name: &Name) -> String {
        let zone = self.zone(name.as_wire()).map(|(zone, _)| zone.as_ref());
        suggest(&self.view(), name, zone)
    }
}

impl Catalog {
    /// Describes the services of these names; those that are gone meanwhile are left out.
    pub fn list_services(&self, (names, has_more): &(Vec<Name>, bool)) -> ServicePage {
        ServicePage {
            services: names.iter().filter_map(|name| self.list_service(name)).collect(),
            next: names.last().filter(|_| *has_more).map(Name::to_string),
        }
    }

    fn list_service(&self, name: &Name) -> Option<ListedService> {
        let of = self.additional_names.get(name).unwrap_or(name);
        let service = self.services.get(of)?;
        let owner_name = service.owner_names.iter().find(|owner_name| owner_name.name == *name)?;
        let mut sources: Vec<_> = service.members.keys().map(|member| member.source.to_string()).collect();
        sources.dedup();
        let health = Health::ALL.iter().zip(service.health).filter(|(_, count)| *count > 0);
        Some(ListedService {
            name: name.to_string(),
            service: of.to_string(),
            namespace: service.apex.to_string(),
            imported: !service.configured,
            sources,
            synced: service.all_synced(),
            health: health.map(|(health, count)| (health.to_string(), count)).collect(),
            alias: owner_name.alias.as_ref().map(Name::to_string),
        })
    }

    /// The first `limit` instances of a service behind the label `after`, in the order of their labels; `None`: no such service.
    ///
    /// *Cost*: that of merging the service once.
    pub fn list_instances(&self, name: &Name, after: Option<&str>, limit: usize) -> Option<InstancePage> {
        let of = self.additional_names.get(name).unwrap_or(name);
        let service = self.services.get(of)?;
        let merged = merge_with_reports(service.reports(), self.snapshot.localities());
        let is_behind = |label: &str| after.is_none_or(|after| label > after);
        let mut merged: Vec<_> =
            merged.into_iter().filter(|(candidate, _)| is_behind(&candidate.label)).collect();
        merged.sort_by(|(a, _), (b, _)| a.label.cmp(&b.label));
        let has_more = merged.len() > limit;
        merged.truncate(limit);
        let listed =
            |(candidate, reports): &(crate::policy::Candidate, Vec<(&Member, &Instance)>)| ListedInstance {
                label: candidate.label.clone(),
                health: candidate.health.to_string(),
                weight: candidate.weight,
                reports: reports.iter().map(|report| self.report(service, report)).collect(),
            };
        Some(InstancePage {
            service: of.to_string(),
            not_synced: not_synced(service),
            instances: merged.iter().map(listed).collect(),
            next: merged.last().filter(|_| has_more).map(|(candidate, _)| candidate.label.clone()),
        })
    }
}

/// One source's word on an instance.
pub(super) fn instance_report(member: &Member, instance: &Instance, age_seconds: u64) -> InstanceReport {
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    let (addresses, host): (Vec<IpAddr>, _) = match &instance.target {
        Target::Addresses(addresses) => (addresses.to_vec(), None),
        Target::Host(host) => (Vec::new(), Some(host.to_string())),
    };
    InstanceReport {
        source: member.source.to_string(),
        member: (member.place != Member::IMPORTED).then_some(member.place),
        id: instance.id.to_string(),
        addresses,
        host,
        port: instance.port,
        health: instance.health.to_string(),
        reason: text(&instance.reason),
        age_seconds,
        weight: instance.weight,
        labels: labels(&instance.labels),
        zone: text(&instance.locality),
        datacenter: text(&instance.datacenter),
        kube_namespace: text(&instance.kube_namespace),
    }
}

pub(super) fn labels(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The names of a set of states.
pub(super) fn health_of(set: HealthSet) -> Vec<String> {
    Health::ALL.iter().filter(|health| set.contains(**health)).map(ToString::to_string).collect()
}
