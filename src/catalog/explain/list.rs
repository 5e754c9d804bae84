//! Lists: pages of services, and of one service's instances.

use std::collections::BinaryHeap;

use super::words::{members, not_synced, suggest};
use crate::{
    catalog::{member_state::Report, merge::merge_with_reports, snapshot::Snapshot, state::Catalog},
    model::{Health, InstancePage, ListedInstance, ListedService, Name, ServicePage, StaleMembers},
    policy::Candidate,
};

impl Snapshot {
    /// The first `limit` names of services after `after`, sorted, and whether there are more.
    ///
    /// *Cost*: a scan of all services, outside of the catalog's worker.
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
    /// `; did you mean …?` with the service whose name is most like `name`, or an empty string.
    ///
    /// *Cost*: a scan of all services' names, outside of the catalog's worker.
    pub fn suggest(&self, name: &Name) -> String {
        let zone = self.zone(name.wire()).map(|(zone, _)| zone.as_ref());
        suggest(&self.view(), name, zone)
    }
}

impl Catalog {
    /// Describes the services with these names. Omits services that are gone by now.
    pub fn list_services(&self, (names, has_more): &(Vec<Name>, bool), stale: &StaleMembers) -> ServicePage {
        ServicePage {
            services: names.iter().filter_map(|name| self.list_service(name, stale)).collect(),
            next: names.last().filter(|_| *has_more).map(Name::to_string),
        }
    }

    fn list_service(&self, name: &Name, stale: &StaleMembers) -> Option<ListedService> {
        let canonical = self.additional_names.get(name).unwrap_or(name);
        let service = self.services.get(canonical)?;
        let owner_name = service.owner_names.iter().find(|owner_name| owner_name.name == *name)?;
        let mut sources: Vec<_> = service.members.keys().map(|member| member.source.to_string()).collect();
        sources.dedup();
        let health = Health::ALL.iter().zip(service.health).filter(|(_, count)| *count > 0);
        let oldest = service.members.iter().filter(|(_, state)| state.synced);
        let oldest = oldest.filter_map(|(member, _)| stale.get(member)).min();
        Some(ListedService {
            name: name.to_string(),
            service: canonical.to_string(),
            namespace: service.apex.to_string(),
            imported: !service.configured,
            sources,
            synced: service.all_synced(),
            expired: service.members.values().any(|state| state.expired && !state.synced),
            stale_seconds: oldest.map(|oldest| oldest.seconds(self.now)),
            expires_in_seconds: oldest.and_then(|oldest| oldest.seconds_left(self.now)),
            health: health.map(|(health, count)| (health.to_string(), count)).collect(),
            alias: owner_name.alias.as_ref().map(Name::to_string),
        })
    }

    /// The first `limit` instances of a service after the label `after`, sorted by label. `None` if
    /// there is no such service.
    ///
    /// *Cost*: that of merging the service once.
    pub fn list_instances(
        &self,
        name: &Name,
        after: Option<&str>,
        limit: usize,
        stale: &StaleMembers,
    ) -> Option<InstancePage> {
        let canonical = self.additional_names.get(name).unwrap_or(name);
        let service = self.services.get(canonical)?;
        let merged = merge_with_reports(service.reports(), self.snapshot.localities());
        let is_after = |label: &str| after.is_none_or(|after| label > after);
        let mut merged: Vec<_> =
            merged.into_iter().filter(|(candidate, _)| is_after(&candidate.label)).collect();
        merged.sort_by(|(a, _), (b, _)| a.label.cmp(&b.label));
        let has_more = merged.len() > limit;
        merged.truncate(limit);
        let listed = |(candidate, reports): &(Candidate, Vec<Report<'_>>)| ListedInstance {
            label: candidate.label.clone(),
            health: candidate.health.to_string(),
            weight: candidate.weight,
            reports: reports.iter().map(|report| self.report(report)).collect(),
        };
        let members = members(service, stale, self.now);
        Some(InstancePage {
            service: canonical.to_string(),
            not_synced: not_synced(&members),
            members,
            instances: merged.iter().map(listed).collect(),
            next: merged.last().filter(|_| has_more).map(|(candidate, _)| candidate.label.clone()),
        })
    }
}
