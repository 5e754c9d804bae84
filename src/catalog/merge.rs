//! Merging: the reports of a service's members become one list of candidates.
//!
//! Two reports with an address and port in common are about one instance; a report without a port
//! is about every port of its address. The result does not
//! depend on the order of members or reports: candidates are the connected components of "has a
//! socket in common", and a value that only one report can give (label, locality) is that of the
//! first report in the order of members and ids.
//!
//! Within one source the best report decides: of two registrations of one socket, only one can be
//! alive. Across sources the worst decides. Everything but names and sources is that of the
//! deciding reports.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::member_state::Report;
use crate::{
    model::{Instance, Labels, Member, Name, Network, Target, instance_label},
    policy::{Candidate, CandidateTarget, Localities},
};

/// A socket of an instance; two reports that share one are about one instance.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum SocketKey {
    Address(IpAddr, u16),
    Host(Name, u16),
}

/// Merges the reports of all members of one service into candidates, sorted by socket.
///
/// If no report has an availability zone, `localities` gives that of the candidate's first address.
pub(super) fn merge<'a>(
    reports: impl IntoIterator<Item = Report<'a>>,
    localities: &Localities,
) -> Vec<Candidate> {
    merge_sorted(&sorted(reports), localities).0
}

/// As [`merge`], each candidate with its reports, sorted by member.
pub(super) fn merge_with_reports<'a>(
    reports: impl IntoIterator<Item = Report<'a>>,
    localities: &Localities,
) -> Vec<(Candidate, Vec<Report<'a>>)> {
    let reports = sorted(reports);
    let (candidates, groups) = merge_sorted(&reports, localities);
    let of_group = |(_, group): (SocketKey, Vec<&Report<'a>>)| group.into_iter().copied().collect();
    candidates.into_iter().zip(groups.into_iter().map(of_group)).collect()
}

fn sorted<'a>(reports: impl IntoIterator<Item = Report<'a>>) -> Vec<Report<'a>> {
    let mut reports: Vec<Report<'a>> = reports.into_iter().collect();
    reports.sort_by(|(a, one), (b, other)| (a, &one.instance.id).cmp(&(b, &other.instance.id)));
    reports
}

/// The reports of each instance, with the smallest of their sockets.
type Components<'r, 'a> = Vec<(SocketKey, Vec<&'r Report<'a>>)>;

fn merge_sorted<'r, 'a>(
    reports: &'r [Report<'a>],
    localities: &Localities,
) -> (Vec<Candidate>, Components<'r, 'a>) {
    let mut groups: Components<'r, 'a> = components(reports);
    groups.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut candidates: Vec<Candidate> = groups.iter().map(|(_, group)| candidate(group)).collect();
    make_labels_unique(&mut candidates, &groups);
    for candidate in candidates.iter_mut().filter(|candidate| candidate.locality.is_none()) {
        candidate.locality = candidate.target.first().and_then(|address| {
            localities.around(&Network::from(address)).map(|locality| Arc::clone(&locality.zone))
        });
    }
    (candidates, groups)
}

