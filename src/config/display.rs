//! Routes and what belongs to them, for people.

use std::fmt;

use super::routing::{Amount, Clients, Filter};
use crate::model::Labels;

impl fmt::Display for Filter {
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

impl fmt::Display for Clients {
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

impl fmt::Display for Amount {
    /// Writes it as it is configured: `2`, `50%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => f.pad(&count.to_string()),
            Self::Percent(percent) => f.pad(&format!("{percent}%")),
        }
    }
}

fn pairs(labels: &Labels) -> Vec<String> {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect()
}
