//! The validated configuration: what the rest of the program may rely on.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::{
    Cache, Forward,
    access::Access,
    routing::{Alias, Failover, LocalityRule, Nearness, Order, Route, SubsetName},
};
use crate::model::{
    HealthSet, Import, Instance, Labels, Member, Name, Network, Protocol, Selector, SourceId,
};

/// Everything that `muster.toml` and its zone files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it came from; `None` for the bundled demo.
    pub path: Option<PathBuf>,
    /// Where its zone files are: files, and folders of them, of which the default one need not exist.
    pub zones: Vec<PathBuf>,
    /// Whether changes of these files are looked for and applied.
    pub watch_files: bool,
    /// Where and how to listen.
    pub listen: Listen,
    /// Who may ask, and how much.
    pub access: Access,
    /// Where the last known good is kept; `None`: not kept.
    pub state: Option<PathBuf>,
    /// How long a lost source's last word is answered from.
    pub max_stale: Duration,
    /// Consul sources, in the order of their names.
    pub consul: Vec<ConsulSource>,
    /// Kubernetes sources, in the order of their names.
    pub kubernetes: Vec<KubernetesSource>,
    /// Upstreams by suffix, in the order of the suffixes; empty: other names are REFUSED.
    pub forward: Vec<Forward>,
    /// Where networks are, for clients and instances whose source does not say it; the longest prefix wins.
    pub localities: Vec<LocalityRule>,
    /// Networks whose reverse names (PTR) are answered from our own instances.
    pub reverse: Vec<Network>,
    /// What of forwarded answers is kept.
    pub cache: Cache,
    /// Namespaces, in the order of their apexes.
    pub namespaces: Vec<Namespace>,
}

impl Config {
    /// How long a lost source's last word is answered from where nothing is said.
    pub const DEFAULT_MAX_STALE: Duration = Duration::from_secs(24 * 3600);
}

/// `[listen]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// UDP and TCP addresses to answer on, at least one; port 0 lets the system choose one.
    pub dns: Vec<SocketAddr>,
    /// The admin port; `None`: no admin port.
    pub admin: Option<SocketAddr>,
    /// UDP workers for each address.
    pub workers: usize,
    /// CPUs that UDP workers are pinned to, in turn; empty: the kernel places them.
    pub cpus: Vec<usize>,
    /// How long a TCP connection may stay silent (RFC 7766 section 6.2.3).
    pub tcp_idle: Duration,
    /// TCP connections at one time, over all addresses.
    pub tcp_connections: usize,
    /// What `version.bind` and `version.server` in class CH are answered with; `None`: REFUSED.
    pub version: Option<String>,
    /// Forwarders whose EDNS Client Subnet (RFC 7871) says who asks.
    pub trusted_forwarders: Vec<Network>,
}

impl Listen {
    /// Where DNS is answered where nothing is said: for this machine only, on a port that needs no privilege.
    pub const DEFAULT_DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5300);
    /// UDP workers for each address where nothing is said: with one worker rotation is strict whoever asks.
    pub const DEFAULT_WORKERS: usize = 1;
    /// How long a silent TCP connection is kept where nothing is said.
    pub const DEFAULT_TCP_IDLE: Duration = Duration::from_secs(10);
    /// TCP connections at one time where nothing is said.
    pub const DEFAULT_TCP_CONNECTIONS: usize = 1024;
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            dns: vec![Self::DEFAULT_DNS],
            admin: None,
            workers: Self::DEFAULT_WORKERS,
            cpus: Vec::new(),
            tcp_idle: Self::DEFAULT_TCP_IDLE,
            tcp_connections: Self::DEFAULT_TCP_CONNECTIONS,
            version: None,
            trusted_forwarders: Vec::new(),
        }
    }
}

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

/// A namespace: one file under `zones`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The zone's name.
    pub apex: Name,
    /// The file it came from, as shown to people.
    pub file: PathBuf,
    /// TTL of positive answers where the service says nothing, in seconds.
    pub ttl: u32,
    /// TTL of negative answers (RFC 2308 section 5), in seconds.
    pub negative_ttl: u32,
    /// Names of its name servers; empty: `ns.<apex>`, which has the address that was asked.
    pub ns: Vec<Name>,
    /// The SOA's mailbox, as a name.
    pub hostmaster: Name,
    /// Whether an answer that does not fit into a datagram says TC, by type of question.
    pub truncate: Truncate,
    /// Whether its services can be browsed (DNS-SD, RFC 6763).
    pub dns_sd: bool,
    /// Services, in the order of their names.
    pub services: Vec<Service>,
    /// Services that follow a source's own list.
    pub imports: Vec<ImportRule>,
}

impl Namespace {
    /// TTL of negative answers where nothing is said, in seconds.
    pub const DEFAULT_NEGATIVE_TTL: u32 = 1;
}

/// Which types of answers say TC when they do not fit; the others give a rotating subset without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// For A and AAAA. Off by default: some stub resolvers never retry over TCP.
    pub addresses: bool,
    /// For SRV. On by default.
    pub srv: bool,
}

impl Default for Truncate {
    fn default() -> Self {
        Self { addresses: false, srv: true }
    }
}

