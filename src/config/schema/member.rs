//! One entry of a service's `from`: which source, and which of its instances.

use std::{fmt, sync::Arc};

use super::{check::HealthCheck, guard::GuardRule};
use crate::model::{Instance, Labels, Protocol, Selector, SourceId};

/// One entry of a service's `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRule {
    /// The source.
    pub source: SourceId,
    /// Labels for all instances; they override an instance's own.
    pub labels: Labels,
    /// The name and protocol of the instances' main port, for `_port._proto.svc.ns`.
    pub port_name: Option<(Arc<str>, Protocol)>,
    /// How far the source's word is followed, where that differs from the source's own rule.
    pub guard: GuardRule,
    /// Which of the source's instances.
    pub query: SourceQuery,
}

/// Which of a source's instances a member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceQuery {
    /// Those of a Consul service.
    Consul(ConsulQuery),
    /// Those of pods, or of a Service's EndpointSlices.
    Kubernetes(KubernetesQuery),
    /// Those in the file.
    Static(StaticMember),
}

impl fmt::Display for SourceQuery {
    /// Writes what muster queries the source for, such as `service "nginx"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consul(query) => write!(f, "{query}"),
            Self::Kubernetes(query) => write!(f, "{query}"),
            Self::Static(_) => f.write_str("in the zone file"),
        }
    }
}

/// `{ consul = "vms", service = "nginx", … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsulQuery {
    /// The service's name in Consul.
    pub service: String,
    /// Tags that an instance must all have.
    pub tags: Vec<String>,
    /// A filter expression, which Consul evaluates.
    pub filter: Option<String>,
    /// The datacenter to query; `None` for the source's.
    pub datacenter: Option<String>,
    /// A port that replaces the registered one.
    pub port: Option<u16>,
}

impl fmt::Display for ConsulQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service {:?}", self.service)?;
        if !self.tags.is_empty() {
            write!(f, ", tags {}", self.tags.join(" and "))?;
        }
        if let Some(filter) = &self.filter {
            write!(f, ", filter {filter}")?;
        }
        if let Some(datacenter) = &self.datacenter {
            write!(f, ", datacenter {datacenter}")?;
        }
        Ok(())
    }
}

/// `{ kubernetes = "eks", namespace = "my-apps", … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesQuery {
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The objects to watch.
    pub objects: KubernetesObjects,
    /// The main port; `None` for the first that the object declares, if any.
    pub port: Option<PortRef>,
}

impl fmt::Display for KubernetesQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.objects {
            KubernetesObjects::Pods(selector) => write!(f, "pods {selector}")?,
            KubernetesObjects::Service(service) => write!(f, "Service {service}")?,
        }
        write!(f, " in {}", self.namespace)
    }
}

/// The objects that a Kubernetes member watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesObjects {
    /// Pods, by their labels: `selector = "app=nginx"`.
    Pods(Selector),
    /// The EndpointSlices of a Service: `service = "nginx"`.
    Service(String),
}

/// A port by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortRef {
    /// `port = 80`.
    Number(u16),
    /// `port = "http"`.
    Name(String),
}

/// `{ static = [...], check = { … } }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMember {
    /// The instances, at least one; healthy without a check, of unknown health with one.
    pub instances: Vec<Instance>,
    /// How muster probes them; `None` if it does not.
    pub check: Option<HealthCheck>,
}
