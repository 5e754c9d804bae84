//! Which instances and which clients are meant.

use std::{fmt, sync::Arc};

use crate::model::{Labels, Name, Network, Selector, SourceId};

/// Which of a service's instances are meant; what is left out does not narrow it, and all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceFilter {
    /// Labels that an instance must all have, with these values.
    pub labels: Labels,
    /// A selector that its labels must match.
    pub selector: Selector,
    /// A source that must report it.
    pub source: Option<SourceId>,
    /// Its Consul datacenter.
    pub datacenter: Option<Arc<str>>,
    /// Its availability zone.
    pub locality: Option<Arc<str>>,
}

impl InstanceFilter {
    /// Whether every instance matches.
    pub fn matches_all(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for InstanceFilter {
    /// Writes `version=v2, of consul.vms, datacenter dc2`; `all instances` where nothing narrows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = pairs(&self.labels);
        if !self.selector.is_empty() {
            parts.push(self.selector.to_string());
        }
        parts.extend(self.source.as_ref().map(|source| format!("of {source}")));
        parts.extend(self.datacenter.as_ref().map(|datacenter| format!("datacenter {datacenter}")));
        parts.extend(self.locality.as_ref().map(|locality| format!("zone {locality}")));
        f.pad(if parts.is_empty() { "all instances".to_owned() } else { parts.join(", ") }.as_str())
    }
}

/// `clients = { … }`: who asks; all that is given must hold, and at least one thing is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientFilter {
    /// The service that the asker is an instance of.
    pub service: Option<Name>,
    /// Labels that the asker must all have, with these values.
    pub labels: Labels,
    /// Networks of which one must hold its address; empty: any.
    pub networks: Vec<Network>,
    /// Its availability zone.
    pub locality: Option<Arc<str>>,
    /// The Kubernetes namespace that its pod is in.
    pub kube_namespace: Option<Arc<str>>,
}

impl fmt::Display for ClientFilter {
    /// Writes `magnanimo.shop, version=v1, in 10.0.0.0/8, zone a, Kubernetes namespace shop`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.service.iter().map(ToString::to_string).collect();
        parts.extend(pairs(&self.labels));
        let networks: Vec<_> = self.networks.iter().map(ToString::to_string).collect();
        if !networks.is_empty() {
            parts.push(format!("in {}", networks.join(" or ")));
        }
        parts.extend(self.locality.as_ref().map(|locality| format!("zone {locality}")));
        parts.extend(
            self.kube_namespace.as_ref().map(|namespace| format!("Kubernetes namespace {namespace}")),
        );
        f.pad(&parts.join(", "))
    }
}

fn pairs(labels: &Labels) -> Vec<String> {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect()
}
