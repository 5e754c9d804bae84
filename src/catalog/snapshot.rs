//! The snapshot: the compiled state that answers are read from.
//!
//! ```text
//!  name ─▶ services ─▶ Service           lock-free tables, one entry a service
//!     └──▶ zones ─▶ Zone
//!           ├─ browsed, addresses ─▶ Names    only where zones have such names
//!           └─ empty non-terminals
//!  address ─▶ clients ─▶ ClientProfile
//! ```
//!
//! Everything that one answer needs is within one service, reached by one lookup, so an answer
//! never mixes two states. Reading never waits: the tables' readers are lock-free, and a [`View`]
//! keeps what it has found alive without counting references.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    clients::{Client, ClientProfile, client},
    dns_sd::Browse,
    names::{NameHasher, Names, NamesByKey},
    reverse_name::{self, Reversed},
    service::Service,
    zone::{Zone, ZoneKind},
};
use crate::{
    model::{Name, Network},
    policy::Localities,
    wire::WireName,
};

/// The cell that holds the current snapshot. A reload replaces it as a whole.
pub type SnapshotCell = arc_swap::ArcSwap<Snapshot>;

type ByName<V> = papaya::HashMap<Name, V, NameHasher>;

type TableRef<'s, K, V> = papaya::HashMapRef<'s, K, V, NameHasher, papaya::LocalGuard<'s>>;

/// Everything that muster is authoritative for.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By apex.
    zones: HashMap<Name, Arc<Zone>, NameHasher>,
    localities: Arc<Localities>,
    tables: Arc<Tables>,
    /// Whether any zone has names that are not services'. If none has, the reverse tables stay
    /// empty.
    has_reverse: bool,
}

/// The tables that change while the snapshot stays.
#[derive(Debug, Default)]
struct Tables {
    /// The services of all zones, by owner name.
    services: ByName<Service>,
    /// How many services and inner apexes are below a name without records, such as `_tcp` below an
    /// apex.
    empty_non_terminals: ByName<usize>,
    /// The clients at an address. Empty if no answer depends on the client.
    clients: papaya::HashMap<IpAddr, Arc<ClientProfile>, NameHasher>,
    /// The instances at an address, if reverse names are answered.
    addresses: NamesByKey<IpAddr>,
    /// The names that DNS-SD leads to: see [`super::dns_sd`].
    browsed: NamesByKey<Name>,
    /// The sum of all zones' `unsynced_imports`.
    unsynced_imports: AtomicUsize,
}

