//! Filters: which of a service's instances, and which clients.

use std::{fmt, sync::Arc};

use crate::model::{Labels, Name, Network, Selector, SourceId};

/// Which of a service's instances are meant: those that match every key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceFilter {
    /// Labels that the instance must all have, with these values.
    pub labels: Labels,
    /// A selector that the instance's labels must match; empty for any.
    pub selector: Selector,
    /// The source that must report the instance; `None` for any.
    pub source: Option<SourceId>,
    /// The Consul datacenter; `None` for any.
    pub datacenter: Option<Arc<str>>,
    /// The availability zone; `None` for any.
    pub locality: Option<Arc<str>>,
}

impl InstanceFilter {
    /// Whether every instance matches.
    pub fn matches_all(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for InstanceFilter {
    /// Writes `version=v2, from consul.vms, datacenter dc2`, or `all instances`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = pairs(&self.labels);
        if !self.selector.is_empty() {
            parts.push(self.selector.to_string());
        }
        parts.extend(self.source.as_ref().map(|source| format!("from {source}")));
        parts.extend(self.datacenter.as_ref().map(|datacenter| format!("datacenter {datacenter}")));
        parts.extend(self.locality.as_ref().map(|locality| format!("zone {locality}")));
        f.pad(if parts.is_empty() { "all instances".to_owned() } else { parts.join(", ") }.as_str())
    }
}

/// `clients = { … }`: the clients that match every key; at least one key is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientFilter {
    /// The service that the client is an instance of; `None` for any.
    pub service: Option<Name>,
    /// Labels that the client must all have, with these values.
    pub labels: Labels,
    /// Networks of which one must have the client's address; empty for any.
    pub networks: Vec<Network>,
    /// The availability zone; `None` for any.
    pub locality: Option<Arc<str>>,
    /// The Kubernetes namespace of the client's pod; `None` for any.
    pub kube_namespace: Option<Arc<str>>,
}

impl fmt::Display for ClientFilter {
    /// Writes `web.shop, version=v1, in 10.0.0.0/8, zone a, Kubernetes namespace shop`.
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
