//! A candidate: one instance of a service, merged from the reports of all members.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use crate::{
    config::InstanceFilter,
    model::{Health, Labels, Name, NamedPort, SourceId},
};

/// An instance after merging, before policy decides whether to answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The label below the service's name; unique within the service.
    pub label: String,
    /// Labels that other members report it under; they resolve too.
    pub aliases: Vec<String>,
    /// The addresses or the host name that its records point to.
    pub target: CandidateTarget,
    /// The main port; 0 if no source reports one.
    pub port: u16,
    /// Sorted, without duplicates.
    pub named_ports: Vec<NamedPort>,
    /// The best health of each source's reports, and of these the worst.
    pub health: Health,
    /// Whether every source that reports it has seen it healthy at some time. One that never was
    /// counts in no denominator, and is answered only if nothing else is left.
    pub ever_healthy: bool,
    /// The lowest weight of the reports that decide the health.
    pub weight: u16,
    /// The labels of the reports that decide the health; the first report wins.
    pub labels: Labels,
    /// The availability zone, from the first report that has one, else from `[[locality]]`.
    pub locality: Option<Arc<str>>,
    /// The Consul datacenter, from the first report that has one.
    pub datacenter: Option<Arc<str>>,
    /// The sources that report it, sorted, without duplicates.
    pub sources: Vec<SourceId>,
}

/// The target of a candidate's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateTarget {
    /// Its addresses: at least one of the lists is not empty.
    Addresses {
        /// IPv4 addresses, sorted.
        v4: Vec<Ipv4Addr>,
        /// IPv6 addresses, sorted.
        v6: Vec<Ipv6Addr>,
    },
    /// A host name, answered as a CNAME.
    Host(Name),
}

impl CandidateTarget {
    /// The first address, IPv4 before IPv6; `None` for a host name.
    pub fn first(&self) -> Option<IpAddr> {
        match self {
            Self::Addresses { v4, v6 } => {
                v4.first().map(|v4| IpAddr::V4(*v4)).or_else(|| v6.first().map(|v6| IpAddr::V6(*v6)))
            }
            Self::Host(_) => None,
        }
    }
}

/// Whether `candidate` meets every condition of `filter`.
pub fn matches(filter: &InstanceFilter, candidate: &Candidate) -> bool {
    let same = |wanted: &Option<_>, has: &Option<_>| wanted.is_none() || wanted == has;
    filter.labels.iter().all(|(key, value)| candidate.labels.get(key) == Some(value))
        && filter.selector.matches(&candidate.labels)
        && filter.source.as_ref().is_none_or(|source| candidate.sources.contains(source))
        && same(&filter.datacenter, &candidate.datacenter)
        && same(&filter.locality, &candidate.locality)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Health, SourceId, SourceKind},
        policy::testing::candidate,
    };

    #[test]
    fn every_condition_of_a_filter_must_hold() {
        let source = |name: &str| SourceId { kind: SourceKind::Consul, name: name.into() };
        let mut vm = candidate("vm", Health::Healthy);
        vm.labels = [("version", "v1"), ("tier", "web")].into_iter().collect();
        vm.sources = vec![source("vms")];
        vm.datacenter = Some("dc1".into());
        vm.locality = Some("a".into());
        let good = [
            InstanceFilter::default(),
            InstanceFilter { labels: [("version", "v1")].into_iter().collect(), ..InstanceFilter::default() },
            InstanceFilter {
                selector: "version in (v1, v2),tier".parse().unwrap(),
                ..InstanceFilter::default()
            },
            InstanceFilter {
                source: Some(source("vms")),
                datacenter: Some("dc1".into()),
                locality: Some("a".into()),
                ..InstanceFilter::default()
            },
        ];
        for filter in good {
            assert!(matches(&filter, &vm), "{filter:?}");
        }
        let bad = [
            InstanceFilter {
                labels: [("version", "v1"), ("tier", "db")].into_iter().collect(),
                ..InstanceFilter::default()
            },
            InstanceFilter { selector: "version=v2".parse().unwrap(), ..InstanceFilter::default() },
            InstanceFilter { source: Some(source("other")), ..InstanceFilter::default() },
            InstanceFilter { datacenter: Some("dc2".into()), ..InstanceFilter::default() },
            InstanceFilter { locality: Some("b".into()), ..InstanceFilter::default() },
        ];
        for filter in bad {
            assert!(!matches(&filter, &vm), "{filter:?}");
        }
    }
}
