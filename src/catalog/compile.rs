//! Compiling: from the plan of an owner name to the service that answers are read from.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    clients::ClientTests,
    dns_sd::{answered_instances, port_labels},
    pool::{GroupPools, GroupRotation, GroupRotations, Pool, RotatingList, RoutePools, Routing, SrvRecord},
    record_list::RecordList,
    records::PoolRecords,
    rotation::{ListKey, ListOwner, RotationIds, RouteKey, ServiceRotations},
    service::{Answers, PackedInstances, PackedInstancesBuilder, Service},
    txt,
    weighted::Shares,
    zone::Zone,
};
use crate::{
    config::{AnswerOrder, AnswerSettings, Near},
    model::Name,
    policy::{Candidate, CandidateTarget, GroupPlan, RoutePlan, ServicePlan},
};

/// The inputs of compiling one owner name.
pub(super) struct Compiler<'c> {
    /// The owner name.
    pub(super) name: &'c Name,
    pub(super) zone: &'c Arc<Zone>,
    pub(super) answers: &'c AnswerSettings,
    /// Whether every member of the service is synced.
    pub(super) all_synced: bool,
    pub(super) tests: &'c ClientTests,
    pub(super) rotations: &'c mut ServiceRotations,
    pub(super) ids: &'c mut RotationIds,
}

/// A set of candidates by place, as the plan has it.
type Ring<'p> = (Arc<str>, Vec<&'p Candidate>);