/// The result of a lookup.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'v> {
    /// A service, and how many bytes of the name precede its own name.
    Service(&'v Service, usize),
    /// The apex of a zone.
    Apex(&'v Zone),
    /// A name without records that has names below it (RFC 8020).
    EmptyNonTerminal(&'v Zone),
    /// The reverse name of an address that these instances have.
    Address(&'v Zone, &'v Names),
    /// A name of DNS-SD.
    Browse(&'v Zone, Browse<'v>),
    /// The name does not exist.
    NxDomain(&'v Zone),
    /// The name is not known, but a source that is not synced could have it.
    NotSynced(&'v Zone),
    /// The name is in none of the zones.
    External,
}

/// A reader's hold on the snapshot's tables. What it finds lives as long as the view.
///
/// A view should be short-lived: replaced entries are freed only after it is dropped.
pub struct View<'s> {
    snapshot: &'s Snapshot,
    services: TableRef<'s, Name, Service>,
    /// Whether some import was not synced when the view was taken.
    was_unsynced: bool,
    /// `None` if every name is a service's.
    reverse: Option<ReverseTables<'s>>,
}

/// A hold on the tables that lead back to services and instances.
struct ReverseTables<'s> {
    addresses: TableRef<'s, IpAddr, Names>,
    browsed: TableRef<'s, Name, Names>,
}

impl Snapshot {
    /// Makes a snapshot of these zones, without services.
    pub(super) fn new(zones: impl IntoIterator<Item = Zone>, localities: Arc<Localities>) -> Self {
        let zones: HashMap<_, _, NameHasher> =
            zones.into_iter().map(|zone| (zone.apex.clone(), Arc::new(zone))).collect();
        let has_reverse = zones.values().any(|zone| zone.kind != ZoneKind::Services);
        let snapshot = Self { zones, localities, tables: Arc::default(), has_reverse };
        for zone in snapshot.zones.values() {
            let unsynced = zone.unsynced_imports.load(Ordering::Relaxed);
            snapshot.tables.unsynced_imports.fetch_add(unsynced, Ordering::Relaxed);
            // An inner apex exists, so the names between it and the outer apex exist too.
            let outer =
                zone.apex.parent().and_then(|above| Some(snapshot.zone(above.wire())?.0.apex.clone()));
            if let Some(outer) = outer {
                snapshot.count_empty_non_terminals(&zone.apex, &outer, 1);
            }
        }
        snapshot
    }

    /// Begins to read. *Cost*: a few stores; no lock, no reference count.
    pub fn view(&self) -> View<'_> {
        // Loaded before the tables are read: see the end of `View::lookup`.
        let was_unsynced = self.tables.unsynced_imports.load(Ordering::Acquire) > 0;
        let reverse = self.has_reverse.then(|| ReverseTables {
            addresses: self.tables.addresses.pin(),
            browsed: self.tables.browsed.pin(),
        });
        View { snapshot: self, services: self.tables.services.pin(), was_unsynced, reverse }
    }

    /// Finds the zone with the longest apex that `name` is at or below, and how many bytes of the
    /// name precede the apex. *Cost*: a hash lookup for each label of the name.
    pub(super) fn zone(&self, name: WireName<'_>) -> Option<(&Arc<Zone>, usize)> {
        name.suffixes().find_map(|(at, suffix)| Some((self.zones.get(suffix.as_bytes())?, at)))
    }

    /// Counts an import of `zone` as synced. Its names must be in the tables already.
    pub(super) fn import_synced(&self, zone: &Zone) {
        let before = zone.unsynced_imports.fetch_sub(1, Ordering::Release);
        debug_assert!(before > 0, "an import syncs once between two expiries");
        self.tables.unsynced_imports.fetch_sub(1, Ordering::Release);
    }

    /// Counts an import of `zone` as not synced again.
    pub(super) fn import_expired(&self, zone: &Zone) {
        self.tables.unsynced_imports.fetch_add(1, Ordering::Release);
        zone.unsynced_imports.fetch_add(1, Ordering::Release);
    }

    /// Inserts or replaces a service.
    pub(super) fn put(&self, service: Service) {
        self.tables.services.pin().insert(service.name.clone(), service);
    }

    pub(super) fn remove(&self, name: &Name) {
        self.tables.services.pin().remove(name);
    }

    /// Replaces the profile of an address; `None`: no instance has it any more.
    pub(super) fn put_client(&self, address: IpAddr, profile: Option<ClientProfile>) {
        let clients = self.tables.clients.pin();
        match profile {
            Some(profile) => drop(clients.insert(address, Arc::new(profile))),
            None => drop(clients.remove(&address)),
        }
    }

    pub(super) fn addresses(&self) -> &NamesByKey<IpAddr> {
        &self.tables.addresses
    }

    pub(super) fn browsed(&self) -> &NamesByKey<Name> {
        &self.tables.browsed
    }

    pub(super) fn localities(&self) -> &Localities {
        &self.localities
    }

    /// Counts a name as added (`by` 1) or removed (-1) at the names between it and its apex.
    pub(super) fn count_empty_non_terminals(&self, name: &Name, apex: &Name, by: isize) {
        let counts = self.tables.empty_non_terminals.pin();
        let mut above = name.parent();
        while let Some(name) = above
            && name != *apex
        {
            let before = counts.get(&name).copied().unwrap_or(0);
            debug_assert!(by > 0 || before > 0, "a name is removed as often as it was added");
            let count = before.saturating_add_signed(by);
            above = name.parent();
            if count == 0 {
                counts.remove(&name);
            } else {
                counts.insert(name, count);
            }
        }
    }
}

impl View<'_> {
    /// Most labels that a service's name has below the apex: `_svc._proto`.
    const SERVICE_LABELS: usize = 2;

    /// Looks up a lower-case name: a service at or above it, or whatever else the name is.
    ///
    /// *Cost*: one hash lookup for a service's own name; otherwise one for each label of the name
    /// and for each service name tried.
    pub fn lookup(&self, name: WireName<'_>) -> Lookup<'_> {
        if let Some(service) = self.service(name) {
            return Lookup::Service(service, 0);
        }
        let Some((zone, apex_at)) = self.snapshot.zone(name) else { return Lookup::External };
        if apex_at == 0 {
            return Lookup::Apex(zone);
        }
        if let Some(found) = self.service_above(name, apex_at) {
            return found;
        }
        if zone.kind != ZoneKind::Services
            && let Some(found) = self.lookup_reverse(zone, name, apex_at)
        {
            return found;
        }
        let non_terminals = &self.snapshot.tables.empty_non_terminals;
        if !non_terminals.is_empty() && non_terminals.pin().contains_key(name.as_bytes()) {
            return Lookup::EmptyNonTerminal(zone);
        }
        if zone.unsynced_imports.load(Ordering::Acquire) > 0 {
            return Lookup::NotSynced(zone);
        }
        // An import that has synced since the view was taken may have added the name after it was
        // looked for: look again.
        self.was_unsynced
            .then(|| self.service_at_or_above(name, apex_at))
            .flatten()
            .unwrap_or(Lookup::NxDomain(zone))
    }

    /// The instances at the address whose reverse name is `name`.
    #[cold]
    pub fn instances_at(&self, name: WireName<'_>) -> Option<&Names> {
        let Reversed::Address(address) = reverse_name::read(name)? else { return None };
        self.reverse.as_ref()?.addresses.get(&address)
    }

    /// The service with this owner name.
    pub fn service(&self, name: WireName<'_>) -> Option<&Service> {
        self.services.get(name.as_bytes())
    }

    /// The names that a name of DNS-SD leads to.
    pub fn browsed(&self, name: WireName<'_>) -> Option<&Names> {
        self.browsed_entry(name).map(|(_, names)| names)
    }

    pub(super) fn browsed_entry(&self, name: WireName<'_>) -> Option<(&Name, &Names)> {
        self.reverse.as_ref()?.browsed.get_key_value(name.as_bytes())
    }

    /// Looks up a name that is not a service's.
    #[cold]
    fn lookup_reverse<'v>(
        &'v self,
        zone: &'v Zone,
        name: WireName<'_>,
        apex_at: usize,
    ) -> Option<Lookup<'v>> {
        match zone.kind {
            ZoneKind::Services => None,
            ZoneKind::Browsed => self.browse(zone, name, apex_at),
            ZoneKind::Reverse => self.reverse_name(zone, name),
        }
    }

    /// Looks up a reverse name. That of a network exists, whether or not an instance is in it.
    fn reverse_name<'v>(&'v self, zone: &'v Zone, name: WireName<'_>) -> Option<Lookup<'v>> {
        match reverse_name::read(name)? {
            Reversed::Network => Some(Lookup::EmptyNonTerminal(zone)),
            Reversed::Address(_) => Some(Lookup::Address(zone, self.instances_at(name)?)),
        }
    }

    fn service_at_or_above(&self, name: WireName<'_>, apex_at: usize) -> Option<Lookup<'_>> {
        let at = self.service(name).map(|service| Lookup::Service(service, 0));
        at.or_else(|| self.service_above(name, apex_at))
    }

    /// Tries the names above `name` that a service can have, the longest first.
    fn service_above(&self, name: WireName<'_>, apex_at: usize) -> Option<Lookup<'_>> {
        // The suffixes that begin with the last labels before the apex: a name may have 127 labels,
        // a service never has more than two.
        let mut last = [None; View::SERVICE_LABELS];
        for suffix in name.suffixes().skip(1).take_while(|(at, _)| *at < apex_at) {
            last.rotate_left(1);
            if let Some(slot) = last.last_mut() {
                *slot = Some(suffix);
            }
        }
        last.into_iter().flatten().find_map(|(at, suffix)| Some(Lookup::Service(self.service(suffix)?, at)))
    }

    /// Identifies the client at `network`, which is a single address unless a forwarder sends less
    /// than one.
    ///
    /// *Cost*: one hash lookup, one reference count, and a comparison for each configured locality.
    pub fn client(&self, network: Network) -> Client {
        let clients = &self.snapshot.tables.clients;
        let localities = &self.snapshot.localities;
        match network.host().filter(|_| !clients.is_empty()) {
            Some(address) => client(network, clients.pin().get(&address), localities),
            None => client(network, None, localities),
        }
    }

    /// All services, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// All services, sorted by name.
    pub fn services(&self) -> Vec<&Service> {
        let mut services: Vec<_> = self.services.values().collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        services
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}
