//! The snapshot: what answers are read from.
//!
//! One table maps service names to compiled [`Service`]s. All that one answer needs is within one
//! service, reached by one look-up, so an answer never mixes two states. Reading never waits: the
//! table's readers are lock-free, and a [`View`] keeps what it has found alive without counting
//! references.

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
};

/// The cell that holds the current snapshot; replaced as a whole only when the configuration
/// changes.
pub type SnapshotCell = arc_swap::ArcSwap<Snapshot>;

type ByName<V> = papaya::HashMap<Name, V, NameHasher>;

/// Everything that muster is authoritative for.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    zones: HashMap<Name, Arc<Zone>, NameHasher>,
    localities: Arc<Localities>,
    tables: Arc<Tables>,
    /// Whether a zone has other names than those of services.
    has_reverse: bool,
}

/// The tables that change while the snapshot stays.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// By full name, over all zones.
    services: ByName<Service>,
    /// How many services (or inner apexes) stand below a name that is itself none, such as `_tcp`
    /// below an apex.
    empty_non_terminals: ByName<usize>,
    /// What is known of who asks, by address; empty where no answer depends on it.
    clients: papaya::HashMap<IpAddr, Arc<ClientProfile>, NameHasher>,
    /// The names of the instances at an address, where reverse names are answered.
    addresses: NamesByKey<IpAddr>,
    /// What can be browsed: see [`super::dns_sd`].
    browsed: NamesByKey<Name>,
    /// The sum of all zones' `unsynced_imports`.
    unsynced_imports: AtomicUsize,
}

