//! The whole configuration, and `[listen]`.

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

/// The content of `muster.toml` and its zone files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The path of `muster.toml`; `None` for the bundled demo.
    pub path: Option<PathBuf>,
    /// The zone files, and folders of zone files. The default folder need not exist.
    pub zones: Vec<PathBuf>,
    /// Whether muster reloads when one of these files changes.
    pub watch_files: bool,
    /// The addresses to listen on.
    pub listen: Listen,
    /// Which clients are answered, and how often.
    pub access: AccessSettings,
    /// The folder for the last known good state; `None` to keep no state.
    pub state: Option<PathBuf>,
    /// How long a stale source's last state is served.
    pub max_stale: Duration,
    /// Consul sources, sorted by id.
    pub consul: Vec<ConsulSource>,
    /// Kubernetes sources, sorted by id.
    pub kubernetes: Vec<KubernetesSource>,
    /// Upstreams by suffix, sorted by suffix; empty if external names are REFUSED.
    pub forward: Vec<ForwardRule>,
    /// The locality of networks, for clients and instances whose source gives none. The longest
    /// prefix wins.
    pub localities: Vec<LocalityRule>,
    /// Networks whose reverse names (PTR) are answered from muster's own instances.
    pub reverse: Vec<Network>,
    /// The cache of forwarded answers.
    pub cache: CacheSettings,
    /// Namespaces, sorted by apex.
    pub namespaces: Vec<Namespace>,
}

impl Config {
    /// Default `max_stale`.
    pub const DEFAULT_MAX_STALE: Duration = Duration::from_secs(24 * 3600);
}

/// `[listen]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// UDP and TCP addresses for DNS, at least one; with port 0 the system chooses a port.
    pub dns: Vec<SocketAddr>,
    /// The address of the admin port; `None` to have no admin port.
    pub admin: Option<SocketAddr>,
    /// Names of this server that the admin port may be called by, besides addresses and names without a
    /// dot.
    pub admin_hosts: Vec<String>,
    /// How long to answer after SIGTERM, while the process reports that it is not ready.
    pub lameduck: Duration,
    /// UDP workers per address.
    pub workers: usize,
    /// CPUs to pin the UDP workers to, in turn; empty to let the kernel place them.
    pub cpus: Vec<usize>,
    /// How long a TCP connection may be idle (RFC 7766 section 6.2.3).
    pub tcp_idle: Duration,
    /// Most concurrent TCP connections, over all addresses.
    pub tcp_connections: usize,
    /// The answer to `version.bind` and `version.server` in class CH; `None` if they are REFUSED.
    pub version: Option<String>,
    /// Forwarders whose EDNS Client Subnet (RFC 7871) muster takes as the client's address.
    pub trusted_forwarders: Vec<Network>,
}

impl Listen {
    /// Default `dns`: for this machine only, on a port that needs no privilege.
    pub const DEFAULT_DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5300);
    /// Default `workers`: with one worker, answers rotate strictly over all clients.
    pub const DEFAULT_WORKERS: usize = 1;
    /// Default `tcp_idle`.
    pub const DEFAULT_TCP_IDLE: Duration = Duration::from_secs(10);
    /// Default `tcp_connections`.
    pub const DEFAULT_TCP_CONNECTIONS: usize = 1024;
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            dns: vec![Self::DEFAULT_DNS],
            admin: None,
            admin_hosts: Vec::new(),
            lameduck: Duration::ZERO,
            workers: Self::DEFAULT_WORKERS,
            cpus: Vec::new(),
            tcp_idle: Self::DEFAULT_TCP_IDLE,
            tcp_connections: Self::DEFAULT_TCP_CONNECTIONS,
            version: None,
            trusted_forwarders: Vec::new(),
        }
    }
}
