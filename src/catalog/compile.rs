//! Compiling: from a service's plan to what is answered.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use super::{
    clients::ClientTests,
    dns_sd::{self, port_labels},
    pool::{GroupPools, GroupRotation, GroupRotations, Pool, RotatingList, RoutePools, Routing, SrvRecord},
    rotation::{ListKey, ListOwner, RecordList, RotationIds, RouteKey, ServiceRotations},
    service::{Answers, PackedInstances, PackedInstancesBuilder, Service},
    txt,
    weighted::Shares,
    zone::Zone,
};
use crate::{
    config::{Near, Order, Shape},
    model::Name,
    policy::{Candidate, CandidateTarget, GroupPlan, RoutePlan, ServicePlan},
};

/// What one service is compiled from.
pub(super) struct Compiler<'c> {
    /// Its name.
    pub(super) name: &'c Name,
    pub(super) zone: &'c Arc<Zone>,
    pub(super) shape: &'c Shape,
    /// Whether all its members have been heard.
    pub(super) all_synced: bool,
    pub(super) tests: &'c ClientTests,
    pub(super) rotations: &'c mut ServiceRotations,
    pub(super) ids: &'c mut RotationIds,
}

impl Compiler<'_> {
    /// Compiles the service from all its candidates and the plan that says who gets which.
    pub(super) fn compile(mut self, candidates: &[Candidate], plan: &ServicePlan<'_>) -> Service {
        let instances = pack(self.name, candidates, self.shape.txt);
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
            ttl: self.shape.ttl,
            max_answers: u16::try_from(self.shape.max_answers).unwrap_or(u16::MAX),
            random: self.shape.order == Order::Random,
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
        let mut turn = |kind: RecordList, has_records: &dyn Fn(&Pool) -> bool| -> Option<GroupRotation> {
            let weights = route.weights(|at| groups.get(at).is_some_and(|group| has_records(&group.all)));
            let only_first = weights.iter().skip(1).all(|weight| *weight == 0);
            let shares = Shares::new(&weights).filter(|_| !only_first)?;
            let rotation = self.rotations.id_of(ListKey { owner: ListOwner::Route(place), kind }, self.ids);
            Some(GroupRotation { shares, rotation })
        };
        // A and AAAA are divided alike, by who has any address: a client that asks for both must be able to get both from
        // one group, and one that has no address of a family must not send all of that family's clients elsewhere.
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
        let mut records = PoolBuilder { of_ports: vec![Vec::new(); ports.len()], ..PoolBuilder::default() };
        for candidate in candidates {
            records.add(candidate, instances, ports);
        }
        // Instances on one host share an address, and a set of records has each record once.
        let hosts = dedup(records.hosts);
        let host_weights = || hosts.iter().map(|(_, weight)| *weight);
        let (v4, v6) = (dedup(records.v4), dedup(records.v6));
        let v4 = self.list(owner, RecordList::V4, v4, host_weights());
        let v6 = self.list(owner, RecordList::V6, v6, host_weights());
        let srv = |compiler: &mut Self, kind, records: Vec<SrvRecord>| {
            let weighted = records.into_iter().map(|record| (record, u32::from(record.weight))).collect();
            compiler.list(owner, kind, weighted, std::iter::empty())
        };
        Pool {
            v4,
            v6,
            hosts: hosts.into_iter().map(|(host, _)| host).collect(),
            srv: srv(self, RecordList::Srv, records.srv),
            ports: records
                .of_ports
                .into_iter()
                .zip(ports)
                .map(|(records, labels)| srv(self, RecordList::NamedPort(labels.clone()), records))
                .collect(),
        }
    }

    /// Makes a list of records with their weights; `further` are the weights of what takes its turn behind them.
    fn list<T>(
        &mut self,
        owner: &ListOwner,
        kind: RecordList,
        records: Vec<(T, u32)>,
        further: impl Iterator<Item = u32>,
    ) -> RotatingList<T> {
        let weights: Vec<u32> = records.iter().map(|(_, weight)| *weight).chain(further).collect();
        let differ = weights.iter().any(|weight| Some(weight) != weights.first());
        let by_weight = match self.shape.order {
            Order::Weighted => true,
            // A host name stands alone, whatever `max_answers` is.
            Order::Rotate => weights.len() > self.shape.max_answers.min(records.len().max(1)),
            Order::Random => false,
        };
        let shares = (by_weight && differ).then(|| Shares::new(&weights)).flatten().map(Box::new);
        let rotation = self.rotations.id_of(ListKey { owner: owner.clone(), kind }, self.ids);
        RotatingList { records: records.into_iter().map(|(record, _)| record).collect(), rotation, shares }
    }
}

/// The records of a pool while they are gathered, with their weights.
#[derive(Default)]
struct PoolBuilder<'c> {
    v4: Vec<(std::net::Ipv4Addr, u32)>,
    v6: Vec<(std::net::Ipv6Addr, u32)>,
    hosts: Vec<(Name, u32)>,
    srv: Vec<SrvRecord>,
    of_ports: Vec<Vec<SrvRecord>>,
    /// Two instances on one host that is given by name may have a named port in common.
    seen: HashSet<(usize, &'c Name, u16, u16)>,
}

impl<'c> PoolBuilder<'c> {
    fn add(&mut self, candidate: &'c Candidate, instances: &PackedInstances, ports: &[Box<[u8]>]) {
        let weight = u32::from(candidate.weight);
        match &candidate.target {
            CandidateTarget::Addresses { v4, v6 } => {
                self.v4.extend(v4.iter().map(|address| (*address, weight)));
                self.v6.extend(v6.iter().map(|address| (*address, weight)));
            }
            CandidateTarget::Host(host) => self.hosts.push((host.clone(), weight)),
        }
        let Some(instance) = instances.id(&candidate.label) else { return };
        let record = |port| SrvRecord { weight: candidate.weight, port, instance };
        if candidate.port != 0 {
            self.srv.push(record(candidate.port));
        }
        for named in &candidate.named_ports {
            let place = port_labels(named).and_then(|labels| ports.binary_search(&labels).ok());
            let Some(place) = place else { continue };
            if let CandidateTarget::Host(host) = &candidate.target
                && !self.seen.insert((place, host, candidate.weight, named.port))
            {
                continue;
            }
            if let Some(list) = self.of_ports.get_mut(place) {
                list.push(record(named.port));
            }
        }
    }
}

/// Packs all instances, whatever their health, under their labels and aliases, their labels' facts as TXT data if `txt`.
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

/// Leaves each value once, at its first place, with the largest of its weights.
fn dedup<T: Clone + Eq + Hash>(values: Vec<(T, u32)>) -> Vec<(T, u32)> {
    let mut places: HashMap<T, usize> = HashMap::with_capacity(values.len());
    let mut kept: Vec<(T, u32)> = Vec::with_capacity(values.len());
    for (value, weight) in values {
        match places.get(&value).and_then(|place| kept.get_mut(*place)) {
            Some((_, largest)) => *largest = weight.max(*largest),
            None => {
                places.insert(value.clone(), kept.len());
                kept.push((value, weight));
            }
        }
    }
    kept
}
