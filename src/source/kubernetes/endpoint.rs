//! Endpoints: what muster keeps of a pod or of an EndpointSlice's entry.

use std::sync::Arc;

use crate::{
    config::{PortRef, SourceQuery},
    model::{Health, Instance, Labels, NamedPort, Protocol, Target},
    source::{FollowedMember, interner::Interner},
};

/// An instance, except for its main port, which differs between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) id: Arc<str>,
    pub(super) target: Target,
    pub(super) ports: Ports,
    /// Ports at which the endpoint is less healthy. EndpointSlices can have them, pods cannot.
    pub(super) other_ports: Box<[OtherPorts]>,
    pub(super) health: Health,
    pub(super) reason: Option<Arc<str>>,
    pub(super) weight: u16,
    pub(super) labels: Labels,
    /// The node of the pod.
    pub(super) node: Option<Arc<str>>,
    pub(super) zone: Option<Arc<str>>,
    /// The namespace of the pod; `None`: no pod stands behind the endpoint.
    pub(super) namespace: Option<Arc<str>>,
    /// Whether the pod is in its node's network and shares the node's address.
    pub(super) shares_address: bool,
}

impl Endpoint {
    /// Makes a member's instance.
    ///
    /// An endpoint without the port that the member names is unhealthy: nothing listens on it. A
    /// Service sends nothing to such a pod either; here the instance stays visible, with the
    /// reason.
    pub(super) fn instance(&self, followed: &FollowedMember) -> Instance {
        let wanted = match &followed.rule.query {
            SourceQuery::Kubernetes(query) => query.port.as_ref(),
            _ => None,
        };
        let other = wanted
            .filter(|wanted| !self.ports.have(wanted))
            .and_then(|wanted| self.other_ports.iter().find(|other| other.ports.have(wanted)));
        let (ports, health, reason) = match other {
            Some(OtherPorts { ports, health, reason }) => (ports, *health, reason),
            None => (&self.ports, self.health, &self.reason),
        };
        let port = ports.main(wanted);
        let (health, reason) = match (wanted, port) {
            (Some(PortRef::Name(name)), None) if health < Health::Unhealthy => {
                (Health::Unhealthy, Some(format!("no port named \"{name}\"").into()))
            }
            _ => (health, reason.clone()),
        };
        followed.apply_rule(Instance {
            id: Arc::clone(&self.id),
            target: self.target.clone(),
            port: port.unwrap_or_default(),
            named_ports: Arc::clone(&ports.named),
            health,
            reason,
            weight: self.weight,
            labels: self.labels.clone(),
            locality: self.zone.clone(),
            datacenter: None,
            kube_namespace: self.namespace.clone(),
            shares_address: self.shares_address,
            held: None,
        })
    }
}

/// Ports of an endpoint with a health of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OtherPorts {
    pub(super) ports: Ports,
    pub(super) health: Health,
    pub(super) reason: Option<Arc<str>>,
}

/// The TCP and UDP ports of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    /// The first port, named or not; 0: there is none.
    pub(super) first: u16,
    /// The named ports, in the object's order.
    pub(super) named: Arc<[NamedPort]>,
}

impl Ports {
    /// Collects ports from the API's (name, protocol, number). Ports that are neither TCP nor UDP
    /// are left out.
    pub(super) fn collect<'a>(
        ports: impl Iterator<Item = (Option<&'a str>, Option<&'a str>, Option<i64>)>,
    ) -> Self {
        let mut first = 0;
        let mut named = Vec::new();
        for (name, protocol, number) in ports {
            let protocol = match protocol {
                None | Some("TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some(_) => continue,
            };
            let Some(port @ 1..) = number.and_then(|number| u16::try_from(number).ok()) else { continue };
            if first == 0 {
                first = port;
            }
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                let port = NamedPort { name: name.to_ascii_lowercase().into(), protocol, port };
                if !named.contains(&port) {
                    named.push(port);
                }
            }
        }
        Self { first, named: named.into() }
    }

    /// Returns all of these ports together; the first one is that of the first which has any.
    pub(super) fn union<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let mut union = Self::default();
        for ports in all {
            if union == Self::default() {
                union = ports.clone();
                continue;
            }
            let new = ports.named.iter().filter(|port| !union.named.contains(port));
            union.named = union.named.iter().chain(new).cloned().collect();
            if union.first == 0 {
                union.first = ports.first;
            }
        }
        union
    }

    /// Whether `wanted` is one of these ports.
    fn have(&self, wanted: &PortRef) -> bool {
        match wanted {
            PortRef::Number(number) => {
                self.first == *number || self.named.iter().any(|port| port.port == *number)
            }
            PortRef::Name(_) => self.main(Some(wanted)).is_some(),
        }
    }

    /// Returns the port that `wanted` selects; `None` when no port has that name.
    fn main(&self, wanted: Option<&PortRef>) -> Option<u16> {
        match wanted {
            None => Some(self.first),
            Some(PortRef::Number(number)) => Some(*number),
            Some(PortRef::Name(name)) => {
                let named = self.named.iter().find(|port| port.name.eq_ignore_ascii_case(name))?;
                Some(named.port)
            }
        }
    }
}

/// Lets endpoints share equal parts: the pods of one ReplicaSet differ in little.
#[derive(Debug, Default)]
pub(super) struct EndpointInterner {
    texts: Interner<Arc<str>>,
    labels: Interner<Labels>,
    ports: Interner<Arc<[NamedPort]>>,
}

impl EndpointInterner {
    /// Replaces the parts of `endpoint` by equal ones seen before.
    pub(super) fn share(&mut self, endpoint: &mut Endpoint) {
        let Endpoint { reason, node, zone, namespace, .. } = endpoint;
        for text in [reason, node, zone, namespace].into_iter().flatten() {
            self.texts.share(text);
        }
        self.labels.share(&mut endpoint.labels);
        self.ports.share(&mut endpoint.ports.named);
        for other in &mut endpoint.other_ports {
            self.ports.share(&mut other.ports.named);
        }
    }
}

/// A member that selects pods, for tests.
#[cfg(test)]
pub(super) fn member(port: Option<PortRef>) -> FollowedMember {
    use crate::{
        config::{GuardRule, KubernetesObjects, KubernetesQuery, MemberRule},
        model::{Member, SourceId, SourceKind},
    };
    let source = SourceId { kind: SourceKind::Kubernetes, name: "eks".into() };
    let objects = KubernetesObjects::Pods("app=web".parse().unwrap());
    let query = KubernetesQuery { namespace: "shop".to_owned(), objects, port };
    FollowedMember {
        member: Member { service: "web.test".parse().unwrap(), source: source.clone(), place: 0 },
        rule: MemberRule {
            source,
            labels: Labels::default(),
            port_name: None,
            guard: GuardRule::default(),
            query: SourceQuery::Kubernetes(query),
        },
    }
}
