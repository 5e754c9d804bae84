//! `check = { … }`: how static instances are probed.

use std::time::Duration;

/// `check = { … }`: how instances are probed.
///
/// Defaults and limits are those of Route 53's health checks:
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-creating-values.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is tried.
    pub kind: CheckKind,
    /// Time from one probe's start to the next one's.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Successes in a row that make an unhealthy instance healthy. The first result decides alone, at once.
    pub rise: u32,
    /// Failures in a row that make a healthy instance unhealthy. The first result decides alone, at once.
    pub fall: u32,
    /// The port to probe; `None`: the instance's.
    pub port: Option<u16>,
}

impl HealthCheck {
    /// Time between probes where nothing is said: Route 53's standard interval.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
    /// Shortest time between probes.
    pub const MIN_INTERVAL: Duration = Duration::from_millis(100);
    /// Successes and failures in a row where nothing is said: Route 53's failure threshold.
    pub const DEFAULT_THRESHOLD: u32 = 3;
    /// Most successes or failures in a row that can be asked for, as in Route 53.
    pub const MAX_THRESHOLD: u32 = 10;
    /// How long a TCP connection may take in Route 53, and the default `timeout`.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4);
}

/// What a probe tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// That a TCP connection opens: `tcp = true`.
    Tcp,
    /// That a GET is answered as expected: `http = "/path"`.
    Http(HttpCheck),
}

/// What an HTTP probe sends and expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// The path, with a slash at the beginning.
    pub path: String,
    /// The `Host` header; `None`: the instance's address and port.
    pub host: Option<String>,
    /// The status codes that pass, as an inclusive range; Route 53's is 200 to 399.
    pub status: (u16, u16),
    /// A text that must be within the first 5,120 bytes of the body, as in Route 53.
    pub body: Option<String>,
}

impl HttpCheck {
    /// Status codes that pass where nothing is said.
    pub const DEFAULT_STATUS: (u16, u16) = (200, 399);
    /// How much of a body is searched, in bytes.
    pub const BODY_LIMIT: usize = 5120;
}
