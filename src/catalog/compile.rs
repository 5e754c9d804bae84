//! Compiling: from a service's plan to what is answered.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    clients::ClientTests,
    dns_sd::{self, port_labels},
    pool::{GroupPools, GroupRotation, GroupRotations, Pool, RotatingList, RoutePools, Routing, SrvRecord},
    records::PoolRecords,
    rotation::{ListKey, ListOwner, RecordList, RotationIds, RouteKey, ServiceRotations},
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

/// What one service is compiled from.
pub(super) struct Compiler<'c> {
    /// Its name.
    pub(super) name: &'c Name,
    pub(super) zone: &'c Arc<Zone>,
    pub(super) answers: &'c AnswerSettings,
    /// Whether all its members have been heard.
    pub(super) all_synced: bool,
    pub(super) tests: &'c ClientTests,
    pub(super) rotations: &'c mut ServiceRotations,
    pub(super) ids: &'c mut RotationIds,
}

impl Compiler<'_> {
    /// Compiles the service from all its candidates and the plan that says who gets which.
    pub(super) fn compile(mut self, candidates: &[Candidate], plan: &ServicePlan<'_>) -> Service {
        let instances = pack(self.name, candidates, self.answers.txt);
        let ports: BTreeSet<Box<[u8]>> =
            candidates.iter().flat_map(|candidate| &candidate.named_ports).filter_map(port_labels).collect();
        let ports: Box<[Box<[u8]>]> = ports.into_iter().collect();
        let answers = self.answers(plan, &instances, &ports);
        self.rotations.give_back_unused(self.ids);
        let mut service = self.service(answers, ports, instances);
        if self.zone.is_browsed() {
            service.browsed = dns_sd::instances(&service);
        }
        service
    }

    /// Compiles a service that is another name of `target`, which is none of ours.
    pub(super) fn alias(self, target: &Name) -> Service {
        self.service(Answers::Alias(target.clone()), Box::default(), PackedInstances::default())
    }

    fn service(&self, answers: Answers, ports: Box<[Box<[u8]>]>, instances: PackedInstances) -> Service {
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
            let owner = ListOwner::Group(RouteKey::Everybody, 0);
            return Answers::Same(self.pool(&owner, candidates, instances, ports));
        }
        let routes: Box<[RoutePools]> = plan
            .routes
            .iter()
            .enumerate()
            .map(|(at, route)| self.route(at, route, instances, ports))
            .collect();
        let near = |group: &GroupPools| !(group.zones.is_empty() && group.regions.is_empty());
        let by_client = routes.iter().any(|route| route.clients.is_some() || route.groups.iter().any(near));
        Answers::Routed(Box::new(Routing { routes, by_client }))
    }

    fn route(
        &mut self,
        at: usize,
        route: &RoutePlan<'_>,
        instances: &PackedInstances,
        ports: &[Box<[u8]>],
    ) -> RoutePools {
        let place = if route.clients.is_none() { RouteKey::Everybody } else { RouteKey::At(at) };
        let mut groups = Vec::with_capacity(route.groups.len());
        for (group_at, group) in route.groups.iter().enumerate() {
            let mut ring = |rings: &[(Arc<str>, Vec<&Candidate>)], near: Near| -> Box<[(Arc<str>, Pool)]> {
                let pool = |(place_name, candidates): &(Arc<str>, Vec<&Candidate>)| {
                    let owner = ListOwner::Ring(place, group_at, near, Arc::clone(place_name));
                    (Arc::clone(place_name), self.pool(&owner, candidates, instances, ports))
                };
                rings.iter().map(pool).collect()
            };
            let zones = ring(&group.rings.zones, Near::Zone);
            let regions = ring(&group.rings.regions, Near::Region);
            let owner = ListOwner::Group(place, group_at);
            let all = self.pool(&owner, &group.candidates, instances, ports);
            groups.push(GroupPools { all, zones, regions });
        }
        let mut turn = |list: RecordList<Box<[u8]>>,
                        has_records: &dyn Fn(&Pool) -> bool|
         -> Option<GroupRotation> {
            let has = if list.divides_by_records() { has_records } else { &Pool::has_any };
            let weights = route.weights(|at| groups.get(at).is_some_and(|group| has(&group.all)));
            let only_first = weights.iter().skip(1).all(|weight| *weight == 0);
            let shares = Shares::new(&weights).filter(|_| !only_first)?;
            let rotation = self.rotations.id_of(ListKey { owner: ListOwner::Route(place), list }, self.ids);
            Some(GroupRotation { shares, rotation })
        };
        // A and AAAA are divided alike, by who has any address: a client that asks for both must be
        // able to get both from one group, and one that has no address of a family must not send
        // all of that family's clients elsewhere.
        let rotations = GroupRotations {
            v4: turn(RecordList::V4, &Pool::has_any),
            v6: turn(RecordList::V6, &Pool::has_any),
            srv: turn(RecordList::Srv, &|pool| !pool.srv.records.is_empty()),
            ports: ports
                .iter()
                .enumerate()
                .map(|(at, labels)| {
                    let has = |pool: &Pool| pool.ports.get(at).is_some_and(|list| !list.records.is_empty());
                    turn(RecordList::NamedPort(labels.clone()), &has)
                })
                .collect(),
        };
        let clients = route.clients.map(|clients| self.tests.test(clients));
        RoutePools { clients, groups: groups.into(), rotations }
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

    /// Makes a list of records with their weights; `further` are the weights of what takes its turn
    /// behind them.
    fn list<T>(
        &mut self,
        owner: &ListOwner,
        list: RecordList<Box<[u8]>>,
        records: Vec<(T, u32)>,
        further: impl Iterator<Item = u32>,
    ) -> RotatingList<T> {
        let weights: Vec<u32> = records.iter().map(|(_, weight)| *weight).chain(further).collect();
        let differ = weights.iter().any(|weight| Some(weight) != weights.first());
        let by_weight = match self.answers.order {
            AnswerOrder::Weighted => true,
            // A host name stands alone, whatever `max_answers` is.
            AnswerOrder::Rotate => weights.len() > self.answers.max_answers.min(records.len().max(1)),
            AnswerOrder::Random => false,
        };
        let shares = (by_weight && differ).then(|| Shares::new(&weights)).flatten().map(Box::new);
        let rotation = self.rotations.id_of(ListKey { owner: owner.clone(), list }, self.ids);
        RotatingList { records: records.into_iter().map(|(record, _)| record).collect(), rotation, shares }
    }
}

/// Packs all instances, whatever their health, under their labels and aliases, their labels' facts
/// as TXT data if `txt`.
fn pack(service: &Name, candidates: &[Candidate], txt: bool) -> PackedInstances {
    let mut instances = PackedInstancesBuilder::new(txt);
    for candidate in candidates {
        let labels = std::iter::once(&candidate.label).chain(&candidate.aliases);
        // Only a service whose own name is close to 255 octets has no room for an instance's label.
        let labels = labels
            .map(String::as_str)
            .filter(|label| !label.is_empty() && label.len() + 1 + service.as_wire().len() <= Name::MAX);
        let text = if txt { txt::data(&candidate.labels) } else { Vec::new() };
        match &candidate.target {
            CandidateTarget::Addresses { v4, v6 } => instances.add(labels, v4, v6, None, &text),
            CandidateTarget::Host(host) => instances.add(labels, &[], &[], Some(host), &text),
        }
    }
    instances.build()
}
