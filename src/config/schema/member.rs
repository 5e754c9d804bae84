//! One entry of a service's `from`: which source, and what to ask it for.

use std::sync::Arc;

use super::check::HealthCheck;
use crate::model::{Instance, Labels, Protocol, Selector, SourceId};

/// One entry of a service's `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRule {
    /// The source it names.
    pub source: SourceId,
    /// Labels that every instance of it gets, over its own.
    pub labels: Labels,
    /// The name of its instances' main port, for `_port._proto.svc.ns`, with its protocol.
    pub port_name: Option<(Arc<str>, Protocol)>,
    /// What to ask the source for.
    pub query: SourceQuery,
}

/// What a member asks its source for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceQuery {
    /// A Consul service.
    Consul(ConsulQuery),
    /// Pods, or the EndpointSlices of a Service.
    Kubernetes(KubernetesQuery),
    /// Instances from the file.
    Static(StaticMember),
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
    /// The datacenter to ask for; `None`: the source's.
    pub datacenter: Option<String>,
    /// The port to answer with instead of the registered one.
    pub port: Option<u16>,
}

/// `{ kubernetes = "eks", namespace = "my-apps", … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesQuery {
    /// The Kubernetes namespace.
    pub namespace: String,
    /// Which objects of it.
    pub objects: KubernetesObjects,
    /// Which port is the main one; `None`: the first that the object declares, if any.
    pub port: Option<PortRef>,
}

/// What a Kubernetes member follows.
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
    /// The instances, at least one; healthy where there is no check, else of unknown health.
    pub instances: Vec<Instance>,
    /// How they are probed; `None`: they count as healthy.
    pub check: Option<HealthCheck>,
}
