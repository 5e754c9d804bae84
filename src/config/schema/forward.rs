//! `[forward]`: which resolvers other names are asked of.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use crate::model::Name;

/// One suffix and its upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardRule {
    /// Names at or below it go to these upstreams; the longest suffix wins.
    pub suffix: Name,
    /// Resolvers in order of preference, at least one.
    pub upstreams: Vec<UpstreamSpec>,
    /// Which of them is asked first.
    pub policy: ForwardPolicy,
    /// How long a client's question is worked on in all; then it gets SERVFAIL, or a stale answer.
    pub timeout: Duration,
    /// How often upstreams are asked for one question at most.
    pub tries: usize,
    /// Whether letters of names that are asked have random case, which answers must repeat (0x20).
    pub mixed_case: bool,
    /// PEM file of the authorities to trust, for upstreams over TLS and HTTPS, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl ForwardRule {
    /// How long a question is worked on where nothing is said: stub resolvers ask again after 5 seconds.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(4500);
    /// Tries for one question where nothing is said.
    pub const DEFAULT_TRIES: usize = 4;

    /// A suffix with its upstreams, all else as where nothing is said.
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

/// Which upstream is asked first; the others are for when it fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardPolicy {
    /// The first in the list that works.
    #[default]
    Sequential,
    /// Each in turn.
    RoundRobin,
    /// The one that has answered soonest of late.
    Fastest,
}

/// One resolver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamSpec {
    /// Over UDP, and over TCP what does not fit: `10.0.0.2`.
    Plain(SocketAddr),
    /// Over TCP only: `tcp://10.0.0.2`.
    Tcp(SocketAddr),
    /// Over TLS (RFC 7858): `tls://1.1.1.1#one.one.one.one`.
    Tls {
        /// Where it is.
        address: SocketAddr,
        /// The name or address that its certificate must have.
        name: String,
    },
    /// Over HTTPS (RFC 8484): `https://dns.example/dns-query#192.0.2.1`.
    Https {
        /// What queries are posted to.
        url: String,
        /// Where its host is; `None`: its name is looked up as the machine does.
        address: Option<SocketAddr>,
    },
    /// The `nameserver`s of a file such as `/etc/resolv.conf`, read again when it changes: `system`, or its path.
    ResolvConf(PathBuf),
}

impl UpstreamSpec {
    /// The file that `system` stands for.
    pub const SYSTEM: &str = "/etc/resolv.conf";
}

impl fmt::Display for UpstreamSpec {
    /// Writes it as it is written in the file, always with a port.
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
