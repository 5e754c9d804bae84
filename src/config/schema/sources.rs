//! `[consul.NAME]` and `[kubernetes.NAME]`: where instances come from.

use std::{path::PathBuf, time::Duration};

use crate::model::SourceId;

/// `[consul.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsulSource {
    /// The source's id.
    pub id: SourceId,
    /// The agent's or server's base URL, without a slash at the end.
    pub address: String,
    /// The datacenter to ask for; `None`: the agent's own.
    pub datacenter: Option<String>,
    /// A file with the ACL token; read anew for every connection attempt.
    pub token_file: Option<PathBuf>,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files of the certificate to show and its key (mTLS).
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// `wait` of blocking queries (Consul allows at most 10 minutes).
    pub wait: Duration,
    /// Connections at one time.
    pub max_connections: usize,
    /// Whether any server may answer, not only the leader.
    pub stale: bool,
    /// How far behind the leader a stale answer may be.
    pub max_lag: Duration,
}

impl ConsulSource {
    /// Where Consul is where nothing is said: an agent on this machine.
    pub const DEFAULT_ADDRESS: &str = "http://127.0.0.1:8500";
    /// `wait` where nothing is said: Consul's own default.
    pub const DEFAULT_WAIT: Duration = Duration::from_secs(300);
    /// Longest `wait` that Consul honours.
    pub const MAX_WAIT: Duration = Duration::from_secs(600);
    /// Connections at one time where nothing is said: Consul closes what one client address opens beyond its
    /// `http_max_conns_per_client`, 200 by default, and other programs on the same host count as well.
    pub const DEFAULT_MAX_CONNECTIONS: usize = 128;
    /// Lag allowed where nothing is said.
    pub const DEFAULT_MAX_LAG: Duration = Duration::from_secs(10);
}

/// `[kubernetes.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSource {
    /// The source's id.
    pub id: SourceId,
    /// The kubeconfig file; `None`: the in-cluster service account.
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context; `None`: its current one.
    pub context: Option<String>,
    /// Whether all pods of the cluster are followed, so that routes know who asks.
    pub identify_clients: bool,
}
