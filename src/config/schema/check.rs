//! `check = { … }`: how static instances are probed.

use std::{path::PathBuf, time::Duration};

/// `check = { … }`: how instances are probed.
///
/// Defaults and limits are those of Route 53's health checks:
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-creating-values.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What a probe does.
    pub kind: CheckKind,
    /// Time from the start of one probe to the start of the next.
    pub interval: Duration,
    /// Time limit of one probe.
    pub timeout: Duration,
    /// Successes in a row that make an unhealthy instance healthy. The first probe decides alone.
    pub rise: u32,
    /// Failures in a row that make a healthy instance unhealthy. The first probe decides alone.
    pub fall: u32,
    /// The port to probe; `None` for the instance's.
    pub port: Option<u16>,
}

impl HealthCheck {
    /// Default `interval`: Route 53's standard interval.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
    /// Shortest `interval`.
    pub const MIN_INTERVAL: Duration = Duration::from_millis(100);
    /// Default `rise` and `fall`: Route 53's failure threshold.
    pub const DEFAULT_THRESHOLD: u32 = 3;
    /// Highest `rise` and `fall`, as in Route 53.
    pub const MAX_THRESHOLD: u32 = 10;
    /// Default `timeout`: Route 53's limit for a TCP connection.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4);
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Opens a TCP connection: `tcp = true`.
    Tcp,
    /// Sends a GET request: `http = "/path"` or `https = "/path"`.
    Http(HttpCheck),
}

/// An HTTP probe: the request, and the expected response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// The path, which starts with a slash.
    pub path: String,
    /// How the connection is secured: `https = "/path"`. `None` for plain HTTP.
    pub tls: Option<TlsCheck>,
    /// The `Host` header, and with TLS the server's name; `None` for the instance's address and port.
    pub host: Option<String>,
    /// The status codes that pass, as an inclusive range.
    pub status: (u16, u16),
    /// A text that must be within the first [`BODY_LIMIT`](Self::BODY_LIMIT) bytes of the body.
    pub body: Option<String>,
}

/// The certificates that an HTTPS probe accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsCheck {
    /// Any certificate will do, as in Route 53:
    /// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html>
    AnyCertificate,
    /// It must be valid for the server's name.
    Verified {
        /// PEM file of the authorities to trust; `None` for the system's.
        ca_file: Option<PathBuf>,
        /// How long it must still be valid.
        valid_for: Duration,
    },
}

impl HttpCheck {
    /// Default `status`, as in Route 53.
    pub const DEFAULT_STATUS: (u16, u16) = (200, 399);
    /// How many bytes of a body are searched, as in Route 53.
    pub const BODY_LIMIT: usize = 5120;
}
