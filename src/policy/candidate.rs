//! A candidate: one instance of a service after every source has been heard.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use crate::{
    config::InstanceFilter,
    model::{Health, Labels, Name, NamedPort, SourceId},
};

/// An instance as merged from all members that report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its label below the service's name; unique within the service.
    pub label: String,
    /// Further labels that name it too: those of its other reporters.
    pub aliases: Vec<String>,
    /// Where it is.
    pub target: CandidateTarget,
    /// Its main port; 0 where no source knows one.
    pub port: u16,
    /// Its named ports, sorted, each once.
    pub named_ports: Vec<NamedPort>,
    /// The worst health that any reporter gives it.
    pub health: Health,
    /// The lowest weight that any reporter gives it.
    pub weight: u16,
    /// The labels of all reporters.
    pub labels: Labels,
    /// Its availability zone, if a reporter knows it.
    pub locality: Option<Arc<str>>,
    /// Its Consul datacenter, if a reporter knows it.
    pub datacenter: Option<Arc<str>>,
    /// The sources that report it, sorted, each once.
    pub sources: Vec<SourceId>,
}

/// Where a candidate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateTarget {
    /// Its addresses, each list sorted, at least one of both not empty.
    Addresses {
        /// IPv4 addresses.
        v4: Vec<Ipv4Addr>,
        /// IPv6 addresses.
        v6: Vec<Ipv6Addr>,
    },
    /// A host name outside the namespace.
    Host(Name),
}

impl CandidateTarget {
    /// One of its addresses.
    pub fn first(&self) -> Option<IpAddr> {
        match self {
            Self::Addresses { v4, v6 } => {
                v4.first().map(|v4| IpAddr::V4(*v4)).or_else(|| v6.first().map(|v6| IpAddr::V6(*v6)))
            }
            Self::Host(_) => None,
        }
    }
}

/// Tells whether all that `filter` asks for holds of `candidate`.
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
    fn all_that_is_asked_for_must_hold() {
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
