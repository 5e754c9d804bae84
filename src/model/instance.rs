//! An instance: one address and port of a service, as one source reports it.

use std::{fmt, net::IpAddr, sync::Arc};

use super::{Health, Labels, Name};

/// One running copy of a service, as one source reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// What the source calls it; unique within the member that reports it.
    pub id: Arc<str>,
    /// Where it is.
    pub target: Target,
    /// Its main port, which `svc.ns` SRV answers with; 0 where the source knows none.
    pub port: u16,
    /// Its ports that have names, for `_port._proto.svc.ns`; may or may not repeat `port`.
    pub named_ports: Arc<[NamedPort]>,
    /// How fit it is.
    pub health: Health,
    /// The check or condition that decided its health, in the source's words.
    pub reason: Option<Arc<str>>,
    /// Its share among its peers: 0 gets nothing while another has more.
    pub weight: u16,
    /// Pod labels, Consul meta and tags, labels from configuration: one vocabulary.
    pub labels: Labels,
    /// Its availability zone.
    pub locality: Option<Arc<str>>,
    /// Its Consul datacenter.
    pub datacenter: Option<Arc<str>>,
    /// The Kubernetes namespace of its pod.
    pub kube_namespace: Option<Arc<str>>,
    /// Whether others have its address too, as pods in their host's network do: then the address does not tell who asks.
    pub shares_address: bool,
}

impl Instance {
    /// The weight of an instance that nobody gave one.
    pub const DEFAULT_WEIGHT: u16 = 1;

    /// Makes an instance with an address, a port and nothing else known, of unknown health.
    pub fn at(id: &str, address: IpAddr, port: u16) -> Self {
        Self {
            id: id.into(),
            target: Target::Addresses([address].into()),
            port,
            named_ports: Arc::default(),
            health: Health::Unknown,
            reason: None,
            weight: Self::DEFAULT_WEIGHT,
            labels: Labels::default(),
            locality: None,
            datacenter: None,
            kube_namespace: None,
            shares_address: false,
        }
    }

    /// Its addresses; none if it is given by a host name.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let addresses: &[IpAddr] = match &self.target {
            Target::Addresses(addresses) => addresses,
            Target::Host(_) => &[],
        };
        addresses.iter().copied()
    }
}

/// Where an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Its addresses, at least one: of a dual-stack instance one v4 and one v6.
    Addresses(Box<[IpAddr]>),
    /// A host name outside the namespace; answered as a CNAME.
    Host(Name),
}

/// A port with a name, such as a container port of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamedPort {
    /// The name, lower case, without the underscore.
    pub name: Arc<str>,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The port's number.
    pub port: u16,
}

/// A transport protocol, as in `_http._tcp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The label that stands for it in an SRV owner name, without the underscore (RFC 2782).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
