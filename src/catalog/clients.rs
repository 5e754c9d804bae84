//! Clients: who asks from which address.
//!
//! Routes are for clients that are instances themselves: pods and machines that the sources report.
//! What routes ask of them is known when the configuration is loaded, so each address is given,
//! when its instances change, one bit for each such question; a query tests a bit. An address that
//! tells more than one possible client apart does not decide: it matches nothing.

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

/// What is asked of a client for a route to be its route; all must hold.
#[derive(Debug)]
pub struct ClientTest {
    /// Networks of which one must hold its address; empty: any.
    pub networks: Box<[Network]>,
    /// The number of what must be known of it; `None`: nothing.
    pub identity: Option<u32>,
    /// The zone that it must be in.
    pub zone: Option<Arc<str>>,
}

/// What is known of the clients of one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientProfile {
    /// One bit for each identity that routes ask for.
    bits: Box<[u64]>,
    /// One bit for each that some of those who have the address match where others do not, or none
    /// can be told; empty if there is no such one.
    ambiguous: Box<[u64]>,
    locality: Option<Locality>,
}

/// Who asks, as far as it is known.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address, or the network that a forwarder says it is in.
    pub network: Network,
    pub(super) known: Option<Arc<ClientProfile>>,
    /// Where its address is configured to be, if no source knows it better.
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
    /// Whether a route with this test is the client's.
    #[inline]
    pub fn passes(&self, test: &ClientTest) -> bool {
        self.check(test) == ClientMatch::Matches
    }

    /// Whether the client fails the test only because other instances share its address.
    #[inline]
    pub fn is_ambiguous_for(&self, test: &ClientTest) -> bool {
        self.check(test) == ClientMatch::Ambiguous
    }

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
        match (test.identity, self.known.as_deref()) {
            (None, _) => ClientMatch::Matches,
            (Some(_), None) => ClientMatch::Unknown,
            (Some(at), Some(known)) if bit(&known.bits, at) => ClientMatch::Matches,
            (Some(at), Some(known)) if bit(&known.ambiguous, at) => ClientMatch::Ambiguous,
            (Some(_), Some(_)) => ClientMatch::Different,
        }
    }

    /// Tells whether several share its address, so that not every route can tell whether it is
    /// theirs.
    pub fn is_ambiguous(&self) -> bool {
        self.known.as_deref().is_some_and(|known| !known.ambiguous.is_empty())
    }

    /// Where it is.
    pub fn locality(&self) -> Option<&Locality> {
        self.known.as_deref().and_then(|known| known.locality.as_ref()).or(self.configured.as_ref())
    }
}

/// The bit at a place; what is beyond the end is 0.
fn bit(words: &[u64], at: u32) -> bool {
    let word = usize::try_from(at / 64).ok().and_then(|word| words.get(word));
    word.is_some_and(|word| word >> (at % 64) & 1 == 1)
}

/// What the routes of a configuration ask of clients beside where they are, each question once.
#[derive(Debug, Default)]
pub(super) struct ClientTests {
    identities: Vec<ClientFilter>,
    /// Whether any answer depends on who asks or where.
    needed: bool,
}

impl ClientTests {
    /// Gathers them from all services.
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

    /// Makes of what a route asks for what can be tested at a query.
    pub(super) fn test(&self, clients: &ClientFilter) -> ClientTest {
        let identity = identity(clients);
        let at = self.identities.iter().position(|other| *other == identity);
        ClientTest {
            networks: clients.networks.as_slice().into(),
            identity: at.and_then(|at| u32::try_from(at).ok()),
            zone: clients.locality.clone(),
        }
    }
}

/// What is asked beside network and zone, which an address can have that no source knows.
fn identity(clients: &ClientFilter) -> ClientFilter {
    ClientFilter { networks: Vec::new(), locality: None, ..clients.clone() }
}

/// Which instances have which address.
#[derive(Debug, Default)]
pub(super) struct ClientIndex {
    pub(super) tests: ClientTests,
    reporters: HashMap<IpAddr, BTreeSet<(Member, Arc<str>)>>,
    touched: BTreeSet<IpAddr>,
}

impl ClientIndex {
    /// Makes the empty index of a configuration.
    pub(super) fn new(config: &Config) -> Self {
        Self { tests: ClientTests::new(config), ..Self::default() }
    }

    /// Notes that `member` reports `after` where it reported `before`. Costs nothing where nobody
    /// asks.
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

    /// Who reports an instance with this address, as far as anybody asks.
    pub(super) fn reporters_of(&self, address: IpAddr) -> impl Iterator<Item = &(Member, Arc<str>)> {
        self.reporters.get(&address.to_canonical()).into_iter().flatten()
    }

    /// Takes the addresses that have changed, with what is known of each now. `find` gives what a
    /// reporter says.
    pub(super) fn changed<'i>(
        &mut self,
        localities: &Localities,
        find: impl Fn(&Member, &Arc<str>) -> Option<&'i Instance>,
    ) -> Vec<(IpAddr, Option<ClientProfile>)> {
        let touched = std::mem::take(&mut self.touched);
        let known = |address: &IpAddr| {
            let reporters = self.reporters.get(address)?;
            let reports = reporters
                .iter()
                .filter_map(|(member, id)| find(member, id).map(|instance| (member, instance)));
            Some(self.known(reports, localities))
        };
        touched.iter().map(|address| (*address, known(address))).collect()
    }

    fn known<'i>(
        &self,
        reports: impl Iterator<Item = (&'i Member, &'i Instance)>,
        localities: &Localities,
    ) -> ClientProfile {
        let mut possible: BTreeMap<PossibleClientKey<'_>, PossibleClient<'_>> = BTreeMap::new();
        for (member, instance) in reports {
            possible.entry(PossibleClientKey::new(member, instance)).or_default().add(member, instance);
        }
        let shared = possible.values().any(|client| client.shares_address);
        let mut bits = vec![0_u64; self.tests.identities.len().div_ceil(64)];
        let mut ambiguous = bits.clone();
        for (at, identity) in self.tests.identities.iter().enumerate() {
            let matching = possible.values().filter(|client| client.is(identity)).count();
            let is_told = matching == possible.len() && !shared;
            let words = if is_told { &mut bits } else { &mut ambiguous };
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

/// What makes two reports one client: a pod has its address to itself, whatever services it belongs
/// to; of other sources each instance is one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct PossibleClientKey<'i> {
    source: &'i SourceId,
    instance: &'i str,
}

impl<'i> PossibleClientKey<'i> {
    fn new(member: &'i Member, instance: &'i Instance) -> Self {
        let is_pod = member.source.kind == SourceKind::Kubernetes;
        Self { source: &member.source, instance: if is_pod { "" } else { &instance.id } }
    }
}

/// One that may ask from an address.
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

    fn is(&self, wanted: &ClientFilter) -> bool {
        let same = |wanted: &Option<Arc<str>>, has: Option<&Arc<str>>| {
            wanted.as_ref().is_none_or(|wanted| has == Some(wanted))
        };
        wanted.service.as_ref().is_none_or(|service| self.services.contains(&service))
            && wanted.labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
            && same(&wanted.kube_namespace, self.kube_namespace)
    }
}

/// Finds out who asks, in the tables of a snapshot.
pub(super) fn client(
    network: Network,
    known: Option<&Arc<ClientProfile>>,
    localities: &Localities,
) -> Client {
    let known = known.cloned();
    let is_known = known.as_ref().is_some_and(|known| known.locality.is_some());
    let configured = if is_known { None } else { localities.around(&network).cloned() };
    Client { network, known, configured }
}