impl Compiler<'_> {
    /// Compiles a service from all its candidates and the plan for them.
    pub(super) fn compile(mut self, candidates: &[Candidate], plan: &ServicePlan<'_>) -> Service {
        let instances = pack(self.name, candidates, self.answers.txt);
        let named_ports = candidates.iter().flat_map(|candidate| &candidate.named_ports);
        let ports: BTreeSet<Box<[u8]>> = named_ports.filter_map(port_labels).collect();
        let ports: Box<[Box<[u8]>]> = ports.into_iter().collect();
        let answers = self.answers(plan, &instances, &ports);
        self.rotations.give_back_unused(self.ids);
        let mut service = self.service(answers, ports, instances);
        if self.zone.is_browsed() {
            service.browsed = answered_instances(&service);
        }
        service
    }

    /// Compiles an alias: a CNAME to `target`.
    pub(super) fn alias(self, target: &Name) -> Service {
        self.service(Answers::Alias(target.clone()), Box::default(), PackedInstances::default())
    }

    fn service(&self, answers: Answers, ports: Box<[Box<[u8]>]>, instances: PackedInstances) -> Service {
        debug_assert!(self.answers.max_answers <= usize::from(u16::MAX), "the reader limits max_answers");
        Service {
            name: self.name.clone(),
            zone: Arc::clone(self.zone),
            ttl: self.answers.ttl,
            max_answers: u16::try_from(self.answers.max_answers).unwrap_or(u16::MAX),
            random: self.answers.order == AnswerOrder::Random,
            all_synced: self.all_synced,
            answers,
            ports,
            instances,
            browsed: Box::default(),
        }
    }

    fn answers(
        &mut self,
        plan: &ServicePlan<'_>,
        instances: &PackedInstances,
        ports: &[Box<[u8]>],
    ) -> Answers {
        if let [RoutePlan { clients: None, groups, .. }] = plan.routes.as_slice()
            && let [GroupPlan { candidates, rings, .. }] = groups.as_slice()
            && rings.zones.is_empty()
            && rings.regions.is_empty()
        {
            let owner = ListOwner::Group(RouteKey::EveryClient, 0);
            return Answers::Same(self.pool(&owner, candidates, instances, ports));
        }
        let routes: Box<[RoutePools]> = plan
            .routes
            .iter()
            .enumerate()
            .map(|(at, route)| self.route(at, route, instances, ports))
            .collect();
        let has_rings = |group: &GroupPools| !(group.zones.is_empty() && group.regions.is_empty());
        let by_client =
            routes.iter().any(|route| route.clients.is_some() || route.groups.iter().any(has_rings));
        Answers::Routed(Box::new(Routing { routes, by_client }))
    }

    fn route(
        &mut self,
        at: usize,
        route: &RoutePlan<'_>,
        instances: &PackedInstances,
        ports: &[Box<[u8]>],
    ) -> RoutePools {
        let key = if route.clients.is_none() { RouteKey::EveryClient } else { RouteKey::At(at) };
        let mut groups = Vec::with_capacity(route.groups.len());
        for (at, group) in route.groups.iter().enumerate() {
            let mut pools = |rings: &[Ring<'_>], near: Near| -> Box<[(Arc<str>, Pool)]> {
                let pool = |(place, candidates): &Ring<'_>| {
                    let owner = ListOwner::Ring(key, at, near, Arc::clone(place));
                    (Arc::clone(place), self.pool(&owner, candidates, instances, ports))
                };
                rings.iter().map(pool).collect()
            };
            let zones = pools(&group.rings.zones, Near::Zone);
            let regions = pools(&group.rings.regions, Near::Region);
            let all = self.pool(&ListOwner::Group(key, at), &group.candidates, instances, ports);
            groups.push(GroupPools { all, zones, regions });
        }
        let rotations = self.group_rotations(key, route, &groups, ports);
        let clients = route.clients.map(|clients| self.tests.test(clients));
        RoutePools { clients, groups: groups.into(), rotations }
    }

    /// Divides each list of records between the groups that have such records.
    ///
    /// A and AAAA are divided alike, between the groups that have any address. A client that asks
    /// for both must be able to get both from one group, and a group without addresses of one
    /// family must not send all clients of that family to the others.
    fn group_rotations(
        &mut self,
        key: RouteKey,
        route: &RoutePlan<'_>,
        groups: &[GroupPools],
        ports: &[Box<[u8]>],
    ) -> GroupRotations {
        let mut rotation = |list: RecordList<usize>| {
            let answers = |pool: &Pool| match list.divides_by_records() {
                true => pool.has_records(list),
                false => pool.has_any(),
            };
            let weights = route.weights(|at| groups.get(at).is_some_and(|group| answers(&group.all)));
            let is_undivided = weights.iter().skip(1).all(|weight| *weight == 0);
            let shares = Shares::new(&weights).filter(|_| !is_undivided)?;
            let labels = |at: usize| {
                debug_assert!(at < ports.len(), "a named port's index is that of its labels");
                ports.get(at).cloned().unwrap_or_default()
            };
            let list = list.map(labels);
            let rotation = self.rotations.id_of(ListKey { owner: ListOwner::Route(key), list }, self.ids);
            Some(GroupRotation { shares, rotation })
        };
        GroupRotations {
            v4: rotation(RecordList::V4),
            v6: rotation(RecordList::V6),
            srv: rotation(RecordList::Srv),
            ports: (0..ports.len()).map(|at| rotation(RecordList::NamedPort(at))).collect(),
        }
    }

    fn pool(
        &mut self,
        owner: &ListOwner,
        candidates: &[&Candidate],
        instances: &PackedInstances,
        ports: &[Box<[u8]>],
    ) -> Pool {
        let PoolRecords { v4, v6, hosts, srv, of_ports } = PoolRecords::gather(candidates, instances, ports);
        let host_weights = || hosts.iter().map(|(_, weight)| *weight);
        let v4 = self.list(owner, RecordList::V4, v4, host_weights());
        let v6 = self.list(owner, RecordList::V6, v6, host_weights());
        let mut srv_list = |list, records: Vec<SrvRecord>| {
            let weighted = records.into_iter().map(|record| (record, u32::from(record.weight))).collect();
            self.list(owner, list, weighted, std::iter::empty())
        };
        let srv = srv_list(RecordList::Srv, srv);
        let named = of_ports.into_iter().zip(ports);
        let ports =
            named.map(|(records, labels)| srv_list(RecordList::NamedPort(labels.clone()), records)).collect();
        Pool { v4, v6, hosts: hosts.into_iter().map(|(host, _)| host).collect(), srv, ports }
    }

    /// Makes a list of records with weights. `host_weights` are those of the host names that rotate
    /// behind the records.
    fn list<T>(
        &mut self,
        owner: &ListOwner,
        list: RecordList<Box<[u8]>>,
        records: Vec<(T, u32)>,
        host_weights: impl Iterator<Item = u32>,
    ) -> RotatingList<T> {
        let weights: Vec<u32> = records.iter().map(|(_, weight)| *weight).chain(host_weights).collect();
        let differ = weights.iter().any(|weight| Some(weight) != weights.first());
        let by_weight = match self.answers.order {
            AnswerOrder::Weighted => true,
            // Weights decide who is left out. A host name is always alone, whatever `max_answers`
            // is.
            AnswerOrder::Rotate => weights.len() > self.answers.max_answers.min(records.len().max(1)),
            AnswerOrder::Random => false,
        };
        let shares = (by_weight && differ).then(|| Shares::new(&weights)).flatten().map(Box::new);
        let rotation = self.rotations.id_of(ListKey { owner: owner.clone(), list }, self.ids);
        RotatingList { records: records.into_iter().map(|(record, _)| record).collect(), rotation, shares }
    }
}

/// Packs all instances, whatever their health, under their labels and aliases; with TXT data if
/// `txt`.
fn pack(service: &Name, candidates: &[Candidate], txt: bool) -> PackedInstances {
    let mut instances = PackedInstancesBuilder::new(txt);
    for candidate in candidates {
        let labels = std::iter::once(&candidate.label).chain(&candidate.aliases);
        // A label is left out only below a service name of almost 255 bytes.
        let labels = labels
            .map(String::as_str)
            .filter(|label| !label.is_empty() && label.len() + 1 + service.as_wire().len() <= Name::MAX);
        let txt = if txt { txt::data(&candidate.labels) } else { Vec::new() };
        match &candidate.target {
            CandidateTarget::Addresses { v4, v6 } => instances.add(labels, v4, v6, None, &txt),
            CandidateTarget::Host(host) => instances.add(labels, &[], &[], Some(host), &txt),
        }
    }
    instances.build()
}
