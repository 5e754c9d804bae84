//! The body of `/v1/explain`: how a name is answered, and why.
//!
//! The field names are those of the API (docs/API.md): fields are added, never renamed.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

/// How a name is answered to one client, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// The queried name, with the final dot.
    pub name: String,
    /// The queried type, such as `A`.
    #[serde(rename = "type")]
    pub qtype: String,
    /// The client whose query is explained.
    pub client: ExplainedClient,
    /// The kind of name.
    pub kind: NameKind,
    /// The kind in words, with a hint if there is one.
    pub note: String,
    /// The service that the name belongs to.
    pub service: Option<ExplainedService>,
    /// The answer that this client would get now.
    pub answer: Option<GivenAnswer>,
}

/// The kinds of names.
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
    /// A reverse name, or a name that services or instances are browsed by.
    Pointer,
    /// A namespace's apex, or its built-in name server.
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

/// The client of an explained query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedClient {
    /// The address that its packets come from.
    pub address: IpAddr,
    /// The instances that have the address. Also empty if no route and no `prefer` depends on the
    /// client.
    pub known_as: Vec<KnownAs>,
    /// Whether several instances have it and only some of them would match a route.
    pub ambiguous: bool,
    /// Its availability zone, if known.
    pub zone: Option<String>,
    /// The zone's region, if known.
    pub region: Option<String>,
}

/// An instance that has the client's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAs {
    /// The id of the source that reports it.
    pub source: String,
    /// The service that it belongs to, if any.
    pub service: Option<String>,
    /// The source's id for it.
    pub id: String,
}

/// How a service is answered to one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedService {
    /// The owner name that is answered.
    pub name: String,
    /// The service whose instances it has; differs from `name` for an alias or a subset name.
    pub service: String,
    /// The apex of its namespace.
    pub namespace: String,
    /// Members that have not synced yet, as `source #place`.
    pub not_synced: Vec<String>,
    /// The members, with their queries and what their sources report.
    pub members: Vec<ExplainedMember>,
    /// The TTL of the answers, in seconds.
    pub ttl: u32,
    /// The order of records in an answer: `rotate`, `random` or `weighted`.
    pub order: String,
    /// The most records in one answer.
    pub max_answers: usize,
    /// The eligible states of health, such as `healthy`.
    pub accept: Vec<String>,
    /// The routes, in order; the last one is for every client. Empty for an alias.
    pub routes: Vec<ExplainedRoute>,
    /// The instances after merging, at most as many as the query's limit.
    pub instances: Vec<ExplainedInstance>,
    /// How many instances are not listed.
    pub omitted: usize,
}

/// What a member's source has reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberStatus {
    /// Its full state.
    Synced,
    /// Nothing yet.
    NotSynced,
    /// Nothing yet, and it has failed.
    Failed,
    /// Its full state once, but it has been lost for longer than `max_stale` since.
    Expired,
}

/// One member of a service: an entry of its `from`, or what an import adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedMember {
    /// The id of the source.
    pub source: String,
    /// The member's position in `from`; `None` for a member of an import.
    pub member: Option<u16>,
    /// What muster queries it for, such as `service "nginx"`; `imported` for a member of an import.
    pub query: String,
    /// Whether its source has reported them.
    pub state: MemberStatus,
    /// How many instances it has.
    pub instances: usize,
    /// For how many seconds its state has been stale; `None` if it is current or there is none.
    pub stale_seconds: Option<u64>,
    /// In how many seconds its stale state expires unless its source is back before.
    #[serde(default)]
    pub expires_in_seconds: Option<u64>,
}

impl ExplainedMember {
    /// Its source, and its position if there is one: `consul.vms #0`.
    pub fn label(&self) -> String {
        match self.member {
            Some(place) => format!("{} #{place}", self.source),
            None => self.source.clone(),
        }
    }
}

/// The reason why a route without a client condition matches.
pub const FOR_EVERY_CLIENT: &str = "it is for every client";

/// One route of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedRoute {
    /// Its position, from 1.
    pub number: usize,
    /// The clients that it is for, in words.
    pub clients: String,
    /// Whether it decides this client's answer.
    pub matched: bool,
    /// Why, or why not.
    pub why: String,
    /// Whether none of its instances is eligible, so that it fails open.
    pub failed_open: bool,
    /// Its groups; empty unless the route matched.
    pub groups: Vec<ExplainedGroup>,
}

