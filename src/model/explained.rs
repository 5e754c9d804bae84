//! What the admin port tells of a name and of the lists of services and instances, for programs and for the command line.
//!
//! The field names are the API's (docs/API.md): they are added to, never changed.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

/// Why a name is answered as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// The name, with the dot at its end.
    pub name: String,
    /// The type of the question, such as `A`.
    #[serde(rename = "type")]
    pub qtype: String,
    /// Who asks.
    pub client: ExplainedClient,
    /// What the name is.
    pub kind: NameKind,
    /// That in words, with what to do about it.
    pub note: String,
    /// The service that the name is, or is part of.
    pub service: Option<ExplainedService>,
    /// What this client would be sent now.
    pub answer: Option<GivenAnswer>,
}

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameKind {
    /// A service, by its own name or a subset name.
    Service,
    /// An alias of an external name.
    Alias,
    /// One instance of a service.
    Instance,
    /// A named port of a service.
    Port,
    /// A name that leads to others by PTR, or an instance as it is browsed.
    Pointer,
    /// A namespace itself.
    Namespace,
    /// A name without records that has names below it (RFC 8020).
    EmptyNonTerminal,
    /// A name that does not exist.
    #[serde(rename = "nxdomain")]
    NxDomain,
    /// A name that a source may have that has not synced yet.
    NotSynced,
    /// A name in none of the namespaces.
    External,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedClient {
    /// Its address.
    pub address: IpAddr,
    /// The instances that have the address; empty also where no route and no nearness asks for them.
    pub known_as: Vec<KnownAs>,
    /// Whether several have it, of whom only some would match some route.
    pub ambiguous: bool,
    /// Where it is.
    pub zone: Option<String>,
    /// The region of that.
    pub region: Option<String>,
}

/// An instance that has the asker's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAs {
    /// The source that reports it.
    pub source: String,
    /// The service that it belongs to, if to any of ours.
    pub service: Option<String>,
    /// What the source calls it.
    pub id: String,
}

/// How a service is answered to one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedService {
    /// The name that is answered for.
    pub name: String,
    /// The service whose instances it has; differs from `name` for an alias or a subset name.
    pub service: String,
    /// The namespace that it is in.
    pub namespace: String,
    /// Members that have not synced yet, as `source #place`.
    pub not_synced: Vec<String>,
    /// TTL of the answers, in seconds.
    pub ttl: u32,
    /// In which order records stand.
    pub order: String,
    /// Records in one answer at most.
    pub max_answers: usize,
    /// The states of health that are answered.
    pub accept: Vec<String>,
    /// The routes, in order.
    pub routes: Vec<ExplainedRoute>,
    /// The instances as they are after merging.
    pub instances: Vec<ExplainedInstance>,
    /// How many more there are than are listed.
    pub omitted: usize,
}

/// The reason why a route without a client condition matches.
pub const FOR_EVERY_CLIENT: &str = "it is for every client";

/// One route of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedRoute {
    /// Its place, from 1.
    pub number: usize,
    /// Who it is for, in words.
    pub clients: String,
    /// Whether this client is answered by it.
    pub matched: bool,
    /// Why, or why not.
    pub why: String,
    /// Whether nothing in it is accepted, so that the unfit are answered.
    pub failed_open: bool,
    /// Its groups; only of the route that matched.
    pub groups: Vec<ExplainedGroup>,
}

/// One group of the route that matched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedGroup {
    /// Its place, from 1.
    pub number: usize,
    /// Which instances it takes, in words.
    pub filter: String,
    /// Its weight in the configuration.
    pub weight: u16,
    /// Its part of the look-ups of this type, in percent.
    pub share: f64,
    /// Whether it keeps its share when it has nothing to answer.
    pub strict: bool,
    /// The tier in use, from 1, where there are tiers.
    pub tier: Option<usize>,
    /// For how long that tier is kept though an earlier one is fit again.
    pub hold_down_seconds: Option<u64>,
    /// Whether so few instances are eligible that ineligible ones are answered too.
    pub in_panic: bool,
    /// Whom nearness has left: `zone a` or `region b`; `None`: it makes no difference.
    pub near: Option<String>,
    /// What answers of this group are made from.
    pub records: Vec<String>,
}

