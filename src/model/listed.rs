//! The bodies of `/v1/services`, `/v1/instances` and `/v1/sources`, and of errors.
//!
//! The field names are those of the API (docs/API.md): fields are added, never renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ExplainedMember, InstanceReport};

/// A page of services, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePage {
    /// The services.
    pub services: Vec<ListedService>,
    /// The value of `after` for the next page; `None` on the last one.
    pub next: Option<String>,
}

/// A service, an alias or a subset name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedService {
    /// The name.
    pub name: String,
    /// The service whose instances it has.
    pub service: String,
    /// The namespace.
    pub namespace: String,
    /// Whether it comes from an import.
    pub imported: bool,
    /// The sources of its members, each once.
    pub sources: Vec<String>,
    /// Whether all members have synced.
    pub synced: bool,
    /// Whether a member's state has expired: its source was lost for longer than `max_stale`.
    #[serde(default)]
    pub expired: bool,
    /// For how many seconds the oldest of its stale state has been stale; `None`: all is current.
    #[serde(default)]
    pub stale_seconds: Option<u64>,
    /// In how many seconds that state expires unless its source is back before.
    #[serde(default)]
    pub expires_in_seconds: Option<u64>,
    /// The number of instances by health.
    pub health: BTreeMap<String, usize>,
    /// The external name that it is an alias of.
    pub alias: Option<String>,
}

/// A page of a service's instances, sorted by label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstancePage {
    /// The service.
    pub service: String,
    /// Members that have no data, as `source #place`.
    pub not_synced: Vec<String>,
    /// The members, and what their sources have reported.
    #[serde(default)]
    pub members: Vec<ExplainedMember>,
    /// The instances after merging, whether answered or not.
    pub instances: Vec<ListedInstance>,
    /// The value of `after` for the next page; `None` on the last one.
    pub next: Option<String>,
}

/// One instance, after merging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedInstance {
    /// Its label below the service's name.
    pub label: String,
    /// The best health that each source reports, and of these the worst.
    pub health: String,
    /// The lowest reported weight.
    pub weight: u16,
    /// The sources' reports, at least one.
    pub reports: Vec<InstanceReport>,
}

/// All sources and their status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceList {
    /// The sources, in the order of the configuration.
    pub sources: Vec<ListedSource>,
}

/// The status of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSource {
    /// Its id, such as `consul.vms`.
    pub source: String,
    /// `consul`, `kubernetes` or `static`.
    pub kind: String,
    /// Whether all of its watches have data, stale or not.
    pub ready: bool,
    /// Its watches, by state.
    pub watches: ListedWatches,
    /// Updates sent to the catalog so far.
    pub updates: u64,
    /// Errors so far, by kind.
    pub errors: BTreeMap<String, u64>,
    /// For how many seconds the oldest of its stale data has been stale; `None`: all data is current.
    #[serde(default)]
    pub stale_seconds: Option<u64>,
    /// In how many seconds that data expires unless the source is back before.
    #[serde(default)]
    pub expires_in_seconds: Option<u64>,
    /// How many of its instances are not answered as it says, by reason, such as `contradicted`.
    #[serde(default)]
    pub held: BTreeMap<String, usize>,
    /// Advice to operators on how to follow the source better: a sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The last error.
    pub last_error: Option<ListedError>,
}

/// The number of a source's watches by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedWatches {
    /// Not synced since they started.
    pub connecting: usize,
    /// Synced, and following every change.
    pub synced: usize,
    /// Watches that have lost the source.
    pub failing: usize,
    /// Watches of any state that have data to answer from.
    pub with_data: usize,
}

/// A source's last error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedError {
    /// The watch that failed.
    pub watch: String,
    /// The error's kind.
    pub kind: String,
    /// The error and its causes, on one line.
    pub message: String,
    /// How long ago.
    pub seconds_ago: u64,
}

/// The body of a response without the requested page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// The problem, and what to do.
    pub error: String,
    /// A valid request for the page, if a parameter was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
}
