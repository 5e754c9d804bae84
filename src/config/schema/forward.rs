//! `[forward]`: which upstreams external names are forwarded to.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use crate::model::Name;

/// One suffix and its upstreams, a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardRule {
    /// Names at or below the suffix go to these upstreams; the longest suffix wins.
    pub suffix: Name,
    /// Upstreams in order of preference, at least one.
    pub upstreams: Vec<UpstreamSpec>,
    /// Which of them is queried first.
    pub policy: ForwardPolicy,
    /// Time limit for a client query, over all tries; then the client gets SERVFAIL or a stale
    /// answer.
    pub timeout: Duration,
    /// Most upstream queries for one client query.
    pub tries: usize,
    /// Whether queries have random letter case, which the response must repeat (0x20).
    pub mixed_case: bool,
    /// A PEM file of certificate authorities to trust instead of the system's, for TLS and HTTPS.
    pub ca_file: Option<PathBuf>,
}

impl ForwardRule {
    /// Default `timeout`: stub resolvers retry after 5 seconds.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(4500);
    /// Default `tries`.
    pub const DEFAULT_TRIES: usize = 4;

    /// A rule with defaults for everything else.
    pub fn new(suffix: Name, upstreams: Vec<UpstreamSpec>) -> Self {
        Self {
            suffix,
            upstreams,
            policy: ForwardPolicy::default(),
            timeout: Self::DEFAULT_TIMEOUT,
            tries: Self::DEFAULT_TRIES,
            mixed_case: false,
            ca_file: None,
        }
    }
}

/// Which upstream is queried first; the others are used if it fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardPolicy {
    /// The first in the list that is not down.
    #[default]
    Sequential,
    /// Each in turn.
    RoundRobin,
    /// The one with the lowest response time of late.
    Fastest,
}

/// How to reach one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamSpec {
    /// UDP, with TCP for what does not fit: `10.0.0.2`.
    Plain(SocketAddr),
    /// TCP only: `tcp://10.0.0.2`.
    Tcp(SocketAddr),
    /// DNS over TLS (RFC 7858): `tls://1.1.1.1#one.one.one.one`.
    Tls {
        /// Address and port.
        address: SocketAddr,
        /// The name or address that the certificate must be for.
        name: String,
    },
    /// DNS over HTTPS (RFC 8484): `https://dns.example/dns-query#192.0.2.1`.
    Https {
        /// The URL that queries are posted to.
        url: String,
        /// The address of the URL's host; `None` to resolve it as the machine does.
        address: Option<SocketAddr>,
    },
    /// The `nameserver`s of a file, read again when it changes: `system`, or the file's path.
    ResolvConf(PathBuf),
}

impl UpstreamSpec {
    /// The file that `system` stands for.
    pub const SYSTEM: &str = "/etc/resolv.conf";
}

impl fmt::Display for UpstreamSpec {
    /// Writes the upstream as in the configuration, always with a port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(address) => write!(f, "{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls { address, name } => write!(f, "tls://{address}#{name}"),
            Self::Https { url, address: Some(address) } => write!(f, "{url}#{}", address.ip()),
            Self::Https { url, address: None } => f.write_str(url),
            Self::ResolvConf(path) if path.as_os_str() == Self::SYSTEM => f.write_str("system"),
            Self::ResolvConf(path) => write!(f, "{}", path.display()),
        }
    }
}