/// One instance, as merged from all that report it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedInstance {
    /// Its label below the service's name.
    pub label: String,
    /// Further labels that name it.
    pub aliases: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its host name, if it has that instead.
    pub host: Option<String>,
    /// Its main port, 0 if none is known.
    pub port: u16,
    /// Its named ports, as `name/protocol`.
    pub ports: BTreeMap<String, u16>,
    /// The worst of what is reported.
    pub health: String,
    /// The lowest that is reported.
    pub weight: u16,
    /// The labels of all reports.
    pub labels: BTreeMap<String, String>,
    /// Its zone.
    pub zone: Option<String>,
    /// Its datacenter.
    pub datacenter: Option<String>,
    /// Whether it is part of answers to this client.
    pub answered: bool,
    /// Why, or why not.
    pub why: String,
    /// The first group that takes it, from 1.
    pub group: Option<usize>,
    /// Its tier, from 1.
    pub tier: Option<usize>,
    /// What the sources say, at least one.
    pub reports: Vec<InstanceReport>,
}

/// One source's word on an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// The source.
    pub source: String,
    /// The place in the service's `from`, from 0; `None`: an import brought it.
    pub member: Option<u16>,
    /// What the source calls it.
    pub id: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its host name, if it has that instead.
    pub host: Option<String>,
    /// Its main port, 0 if none is known.
    pub port: u16,
    /// Its state.
    pub health: String,
    /// The check or condition that decided it.
    pub reason: Option<String>,
    /// For how many seconds it has been in that state.
    pub age_seconds: u64,
    /// Its weight.
    pub weight: u16,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its zone.
    pub zone: Option<String>,
    /// Its Consul datacenter.
    pub datacenter: Option<String>,
    /// The Kubernetes namespace of its pod.
    pub kube_namespace: Option<String>,
}

/// A decoded answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenAnswer {
    /// The response code; `None`: nothing is sent.
    pub code: Option<String>,
    /// Why it is that, where the name does not decide it: who asks may not.
    pub why: Option<String>,
    /// Whether the client is told to come back over TCP.
    pub truncated: bool,
    /// The answer section, in the order in which it is sent this time; the next answer begins one further.
    pub answers: Vec<String>,
    /// The authority section.
    pub authority: Vec<String>,
    /// The additional section, without OPT.
    pub additional: Vec<String>,
}

/// A page of services, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePage {
    /// The services.
    pub services: Vec<ListedService>,
    /// What `after` is for the next page; `None`: this is the last.
    pub next: Option<String>,
}

/// One service, or one of its further names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedService {
    /// Its name.
    pub name: String,
    /// The service whose instances it has.
    pub service: String,
    /// The namespace.
    pub namespace: String,
    /// Whether an import brought it.
    pub imported: bool,
    /// The sources of its members, each once.
    pub sources: Vec<String>,
    /// Whether all members have synced.
    pub synced: bool,
    /// How many instances there are in each state.
    pub health: BTreeMap<String, usize>,
    /// The name outside that it is an alias of.
    pub alias: Option<String>,
}

/// A page of a service's instances, in the order of their labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstancePage {
    /// The service.
    pub service: String,
    /// Members that have not synced yet, as `source #place`.
    pub not_synced: Vec<String>,
    /// The instances; what an answer to a client would have is not said here.
    pub instances: Vec<ListedInstance>,
    /// What `after` is for the next page; `None`: this is the last.
    pub next: Option<String>,
}

/// One instance as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedInstance {
    /// Its label below the service's name.
    pub label: String,
    /// The worst health that is reported.
    pub health: String,
    /// The lowest weight that is reported.
    pub weight: u16,
    /// What the sources say, at least one.
    pub reports: Vec<InstanceReport>,
}

/// How the sources are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceList {
    /// Each source, in the order of the configuration.
    pub sources: Vec<ListedSource>,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSource {
    /// Its id, such as `consul.vms`.
    pub source: String,
    /// Its kind.
    pub kind: String,
    /// Whether everything that it is asked for has been heard.
    pub ready: bool,
    /// Its watches.
    pub watches: ListedWatches,
    /// Updates to the catalog so far.
    pub updates: u64,
    /// Errors so far, by kind.
    pub errors: BTreeMap<String, u64>,
    /// The last of them.
    pub last_error: Option<ListedError>,
}

/// How many watches of a source are in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedWatches {
    /// Not heard since they began.
    pub connecting: usize,
    /// They hear every change.
    pub synced: usize,
    /// They have lost the source.
    pub failing: usize,
    /// They have something to answer from.
    pub with_data: usize,
}

/// A source's last error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedError {
    /// Which watch failed.
    pub watch: String,
    /// The error's kind.
    pub kind: String,
    /// The error, in one line.
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
