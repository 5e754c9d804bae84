//! An instance: one address and port of a service, as one source reports it.

use std::{fmt, net::IpAddr, sync::Arc, time::Instant};

use super::{Health, HoldReason, Labels, Name};

/// An address and port of a service, as one source reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The source's id for it; unique within the member that reports it.
    pub id: Arc<str>,
    /// Its addresses or host name.
    pub target: Target,
    /// Its main port, which SRV answers for the service have; 0 if the source knows none.
    pub port: u16,
    /// Its named ports, for `_port._proto.svc.ns`; may or may not include `port`.
    pub named_ports: Arc<[NamedPort]>,
    /// Its health.
    pub health: Health,
    /// The check or condition that decided its health, as the source words it.
    pub reason: Option<Arc<str>>,
    /// Its share among its peers; 0 gets nothing while another one has more.
    pub weight: u16,
    /// Pod labels, Consul meta and tags, and labels from the configuration, together.
    pub labels: Labels,
    /// Its availability zone.
    pub locality: Option<Arc<str>>,
    /// Its Consul datacenter.
    pub datacenter: Option<Arc<str>>,
    /// The Kubernetes namespace of its pod.
    pub kube_namespace: Option<Arc<str>>,
    /// Whether other instances may have its address, as pods in their host's network do; such an
    /// address identifies no client.
    pub shares_address: bool,
    /// Why it is not as its source says; `None` if it is.
    pub held: Option<Arc<Held>>,
}

/// Why an instance is not answered as its source says, and what the source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Why it is held.
    pub why: HoldReason,
    /// Until when, unless the source says something else before; `None` if that is not known.
    pub until: Option<Instant>,
    /// The source's last word; `None`: it no longer reports the instance.
    pub word: Option<Instance>,
}

impl Instance {
    /// The weight of an instance whose source reports none.
    pub const DEFAULT_WEIGHT: u16 = 1;

    /// Makes an instance with an address and a port; its health is unknown.
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
            held: None,
        }
    }

    /// The instance with IPv4-mapped addresses (RFC 4291 section 2.5.5.2) as IPv4.
    #[must_use]
    pub fn with_plain_ipv4(mut self) -> Self {
        if let Target::Addresses(addresses) = &mut self.target {
            addresses.iter_mut().for_each(|address| *address = address.to_canonical());
        }
        self
    }

    /// Its addresses; none if it has a host name.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let addresses: &[IpAddr] = match &self.target {
            Target::Addresses(addresses) => addresses,
            Target::Host(_) => &[],
        };
        addresses.iter().copied()
    }

    /// The instance as its source reports it; `None` if the source no longer does.
    #[must_use]
    pub fn source_word(&self) -> Option<&Self> {
        match &self.held {
            Some(held) => held.word.as_ref(),
            None => Some(self),
        }
    }

    /// The instance, held.
    #[must_use]
    pub fn held(self, held: Held) -> Self {
        Self { held: Some(Arc::new(held)), ..self }
    }
}

/// The addresses or host name of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// At least one address; a dual-stack instance has one of v4 and one of v6.
    Addresses(Box<[IpAddr]>),
    /// A host name outside the namespace; answered as a CNAME.
    Host(Name),
}

/// A named port, such as a container port of a pod.
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
    /// Its label in the owner name of an SRV record, without the underscore (RFC 2782).
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