/// What a look-up found.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'v> {
    /// A service, and how many bytes of the name stand in front of the service's own.
    Service(&'v Service, usize),
    /// The apex of a zone.
    Apex(&'v Zone),
    /// A name without records that others stand below (RFC 8020).
    EmptyNonTerminal(&'v Zone),
    /// The reverse name of an address that these instances have.
    Address(&'v Zone, &'v Names),
    /// What a zone is browsed by.
    Browse(&'v Zone, Browse<'v>),
    /// No such name.
    NxDomain(&'v Zone),
    /// No such name is known, but a source that could have it has never been heard.
    NotSynced(&'v Zone),
    /// The name is in none of our zones.
    External,
}

/// A reader's hold on the snapshot's tables; what is looked up through it lives as long as it does.
///
/// Short-lived: what is replaced meanwhile is freed only after it is gone.
pub struct View<'s> {
    snapshot: &'s Snapshot,
    services: papaya::HashMapRef<'s, Name, Service, NameHasher, papaya::LocalGuard<'s>>,
    /// Whether some import's list was still to be heard when reading began.
    was_unsynced: bool,
    /// `None` where no zone has other names than those of services.
    links: Option<ReverseTables<'s>>,
}

/// A hold on the rarer tables.
struct ReverseTables<'s> {
    addresses: papaya::HashMapRef<'s, IpAddr, Names, NameHasher, papaya::LocalGuard<'s>>,
    browsed: papaya::HashMapRef<'s, Name, Names, NameHasher, papaya::LocalGuard<'s>>,
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
            // Names between an inner zone's apex and the outer one's exist, since the inner apex
            // does.
            let outer =
                zone.apex.parent().and_then(|above| Some(snapshot.zone(above.as_wire())?.0.apex.clone()));
            if let Some(outer) = outer {
                snapshot.count_empty_non_terminals(&zone.apex, &outer, 1);
            }
        }
        snapshot
    }

    /// Begins to read. *Cost*: a few stores; no lock, no reference count.
    pub fn view(&self) -> View<'_> {
        // Before the table is looked at: see `Lookup::NotSynced` in `View::lookup`.
        let was_unsynced = self.tables.unsynced_imports.load(Ordering::Acquire) > 0;
        let links = self.has_reverse.then(|| ReverseTables {
            addresses: self.tables.addresses.pin(),
            browsed: self.tables.browsed.pin(),
        });
        View { snapshot: self, services: self.tables.services.pin(), was_unsynced, links }
    }

    /// Finds the zone with the longest apex that `name` (wire format, lower case) is at or below,
    /// and how many bytes of it stand before the apex. *Cost*: one hash look-up for each label of
    /// the name.
    pub(super) fn zone(&self, name: &[u8]) -> Option<(&Arc<Zone>, usize)> {
        let mut at = 0;
        loop {
            let rest = name.get(at..)?;
            if let Some(zone) = self.zones.get(rest) {
                return Some((zone, at));
            }
            match rest.first()? {
                0 => return None,
                length => at += usize::from(*length) + 1,
            }
        }
    }

    /// Notes that an import of `zone` has been heard. The names that it brought must have been put
    /// before.
    pub(super) fn import_synced(&self, zone: &Zone) {
        zone.unsynced_imports.fetch_sub(1, Ordering::Release);
        self.tables.unsynced_imports.fetch_sub(1, Ordering::Release);
    }

    /// Notes that what an import of `zone` said no longer counts.
    pub(super) fn import_expired(&self, zone: &Zone) {
        self.tables.unsynced_imports.fetch_add(1, Ordering::Release);
        zone.unsynced_imports.fetch_add(1, Ordering::Release);
    }

    pub(super) fn put(&self, service: Service) {
        self.tables.services.pin().insert(service.name.clone(), service);
    }

    /// Sets what is known of the clients of an address.
    pub(super) fn put_client(&self, address: IpAddr, known: Option<ClientProfile>) {
        let clients = self.tables.clients.pin();
        match known {
            Some(known) => drop(clients.insert(address, Arc::new(known))),
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

    pub(super) fn take_out(&self, name: &Name) {
        self.tables.services.pin().remove(name);
    }

    /// Notes a service's arrival (`by` 1) or leaving (-1) at the names between it and its apex.
    pub(super) fn count_empty_non_terminals(&self, name: &Name, apex: &Name, by: isize) {
        let counts = self.tables.empty_non_terminals.pin();
        let mut above = name.parent();
        while let Some(name) = above
            && name != *apex
        {
            let count = counts.get(&name).copied().unwrap_or(0).saturating_add_signed(by);
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

    /// Looks up `name` (wire format, lower case): the longest service name that is `name` or above
    /// it, or what else it is.
    ///
    /// *Cost*: one hash look-up for a service's own name; for others one for each label and service
    /// name tried.
    pub fn lookup(&self, name: &[u8]) -> Lookup<'_> {
        if let Some(service) = self.services.get(name) {
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
            && let Some(found) = self.lookup_pointer(zone, name, apex_at)
        {
            return found;
        }
        let non_terminals = &self.snapshot.tables.empty_non_terminals;
        if !non_terminals.is_empty() && non_terminals.pin().contains_key(name) {
            return Lookup::EmptyNonTerminal(zone);
        }
        if zone.unsynced_imports.load(Ordering::Acquire) > 0 {
            return Lookup::NotSynced(zone);
        }
        // A list that was heard since reading began may have put the name behind our back: then
        // look again.
        self.was_unsynced
            .then(|| self.service_at_or_above(name, apex_at))
            .flatten()
            .unwrap_or(Lookup::NxDomain(zone))
    }

    /// The instances at the address whose reverse name `name` is.
    #[cold]
    pub fn instances_at(&self, name: &[u8]) -> Option<&Names> {
        let Reversed::Address(address) = reverse_name::read(name)? else { return None };
        self.links.as_ref()?.addresses.get(&address)
    }

    /// The service of a name.
    pub fn service(&self, name: &[u8]) -> Option<&Service> {
        self.services.get(name)
    }

    /// The names that one leads to when browsing.
    pub fn browsed(&self, name: &[u8]) -> Option<&Names> {
        self.browsed_entry(name).map(|(_, names)| names)
    }

    pub(super) fn browsed_entry(&self, name: &[u8]) -> Option<(&Name, &Names)> {
        self.links.as_ref()?.browsed.get_key_value(name)
    }

    /// Finds names that are not services'.
    #[cold]
    fn lookup_pointer<'v>(&'v self, zone: &'v Zone, name: &[u8], apex_at: usize) -> Option<Lookup<'v>> {
        match zone.kind {
            ZoneKind::Services => None,
            ZoneKind::Browsed => self.browse(zone, name, apex_at),
            ZoneKind::Reverse => self.reverse_name(zone, name),
        }
    }

    /// Names of networks exist, whether or not anybody has an address in them.
    fn reverse_name<'v>(&'v self, zone: &'v Zone, name: &[u8]) -> Option<Lookup<'v>> {
        match reverse_name::read(name)? {
            Reversed::Network => Some(Lookup::EmptyNonTerminal(zone)),
            Reversed::Address(_) => Some(Lookup::Address(zone, self.instances_at(name)?)),
        }
    }

    fn service_at_or_above(&self, name: &[u8], apex_at: usize) -> Option<Lookup<'_>> {
        let at = self.services.get(name).map(|service| Lookup::Service(service, 0));
        at.or_else(|| self.service_above(name, apex_at))
    }

    /// Tries the names above `name` that a service can have, the longest first.
    fn service_above(&self, name: &[u8], apex_at: usize) -> Option<Lookup<'_>> {
        // Where the last labels before the apex begin; names may have 127 labels, services never
        // more than two.
        let mut starts = [0; View::SERVICE_LABELS];
        let mut at = 0;
        while at < apex_at {
            starts.rotate_left(1);
            if let Some(last) = starts.last_mut() {
                *last = at;
            }
            at += usize::from(*name.get(at)?) + 1;
        }
        starts.into_iter().filter(|at| *at > 0).find_map(|at| {
            let service = self.services.get(name.get(at..)?)?;
            Some(Lookup::Service(service, at))
        })
    }

    /// Finds out who asks from `network`, which is one address unless a forwarder says no more than
    /// a part of it.
    ///
    /// *Cost*: one hash look-up, one reference count, and the configured localities one after the
    /// other.
    pub fn client(&self, network: Network) -> Client {
        let clients = &self.snapshot.tables.clients;
        let localities = &self.snapshot.localities;
        match network.host().filter(|_| !clients.is_empty()) {
            Some(address) => client(network, clients.pin().get(&address), localities),
            None => client(network, None, localities),
        }
    }

    /// Every service, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// Every service, in the order of their names.
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
