//! Clients: which instance a client is, by its address.
//!
//! ```text
//!  reports ─▶ ClientIndex ─▶ ClientProfile  ─▶ Client ─▶ check(ClientTest) ─▶ ClientMatch
//!                           of each address
//! ```
//!
//! Routes select clients that are instances themselves, such as pods that the sources report. The
//! identities that routes ask for are known when the configuration is loaded. So each address gets
//! one bit for each identity when its instances change, and a query tests a bit. If several
//! instances share an address and only some match, the client is ambiguous and matches nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    config::{ClientFilter, Config},
    model::{Instance, Labels, Member, Name, Network, SourceId, SourceKind},
    policy::{Localities, Locality},
};

/// The conditions of a route on its clients. All must hold.
#[derive(Debug)]
pub struct ClientTest {
    /// Networks that the client's address must be in; empty: any.
    pub networks: Box<[Network]>,
    /// Index of the identity that the client must have; `None`: any.
    pub identity: Option<u32>,
    /// The availability zone that the client must be in; `None`: any.
    pub zone: Option<Arc<str>>,
}

/// The identities and the locality of the clients at one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientProfile {
    /// One bit for each identity of [`ClientTests`].
    bits: Box<[u64]>,
    /// One bit for each identity that only some of the clients at the address have. Empty if there
    /// is none.
    ambiguous: Box<[u64]>,
    locality: Option<Locality>,
}

/// The client of a query.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client's address, or the network that a trusted forwarder sends.
    pub network: Network,
    /// `None`: no instance has the address.
    pub(super) profile: Option<Arc<ClientProfile>>,
    /// The configured locality of the address, if no source reports one.
    pub(super) configured: Option<Locality>,
}

/// How a client compares with what a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientMatch {
    /// The route is the client's.
    Matches,
    /// Its address is in none of the route's networks.
    NotInNetworks,
    /// It is in another availability zone.
    OtherZone,
    /// The route asks for an availability zone, and no source or `[[locality]]` tells the client's.
    ZoneUnknown,
    /// The route asks for an instance, and no source reports one at the client's address.
    Unknown,
    /// Several instances share the client's address and only some would match.
    Ambiguous,
    /// The instance at the client's address is another one.
    Different,
}

impl Client {
    /// Compares the client with a route's test; the first reason for a mismatch counts.
    ///
    /// *Cost*: the networks of the test one after the other, then one bit.
    #[inline]
    pub fn check(&self, test: &ClientTest) -> ClientMatch {
        if !(test.networks.is_empty() || test.networks.iter().any(|network| network.covers(&self.network))) {
            return ClientMatch::NotInNetworks;
        }
        if let Some(zone) = &test.zone {
            match self.locality() {
                Some(locality) if locality.zone == *zone => {}
                Some(_) => return ClientMatch::OtherZone,
                None => return ClientMatch::ZoneUnknown,
            }
        }
        match (test.identity, self.profile.as_deref()) {
            (None, _) => ClientMatch::Matches,
            (Some(_), None) => ClientMatch::Unknown,
            (Some(at), Some(profile)) if bit(&profile.bits, at) => ClientMatch::Matches,
            (Some(at), Some(profile)) if bit(&profile.ambiguous, at) => ClientMatch::Ambiguous,
            (Some(_), Some(_)) => ClientMatch::Different,
        }
    }

    /// Whether some route cannot tell if it is the client's, because instances share the address.
    pub fn is_ambiguous(&self) -> bool {
        self.profile.as_deref().is_some_and(|profile| !profile.ambiguous.is_empty())
    }

    /// The client's region and availability zone.
    pub fn locality(&self) -> Option<&Locality> {
        self.profile.as_deref().and_then(|profile| profile.locality.as_ref()).or(self.configured.as_ref())
    }
}

/// The bit at an index; 0 beyond the end.
fn bit(words: &[u64], at: u32) -> bool {
    let word = usize::try_from(at / 64).ok().and_then(|word| words.get(word));
    word.is_some_and(|word| word >> (at % 64) & 1 == 1)
}

/// The identities that the routes of a configuration ask for, without duplicates.
#[derive(Debug, Default)]
pub(super) struct ClientTests {
    identities: Vec<ClientFilter>,
    /// Whether any answer depends on the client.
    needed: bool,
}