/// One group of the route that matched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedGroup {
    /// Its position, from 1.
    pub number: usize,
    /// The instances that it selects, in words.
    pub filter: String,
    /// Its configured weight.
    pub weight: u16,
    /// Its share of the lookups of this type, in percent.
    pub share: f64,
    /// Whether it keeps its share when it has no instance to answer.
    pub strict: bool,
    /// The tier in use, from 1, if the service has failover.
    pub tier: Option<usize>,
    /// How long the tier stays in use although an earlier one has recovered.
    pub hold_down_seconds: Option<u64>,
    /// Whether so few instances are eligible that ineligible ones are answered too.
    pub in_panic: bool,
    /// The part that nearness selects, `zone a` or `region b`; `None` if nearness selects all.
    pub near: Option<String>,
    /// The records that answers of this group are made from.
    pub records: Vec<String>,
}

/// One instance, merged from all its reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedInstance {
    /// Its label below the service's name.
    pub label: String,
    /// Other labels that name it.
    pub aliases: Vec<String>,
    /// Its addresses. Empty if it has a host name.
    pub addresses: Vec<IpAddr>,
    /// Its host name, answered as a CNAME, if it has no addresses.
    pub host: Option<String>,
    /// Its main port, 0 if unknown.
    pub port: u16,
    /// Its named ports, as `name/protocol`.
    pub ports: BTreeMap<String, u16>,
    /// The best health that each source reports, and of these the worst.
    pub health: String,
    /// The lowest reported weight.
    pub weight: u16,
    /// The labels of all reports together.
    pub labels: BTreeMap<String, String>,
    /// Its availability zone: as reported, or by its address from `[[locality]]`.
    pub zone: Option<String>,
    /// Its Consul datacenter, if a report has one.
    pub datacenter: Option<String>,
    /// Whether it is in answers to this client.
    pub answered: bool,
    /// Why, or why not.
    pub why: String,
    /// The first group that selects it, from 1.
    pub group: Option<usize>,
    /// Its failover tier, from 1; `None` if it is in none.
    pub tier: Option<usize>,
    /// The sources' reports, at least one.
    pub reports: Vec<InstanceReport>,
}

/// One member's report of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// The id of the source, such as `consul.vms`.
    pub source: String,
    /// The position in the service's `from`, from 0; `None` for an import.
    pub member: Option<u16>,
    /// The source's id for it.
    pub id: String,
    /// Its addresses. Empty if it has a host name.
    pub addresses: Vec<IpAddr>,
    /// Its host name, answered as a CNAME, if it has no addresses.
    pub host: Option<String>,
    /// Its main port, 0 if unknown.
    pub port: u16,
    /// The reported health, such as `healthy`.
    pub health: String,
    /// The check or condition that decided it.
    pub reason: Option<String>,
    /// Why it is not as the source says; `None` if it is.
    #[serde(default)]
    pub held: Option<HeldReport>,
    /// For how many seconds it has had that health.
    pub age_seconds: u64,
    /// The reported weight.
    pub weight: u16,
    /// The reported labels.
    pub labels: BTreeMap<String, String>,
    /// The reported availability zone.
    pub zone: Option<String>,
    /// The Consul datacenter, for instances from Consul.
    pub datacenter: Option<String>,
    /// The namespace of its pod, for instances from Kubernetes.
    pub kube_namespace: Option<String>,
}

/// Why an instance is not as its source says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldReport {
    /// The reason, such as `flapping`.
    pub why: String,
    /// The health that the source reports; `None` if it no longer reports the instance.
    pub source_health: Option<String>,
    /// The check or condition that decided it, as the source words it.
    pub source_reason: Option<String>,
    /// For how many more seconds it is held, rounded up, unless the source says something else
    /// before; `None` if that is not known.
    pub seconds_left: Option<u64>,
}

impl fmt::Display for HeldReport {
    /// On one line, for tables.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds_left {
            Some(seconds) => write!(f, "held for {seconds} s ({}); ", self.why)?,
            None => write!(f, "held ({}); ", self.why)?,
        }
        match (&self.source_health, &self.source_reason) {
            (None, _) => f.write_str("the source no longer reports it"),
            (Some(health), None) => write!(f, "the source says {health}"),
            (Some(health), Some(reason)) => write!(f, "the source says {health}: {reason}"),
        }
    }
}

impl InstanceReport {
    /// Why it has its health: the hold, or the check or condition.
    pub fn why(&self) -> String {
        match &self.held {
            Some(held) => held.to_string(),
            None => self.reason.clone().unwrap_or_default(),
        }
    }
}

/// A decoded answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenAnswer {
    /// The response code; `None` if nothing is sent, or if an upstream must be queried.
    pub code: Option<String>,
    /// The reason, if the name alone does not decide the answer, such as `[access]`.
    pub why: Option<String>,
    /// Whether TC is set, so that the client retries over TCP.
    pub truncated: bool,
    /// The answer section, in the order of this answer; the next one starts one record later.
    pub answers: Vec<String>,
    /// The authority section.
    pub authority: Vec<String>,
    /// The additional section, without OPT.
    pub additional: Vec<String>,
}
