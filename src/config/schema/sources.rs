//! `[consul.NAME]` and `[kubernetes.NAME]`: where instances come from.

use std::{path::PathBuf, time::Duration};

use super::guard::GuardRule;
use crate::model::SourceId;

/// `[consul.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsulSource {
    /// Kind and name.
    pub id: SourceId,
    /// The base URL of an agent or server, without a slash at the end; or `unix://` and the absolute
    /// path of the agent's socket.
    pub address: String,
    /// The datacenter to query; `None` for the agent's own.
    pub datacenter: Option<String>,
    /// A file with the ACL token, read for each connection attempt.
    pub token_file: Option<PathBuf>,
    /// A PEM file of certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The DNS name that Consul's certificate must have; `None` for the host of `address`.
    pub server_name: Option<String>,
    /// PEM files of the client certificate and its key (mTLS).
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The `wait` parameter of blocking queries.
    pub wait: Duration,
    /// Most concurrent connections.
    pub max_connections: usize,
    /// Whether servers other than the leader may answer.
    pub stale: bool,
    /// How far behind the leader such an answer may be.
    pub max_lag: Duration,
    /// How far its word is followed, where a member says nothing else.
    pub guard: GuardRule,
}

impl ConsulSource {
    /// Default `address`: an agent on this machine.
    pub const DEFAULT_ADDRESS: &str = "http://127.0.0.1:8500";
    /// Default `wait`, which is Consul's own.
    pub const DEFAULT_WAIT: Duration = Duration::from_secs(300);
    /// Longest `wait`: Consul cuts longer ones to this.
    pub const MAX_WAIT: Duration = Duration::from_secs(600);
    /// Default `max_connections`. Consul closes a client address's connections beyond
    /// `http_max_conns_per_client`, 200 by default, and other programs on the host count as well.
    pub const DEFAULT_MAX_CONNECTIONS: usize = 128;
    /// Default `max_lag`.
    pub const DEFAULT_MAX_LAG: Duration = Duration::from_secs(10);
}

/// `[kubernetes.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSource {
    /// Kind and name.
    pub id: SourceId,
    /// The kubeconfig file; `None` for the in-cluster service account.
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; `None` for its current one.
    pub context: Option<String>,
    /// Whether muster watches all pods of the cluster, so that routes can tell clients by their
    /// pods.
    pub identify_clients: bool,
    /// As of [`ConsulSource`].
    pub guard: GuardRule,
}