impl ClientTests {
    /// Gathers the identities of all routes.
    pub(super) fn new(config: &Config) -> Self {
        let mut tests = Self::default();
        for namespace in &config.namespaces {
            let imports_near = namespace.imports.iter().any(|rule| rule.answers.nearness.is_some());
            let near = namespace.services.iter().any(|service| service.answers.nearness.is_some());
            tests.needed |= imports_near || near;
            let routes = namespace.services.iter().flat_map(|service| &service.routes);
            for clients in routes.filter_map(|route| route.clients.as_ref()) {
                tests.needed |= clients.locality.is_some();
                let identity = identity(clients);
                if identity != ClientFilter::default() && !tests.identities.contains(&identity) {
                    tests.identities.push(identity);
                }
            }
        }
        tests.needed |= !tests.identities.is_empty();
        tests
    }

    /// Compiles the clients of a route to a test.
    pub(super) fn test(&self, clients: &ClientFilter) -> ClientTest {
        let identity = identity(clients);
        let at = self.identities.iter().position(|other| *other == identity);
        debug_assert!(
            at.is_some() || identity == ClientFilter::default(),
            "the identities of all routes are gathered"
        );
        ClientTest {
            networks: clients.networks.as_slice().into(),
            identity: at.and_then(|at| u32::try_from(at).ok()),
            zone: clients.locality.clone(),
        }
    }
}

/// The conditions that need a known instance, which are all but network and zone.
fn identity(clients: &ClientFilter) -> ClientFilter {
    ClientFilter { networks: Vec::new(), locality: None, ..clients.clone() }
}

/// The instances at each address.
#[derive(Debug, Default)]
pub(super) struct ClientIndex {
    pub(super) tests: ClientTests,
    reporters: HashMap<IpAddr, BTreeSet<(Member, Arc<str>)>>,
    touched: BTreeSet<IpAddr>,
}

impl ClientIndex {
    /// Makes an empty index.
    pub(super) fn new(config: &Config) -> Self {
        Self { tests: ClientTests::new(config), ..Self::default() }
    }

    /// Notes that `member` reports `after` instead of `before`. *Cost*: none if no answer depends
    /// on the client.
    pub(super) fn note(&mut self, member: &Member, before: Option<&Instance>, after: Option<&Instance>) {
        if !self.tests.needed || before == after {
            return;
        }
        if let Some(instance) = before {
            for address in instance.addresses() {
                if let Some(reporters) = self.reporters.get_mut(&address) {
                    reporters.remove(&(member.clone(), Arc::clone(&instance.id)));
                    if reporters.is_empty() {
                        self.reporters.remove(&address);
                    }
                }
                self.touched.insert(address);
            }
        }
        if let Some(instance) = after {
            for address in instance.addresses() {
                let reporter = (member.clone(), Arc::clone(&instance.id));
                self.reporters.entry(address).or_default().insert(reporter);
                self.touched.insert(address);
            }
        }
    }

    /// The members that report an instance at this address, and its id. Empty if no answer depends
    /// on the client.
    pub(super) fn reporters_of(&self, address: IpAddr) -> impl Iterator<Item = &(Member, Arc<str>)> {
        self.reporters.get(&address.to_canonical()).into_iter().flatten()
    }

    /// Takes the addresses that have changed, each with its profile. `find` returns a member's
    /// report.
    pub(super) fn changed<'i>(
        &mut self,
        localities: &Localities,
        find: impl Fn(&Member, &Arc<str>) -> Option<&'i Instance>,
    ) -> Vec<(IpAddr, Option<ClientProfile>)> {
        let touched = std::mem::take(&mut self.touched);
        let profile = |address: &IpAddr| {
            let reporters = self.reporters.get(address)?;
            let reports = reporters
                .iter()
                .filter_map(|(member, id)| find(member, id).map(|instance| (member, instance)));
            Some(self.profile(reports, localities))
        };
        touched.iter().map(|address| (*address, profile(address))).collect()
    }

    fn profile<'i>(
        &self,
        reports: impl Iterator<Item = (&'i Member, &'i Instance)>,
        localities: &Localities,
    ) -> ClientProfile {
        let possible = possible_clients(reports);
        let shared = possible.values().any(|client| client.shares_address);
        let mut bits = vec![0_u64; self.tests.identities.len().div_ceil(64)];
        let mut ambiguous = bits.clone();
        for (at, identity) in self.tests.identities.iter().enumerate() {
            let matching = possible.values().filter(|client| client.matches(identity)).count();
            let is_certain = matching == possible.len() && !shared;
            let words = if is_certain { &mut bits } else { &mut ambiguous };
            if let Some(word) = words.get_mut(at / 64) {
                *word |= u64::from(matching > 0) << (at % 64);
            }
        }
        if ambiguous.iter().all(|word| *word == 0) {
            ambiguous.clear();
        }
        let mut zones = possible.values().map(|client| client.zone);
        let zone = zones.next().flatten().filter(|zone| zones.all(|other| other == Some(*zone)));
        ClientProfile {
            bits: bits.into(),
            ambiguous: ambiguous.into(),
            locality: zone.map(|zone| localities.of_zone(zone)),
        }
    }
}

