//! `muster.toml`: what the server as a whole does, and where it listens.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::{
    access::AccessSettings,
    cache::CacheSettings,
    forward::ForwardRule,
    locality::LocalityRule,
    namespace::Namespace,
    sources::{ConsulSource, KubernetesSource},
};
use crate::model::Network;

/// Everything that `muster.toml` and its zone files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it came from; `None` for the bundled demo.
    pub path: Option<PathBuf>,
    /// Where its zone files are: files, and folders of them, of which the default one need not exist.
    pub zones: Vec<PathBuf>,
    /// Whether changes of these files are looked for and applied.
    pub watch_files: bool,
    /// Where and how to listen.
    pub listen: Listen,
    /// Who may ask, and how much.
    pub access: AccessSettings,
    /// Where the last known good is kept; `None`: not kept.
    pub state: Option<PathBuf>,
    /// How long a lost source's last word is answered from.
    pub max_stale: Duration,
    /// Consul sources, in the order of their names.
    pub consul: Vec<ConsulSource>,
    /// Kubernetes sources, in the order of their names.
    pub kubernetes: Vec<KubernetesSource>,
    /// Upstreams by suffix, in the order of the suffixes; empty: other names are REFUSED.
    pub forward: Vec<ForwardRule>,
    /// Where networks are, for clients and instances whose source does not say it; the longest prefix wins.
    pub localities: Vec<LocalityRule>,
    /// Networks whose reverse names (PTR) are answered from our own instances.
    pub reverse: Vec<Network>,
    /// What of forwarded answers is kept.
    pub cache: CacheSettings,
    /// Namespaces, in the order of their apexes.
    pub namespaces: Vec<Namespace>,
}

impl Config {
    /// How long a lost source's last word is answered from where nothing is said.
    pub const DEFAULT_MAX_STALE: Duration = Duration::from_secs(24 * 3600);
}

/// `[listen]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// UDP and TCP addresses to answer on, at least one; port 0 lets the system choose one.
    pub dns: Vec<SocketAddr>,
    /// The admin port; `None`: no admin port.
    pub admin: Option<SocketAddr>,
    /// UDP workers for each address.
    pub workers: usize,
    /// CPUs that UDP workers are pinned to, in turn; empty: the kernel places them.
    pub cpus: Vec<usize>,
    /// How long a TCP connection may stay silent (RFC 7766 section 6.2.3).
    pub tcp_idle: Duration,
    /// TCP connections at one time, over all addresses.
    pub tcp_connections: usize,
    /// What `version.bind` and `version.server` in class CH are answered with; `None`: REFUSED.
    pub version: Option<String>,
    /// Forwarders whose EDNS Client Subnet (RFC 7871) says who asks.
    pub trusted_forwarders: Vec<Network>,
}

impl Listen {
    /// Where DNS is answered where nothing is said: for this machine only, on a port that needs no privilege.
    pub const DEFAULT_DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5300);
    /// UDP workers for each address where nothing is said: with one worker rotation is strict whoever asks.
    pub const DEFAULT_WORKERS: usize = 1;
    /// How long a silent TCP connection is kept where nothing is said.
    pub const DEFAULT_TCP_IDLE: Duration = Duration::from_secs(10);
    /// TCP connections at one time where nothing is said.
    pub const DEFAULT_TCP_CONNECTIONS: usize = 1024;
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            dns: vec![Self::DEFAULT_DNS],
            admin: None,
            workers: Self::DEFAULT_WORKERS,
            cpus: Vec::new(),
            tcp_idle: Self::DEFAULT_TCP_IDLE,
            tcp_connections: Self::DEFAULT_TCP_CONNECTIONS,
            version: None,
            trusted_forwarders: Vec::new(),
        }
    }
}