/// Groups reports that share a socket, directly or through other reports (union-find).
///
/// A report without a port is about every port of its address.
fn components<'r, 'a>(reports: &'r [Report<'a>]) -> Components<'r, 'a> {
    let ports = Ports::new(reports);
    let mut parent: Vec<usize> = (0..reports.len()).collect();
    let mut owner: HashMap<SocketKey, usize> = HashMap::with_capacity(reports.len());
    for (at, (_, dated)) in reports.iter().enumerate() {
        for key in socket_keys(&dated.instance).map(|key| ports.first(key)) {
            let other = *owner.entry(key).or_insert(at);
            let (a, b) = (root(&mut parent, at), root(&mut parent, other));
            if let Some(slot) = parent.get_mut(a.max(b)) {
                *slot = a.min(b);
            }
        }
    }
    let mut groups: BTreeMap<usize, (SocketKey, Vec<&'r Report<'a>>)> = BTreeMap::new();
    for (at, report) in reports.iter().enumerate() {
        let keys = || socket_keys(&report.1.instance).map(|key| ports.first(key));
        let Some(smallest) = keys().min() else { continue };
        let own = root(&mut parent, at);
        let others = socket_keys(&report.1.instance).flat_map(|key| ports.others(key));
        let others = others.filter_map(|key| owner.get(&key).copied());
        let roots: BTreeSet<usize> =
            others.map(|at| root(&mut parent, at)).filter(|root| *root != own).collect();
        let (key, group) = groups.entry(own).or_insert_with(|| (smallest.clone(), Vec::new()));
        if smallest < *key {
            *key = smallest;
        }
        group.push(report);
        for root in roots {
            // The key comes from the reports that have the port.
            let key = reports.get(root).and_then(|(_, dated)| socket_keys(&dated.instance).min());
            let Some(key) = key else { continue };
            groups.entry(root).or_insert_with(|| (key, Vec::new())).1.push(report);
        }
    }
    let is_reported = |group: &[&Report<'_>]| group.iter().any(|(_, dated)| !dated.withdrawn);
    groups.into_values().filter(|(_, group)| is_reported(group)).collect()
}

/// The known ports of each address that some report has without a port.
struct Ports(HashMap<IpAddr, BTreeSet<u16>>);

impl Ports {
    fn new(reports: &[Report<'_>]) -> Self {
        let without = reports.iter().filter(|(_, dated)| dated.instance.port == 0);
        let addresses = without.flat_map(|(_, dated)| dated.instance.addresses());
        let mut ports: HashMap<IpAddr, BTreeSet<u16>> =
            addresses.map(|address| (address, BTreeSet::new())).collect();
        if !ports.is_empty() {
            for (_, dated) in reports.iter().filter(|(_, dated)| dated.instance.port != 0) {
                for address in dated.instance.addresses() {
                    if let Some(ports) = ports.get_mut(&address) {
                        ports.insert(dated.instance.port);
                    }
                }
            }
        }
        Self(ports)
    }

    /// A socket without a port becomes that of the address's first port, if there is one.
    fn first(&self, key: SocketKey) -> SocketKey {
        match key {
            SocketKey::Address(address, 0) => {
                let first = self.0.get(&address).and_then(BTreeSet::first);
                SocketKey::Address(address, first.copied().unwrap_or(0))
            }
            other => other,
        }
    }

    /// The sockets of all further ports of the address of a socket without one.
    fn others(&self, key: SocketKey) -> impl Iterator<Item = SocketKey> + '_ {
        let ports = match key {
            SocketKey::Address(address, 0) => self.0.get(&address).map(|ports| (address, ports)),
            _ => None,
        };
        ports.into_iter().flat_map(|(address, ports)| {
            ports.iter().skip(1).map(move |port| SocketKey::Address(address, *port))
        })
    }
}

/// Finds the smallest index of the component of `at`, and halves the path to it.
fn root(parent: &mut [usize], mut at: usize) -> usize {
    debug_assert!(at < parent.len(), "every report has a parent");
    while let Some(&up) = parent.get(at)
        && up != at
    {
        let above = parent.get(up).copied().unwrap_or(up);
        if let Some(slot) = parent.get_mut(at) {
            *slot = above;
        }
        at = above;
    }
    at
}

/// The sockets of an instance.
pub(super) fn socket_keys(instance: &Instance) -> impl Iterator<Item = SocketKey> + '_ {
    let (addresses, host): (&[IpAddr], _) = match &instance.target {
        Target::Addresses(addresses) => (addresses, None),
        Target::Host(name) => (&[], Some(name)),
    };
    addresses
        .iter()
        .map(|address| SocketKey::Address(*address, instance.port))
        .chain(host.map(|name| SocketKey::Host(name.clone(), instance.port)))
}

/// Returns the reports that decide an instance's health: of each source, those of its best health.
/// What it has withdrawn counts if it reports nothing else.
///
/// `reports` are sorted by member, so those of one source are together.
pub(super) fn deciding<'a>(reports: impl IntoIterator<Item = Report<'a>>) -> Vec<Report<'a>> {
    let reports: Vec<Report<'a>> = reports.into_iter().collect();
    let best = |reports: &[Report<'_>]| reports.iter().map(|(_, dated)| dated.instance.health).min();
    let of_source = |reports: &[Report<'a>]| {
        let mut reports = reports.to_vec();
        if reports.iter().any(|(_, dated)| !dated.withdrawn) {
            reports.retain(|(_, dated)| !dated.withdrawn);
        }
        let best = best(&reports);
        reports.retain(|(_, dated)| Some(dated.instance.health) == best);
        reports
    };
    by_source(&reports).flat_map(of_source).collect()
}

/// The reports of each source; `reports` are sorted by member.
fn by_source<'r, 'a>(reports: &'r [Report<'a>]) -> impl Iterator<Item = &'r [Report<'a>]> {
    reports.chunk_by(|(a, _), (b, _)| a.source == b.source)
}