/// The clients that an address with these reports may belong to.
fn possible_clients<'i>(
    reports: impl Iterator<Item = (&'i Member, &'i Instance)>,
) -> BTreeMap<PossibleClientKey<'i>, PossibleClient<'i>> {
    let mut possible: BTreeMap<PossibleClientKey<'_>, PossibleClient<'_>> = BTreeMap::new();
    let mut of_no_pod = Vec::new();
    for (member, instance) in reports {
        if member.source.kind == SourceKind::Kubernetes && instance.kube_namespace.is_none() {
            of_no_pod.push((member, instance));
        } else {
            possible.entry(PossibleClientKey::new(member, instance)).or_default().add(member, instance);
        }
    }
    // A Service's endpoint without a pod tells only the address: it stands for every pod there.
    for (member, instance) in of_no_pod {
        let pods = possible.iter_mut().filter(|(key, _)| key.is_pod_of(&member.source));
        let count = pods.map(|(_, client)| client.add(member, instance)).count();
        if count == 0 {
            let key = PossibleClientKey { source: &member.source, pod_namespace: None, instance: "" };
            possible.entry(key).or_default().add(member, instance);
        }
    }
    possible
}

/// Identifies the client of a report: a pod, whichever services it belongs to, or an instance of
/// another source.
///
/// Two pods can have one address: it goes to a new pod while the old one, on a lost node, is still
/// being deleted.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct PossibleClientKey<'i> {
    source: &'i SourceId,
    pod_namespace: Option<&'i str>,
    instance: &'i str,
}

impl<'i> PossibleClientKey<'i> {
    fn new(member: &'i Member, instance: &'i Instance) -> Self {
        let pod_namespace = instance.kube_namespace.as_deref();
        // Pods that only identify clients have the namespace in their id.
        let pod = pod_namespace.and_then(|namespace| instance.id.strip_prefix(namespace)?.strip_prefix('/'));
        Self { source: &member.source, pod_namespace, instance: pod.unwrap_or(&instance.id) }
    }

    fn is_pod_of(&self, source: &SourceId) -> bool {
        self.source == source && self.pod_namespace.is_some()
    }
}

/// A client that an address may belong to.
#[derive(Default)]
struct PossibleClient<'i> {
    services: Vec<&'i Name>,
    labels: Labels,
    kube_namespace: Option<&'i Arc<str>>,
    zone: Option<&'i Arc<str>>,
    shares_address: bool,
}

impl<'i> PossibleClient<'i> {
    fn add(&mut self, member: &'i Member, instance: &'i Instance) {
        if member.place != Member::CLIENTS {
            self.services.push(&member.service);
        }
        self.labels = self.labels.overlaid(&instance.labels);
        self.kube_namespace = self.kube_namespace.or(instance.kube_namespace.as_ref());
        self.zone = self.zone.or(instance.locality.as_ref());
        self.shares_address |= instance.shares_address;
    }

    fn matches(&self, wanted: &ClientFilter) -> bool {
        let same = |wanted: &Option<Arc<str>>, has: Option<&Arc<str>>| {
            wanted.as_ref().is_none_or(|wanted| has == Some(wanted))
        };
        wanted.service.as_ref().is_none_or(|service| self.services.contains(&service))
            && wanted.labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
            && same(&wanted.kube_namespace, self.kube_namespace)
    }
}

/// Identifies a client by the profile of its address.
pub(super) fn client(
    network: Network,
    profile: Option<&Arc<ClientProfile>>,
    localities: &Localities,
) -> Client {
    let profile = profile.cloned();
    let is_located = profile.as_ref().is_some_and(|profile| profile.locality.is_some());
    let configured = if is_located { None } else { localities.around(&network).cloned() };
    Client { network, profile, configured }
}