/// What a service's answers look like; a namespace's imports share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// TTL of its answers, in seconds.
    pub ttl: u32,
    /// Which health states are answered.
    pub accept: HealthSet,
    /// What is answered when no instance is accepted.
    pub when_all_unhealthy: WhenAllUnhealthy,
    /// Percent of the instances that must be fit; below, all that are not draining are answered. 0: never.
    pub panic_threshold: u8,
    /// Records of one type in one answer.
    pub max_answers: usize,
    /// In which order they stand.
    pub order: Order,
    /// Whether instances near the asker come first.
    pub nearness: Option<Nearness>,
    /// Whether an instance's own name has its labels as TXT.
    pub txt: bool,
}

impl Shape {
    /// Records of one type in one answer where nothing is said: Route 53's multivalue answers have up to eight.
    pub const DEFAULT_MAX_ANSWERS: usize = 8;
}

impl Default for Shape {
    /// TTL 0: every look-up sees the next truth.
    fn default() -> Self {
        Self {
            ttl: 0,
            accept: HealthSet::default(),
            when_all_unhealthy: WhenAllUnhealthy::default(),
            panic_threshold: 0,
            max_answers: Self::DEFAULT_MAX_ANSWERS,
            order: Order::default(),
            nearness: None,
            txt: false,
        }
    }
}

/// What is answered when no instance of a service is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenAllUnhealthy {
    /// All of them but the draining ones, as Route 53 does it.
    #[default]
    All,
    /// None: NODATA.
    None,
}

/// `[services.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its full name.
    pub name: Name,
    /// What its answers look like.
    pub shape: Shape,
    /// What it is another name of; `None`: a service of its own.
    pub alias: Option<Alias>,
    /// Where its instances come from; at least one, or none for an alias.
    pub from: Vec<MemberRule>,
    /// Which clients get which groups, the first match wins; whoever matches none gets all instances.
    pub routes: Vec<Route>,
    /// Tiers of instances, of which the first that is fit enough is answered.
    pub failover: Option<Failover>,
    /// Further names for some of its instances.
    pub names: Vec<SubsetName>,
}

/// One entry of a service's `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRule {
    /// The source it names.
    pub source: SourceId,
    /// Labels that every instance of it gets, over its own.
    pub labels: Labels,
    /// The name of its instances' main port, for `_port._proto.svc.ns`, with its protocol.
    pub port_name: Option<(Arc<str>, Protocol)>,
    /// What to ask the source for.
    pub query: Query,
}

/// What a member asks its source for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// A Consul service.
    Consul(ConsulQuery),
    /// Pods, or the EndpointSlices of a Service.
    Kubernetes(KubernetesQuery),
    /// Instances from the file.
    Static(StaticMember),
}

/// `{ consul = "vms", service = "nginx", … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsulQuery {
    /// The service's name in Consul.
    pub service: String,
    /// Tags that an instance must all have.
    pub tags: Vec<String>,
    /// A filter expression, which Consul evaluates.
    pub filter: Option<String>,
    /// The datacenter to ask for; `None`: the source's.
    pub datacenter: Option<String>,
    /// The port to answer with instead of the registered one.
    pub port: Option<u16>,
}

/// `{ kubernetes = "eks", namespace = "my-apps", … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesQuery {
    /// The Kubernetes namespace.
    pub namespace: String,
    /// Which objects of it.
    pub objects: KubernetesObjects,
    /// Which port is the main one; `None`: the first that the object declares, if any.
    pub port: Option<PortRef>,
}

/// What a Kubernetes member follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesObjects {
    /// Pods, by their labels: `selector = "app=nginx"`.
    Pods(Selector),
    /// The EndpointSlices of a Service: `service = "nginx"`.
    Service(String),
}

/// A port by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortRef {
    /// `port = 80`.
    Number(u16),
    /// `port = "http"`.
    Name(String),
}

/// `{ static = [...], check = { … } }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMember {
    /// The instances, at least one; healthy where there is no check, else of unknown health.
    pub instances: Vec<Instance>,
    /// How they are probed; `None`: they count as healthy.
    pub check: Option<Check>,
}

/// `check = { … }`: how instances are probed.
///
/// Defaults and limits are those of Route 53's health checks:
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-creating-values.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
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

impl Check {
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

/// `[[import]]`: every service that a Consul source lists gets its name in the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRule {
    /// The Consul source whose list is followed.
    pub source: SourceId,
    /// Patterns (`*` stands for any run of characters) of which one must match the service's name.
    pub include: Vec<String>,
    /// Patterns of which none may match.
    pub exclude: Vec<String>,
    /// What the answers look like.
    pub shape: Shape,
}

impl Service {
    /// The service's members, with the numbers by which sources and catalog know them.
    pub fn members(&self) -> impl Iterator<Item = (Member, &MemberRule)> {
        (0..).zip(&self.from).map(|(place, rule)| {
            let member = Member { service: self.name.clone(), source: rule.source.clone(), place };
            (member, rule)
        })
    }
}

impl Namespace {
    /// The namespace's imports, with the numbers by which sources and catalog know them.
    pub fn imports(&self) -> impl Iterator<Item = (Import, &ImportRule)> {
        (0..).zip(&self.imports).map(|(place, rule)| {
            let import = Import { apex: self.apex.clone(), source: rule.source.clone(), place };
            (import, rule)
        })
    }
}