/// Merges the reports of one instance, at least one.
fn candidate(reports: &[&Report<'_>]) -> Candidate {
    debug_assert!(!reports.is_empty(), "a component holds the report that it began with");
    let reports: Vec<Report<'_>> = reports.iter().map(|report| **report).collect();
    let deciding = deciding(reports.iter().copied());
    let health = deciding.iter().map(|(_, dated)| dated.instance.health).max().unwrap_or_default();
    let is_reported = |(_, dated): &Report<'_>| !dated.withdrawn;
    let deciding: Vec<_> = deciding.into_iter().filter(is_reported).collect();
    let reports: Vec<_> = reports.into_iter().filter(is_reported).collect();
    let instances = || deciding.iter().map(|(_, dated)| &dated.instance);
    let mut named_ports: Vec<_> = instances().flat_map(|i| i.named_ports.iter().cloned()).collect();
    named_ports.sort_unstable();
    named_ports.dedup();
    // Reports are sorted by member, and the members of one service by source.
    let mut sources: Vec<_> = reports.iter().map(|(member, _)| member.source.clone()).collect();
    sources.dedup();
    let mut labels = distinct_labels(reports.iter().map(|(_, dated)| &dated.instance)).into_iter();
    Candidate {
        label: labels.next().unwrap_or_default(),
        aliases: labels.collect(),
        target: target(instances()),
        port: instances().map(|i| i.port).find(|port| *port != 0).unwrap_or(0),
        named_ports,
        health,
        ever_healthy: by_source(&reports).all(|reports| reports.iter().any(|(_, dated)| dated.ever_healthy)),
        weight: instances().map(|i| i.weight).min().unwrap_or_default(),
        labels: instances().map(|i| &i.labels).rfold(Labels::default(), |all, own| all.overlaid(own)),
        locality: first(instances().map(|i| &i.locality)),
        datacenter: first(instances().map(|i| &i.datacenter)),
        sources,
    }
}

/// All addresses of one instance, or its host name.
fn target<'i>(instances: impl Iterator<Item = &'i Instance>) -> CandidateTarget {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for instance in instances {
        let addresses = match &instance.target {
            Target::Addresses(addresses) => addresses,
            Target::Host(name) => return CandidateTarget::Host(name.clone()),
        };
        for address in addresses {
            match address {
                IpAddr::V4(address) => v4.push(*address),
                IpAddr::V6(address) => v6.push(*address),
            }
        }
    }
    v4.sort_unstable();
    v4.dedup();
    v6.sort_unstable();
    v6.dedup();
    CandidateTarget::Addresses { v4, v6 }
}

/// The label of each instance, without duplicates.
fn distinct_labels<'i>(instances: impl Iterator<Item = &'i Instance>) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for instance in instances {
        let label = instance_label(&instance.id);
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    labels
}

fn first<'a>(mut values: impl Iterator<Item = &'a Option<Arc<str>>>) -> Option<Arc<str>> {
    values.find_map(Clone::clone)
}

/// Makes labels unique within the service: candidates that share a label get a hash of their member
/// appended.
fn make_labels_unique(candidates: &mut [Candidate], groups: &[(SocketKey, Vec<&Report<'_>>)]) {
    let mut wanted: HashMap<String, usize> = HashMap::new();
    for candidate in candidates.iter() {
        for label in std::iter::once(&candidate.label).chain(&candidate.aliases) {
            *wanted.entry(label.clone()).or_default() += 1;
        }
    }
    let contested = |label: &String| wanted.get(label).is_some_and(|count| *count > 1);
    for (candidate, (_, group)) in candidates.iter_mut().zip(groups) {
        candidate.aliases.retain(|alias| !contested(alias));
        if contested(&candidate.label)
            && let Some((member, dated)) = group.first()
        {
            let Member { source, place, .. } = member;
            // The dot is not allowed in a label, so `instance_label` always appends a hash.
            candidate.label = instance_label(&format!("{}.{source}.{place}", dated.instance.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::member_state::DatedInstance,
        model::{Health, SourceId, SourceKind},
    };
    use proptest::prelude::*;

    fn member(kind: SourceKind, place: u16) -> Member {
        Member { service: "nginx.test".parse().unwrap(), source: SourceId { kind, name: "x".into() }, place }
    }

    fn instance(id: &str, addresses: &[&str], port: u16, health: Health) -> DatedInstance {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let instance = Instance {
            target: Target::Addresses(addresses),
            health,
            ..Instance::at(id, [127, 0, 0, 1].into(), port)
        };
        instance.into()
    }

    #[test]
    fn reports_of_one_socket_are_one_instance_of_the_worst_health() {
        let (consul, kube) = (member(SourceKind::Consul, 0), member(SourceKind::Kubernetes, 1));
        let a = instance("vm", &["10.0.0.1"], 80, Health::Healthy);
        let b = instance("pod", &["10.0.0.1", "fd00::1"], 80, Health::Unhealthy);
        let merged = merge([(&consul, &a), (&kube, &b)], &Localities::default());
        assert_eq!(merged.len(), 1);
        assert_eq!(merged[0].health, Health::Unhealthy);
        assert_eq!((merged[0].label.as_str(), merged[0].aliases.as_slice()), ("vm", &["pod".to_owned()][..]));
        let CandidateTarget::Addresses { v4, v6 } = &merged[0].target else { panic!() };
        assert_eq!((v4.len(), v6.len()), (1, 1));
    }

    #[test]
    fn within_one_source_the_best_report_decides() {
        let [consul, other] = [member(SourceKind::Consul, 0), member(SourceKind::Consul, 1)];
        let kube = member(SourceKind::Kubernetes, 2);
        let mut old = instance("old", &["10.0.0.1", "fd00::1"], 80, Health::Unhealthy);
        old.instance.weight = 0;
        old.instance.labels = [("version", "v1")].into_iter().collect();
        let new = instance("new", &["10.0.0.1"], 80, Health::Healthy);
        for member in [&consul, &other] {
            let merged = merge([(&consul, &new), (member, &old)], &Localities::default());
            assert_eq!((merged.len(), merged[0].health, merged[0].weight), (1, Health::Healthy, 1));
            let CandidateTarget::Addresses { v6, .. } = &merged[0].target else { panic!() };
            assert!(v6.is_empty(), "an address that only the dead registration has");
            assert_eq!(merged[0].labels.get("version"), None);
        }
        let pod = instance("pod", &["10.0.0.1"], 80, Health::Draining);
        let merged = merge([(&consul, &new), (&consul, &old), (&kube, &pod)], &Localities::default());
        assert_eq!(merged[0].health, Health::Draining, "across sources the worst");
    }

    #[test]
    fn another_port_is_another_instance() {
        let consul = member(SourceKind::Consul, 0);
        let a = instance("a", &["10.0.0.1"], 80, Health::Healthy);
        let b = instance("b", &["10.0.0.1"], 81, Health::Healthy);
        assert_eq!(merge([(&consul, &a), (&consul, &b)], &Localities::default()).len(), 2);
    }

    #[test]
    fn two_instances_never_share_a_label() {
        let (consul, kube) = (member(SourceKind::Consul, 0), member(SourceKind::Kubernetes, 1));
        let a = instance("web", &["10.0.0.1"], 80, Health::Healthy);
        let b = instance("web", &["10.0.0.2"], 80, Health::Healthy);
        let merged = merge([(&consul, &a), (&kube, &b)], &Localities::default());
        assert_ne!(merged[0].label, merged[1].label);
        assert!(merged.iter().all(|c| c.label.starts_with("web-")), "{merged:?}");
    }

    #[test]
    fn a_report_without_a_port_is_about_every_port_of_its_address() {
        let (consul, kube) = (member(SourceKind::Consul, 0), member(SourceKind::Kubernetes, 1));
        let vm = instance("vm", &["10.0.0.1"], 80, Health::Healthy);
        let other = instance("other", &["10.0.0.1"], 81, Health::Healthy);
        let pod = instance("pod", &["10.0.0.1"], 0, Health::Draining);
        let merged = merge([(&consul, &vm), (&kube, &pod)], &Localities::default());
        assert_eq!((merged.len(), merged[0].port, merged[0].health), (1, 80, Health::Draining));
        let merged = merge([(&consul, &vm), (&consul, &other), (&kube, &pod)], &Localities::default());
        let found: Vec<_> = merged.iter().map(|one| one.health).collect();
        assert_eq!(found, [Health::Draining; 2]);
        let merged = merge([(&kube, &pod)], &Localities::default());
        assert_eq!((merged.len(), merged[0].port), (1, 0));
    }

    proptest! {
        #[test]
        fn the_order_of_reports_does_not_matter(
            reports in prop::collection::vec((0u8..4, 0u8..6, 0u8..6, 0u16..3, 0usize..5, any::<bool>()), 0..12),
            seed in any::<u64>(),
        ) {
            let reports: BTreeMap<_, _> = reports
                .into_iter()
                .enumerate()
                .map(|(at, (place, v4, v6, port, health, dual))| {
                    let mut addresses = vec![format!("10.0.0.{v4}")];
                    if dual {
                        addresses.push(format!("fd00::{v6}"));
                    }
                    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
                    let id = format!("i{}", at % 5);
                    let port = [80, 81, 0][usize::from(port)];
                    let report = instance(&id, &addresses, port, Health::ALL[health]);
                    ((member(SourceKind::Consul, u16::from(place)), id), report)
                })
                .collect();
            let forward = merge(reports.iter().map(|((member, _), report)| (member, report)), &Localities::default());
            let mut shuffled: Vec<_> = reports.iter().collect();
            let mut state = seed | 1;
            for at in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(at, (state >> 33) as usize % (at + 1));
            }
            let backward = merge(shuffled.into_iter().map(|((member, _), report)| (member, report)), &Localities::default());
            prop_assert_eq!(forward, backward);
        }
    }
}
