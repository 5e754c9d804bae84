//! The snapshot: what answers are read from.
//!
//! A [`Zone`]'s table maps service names to compiled [`Service`]s. All that one answer needs is within one service, reached
//! by one look-up, so an answer never mixes two states. Reading never waits: the table's readers are lock-free.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::rotation::RotationId;
use crate::{config::Truncate, model::Name};

/// The cell that holds the current snapshot; replaced as a whole only when the configuration changes.
pub type Cell = arc_swap::ArcSwap<Snapshot>;

/// All zones that muster is authoritative for.
#[derive(Debug, Default)]
pub struct Snapshot {
    zones: HashMap<Name, Arc<Zone>>,
}

impl Snapshot {
    /// Makes a snapshot of these zones.
    pub fn new(zones: impl IntoIterator<Item = Arc<Zone>>) -> Self {
        Self { zones: zones.into_iter().map(|zone| (zone.apex.clone(), zone)).collect() }
    }

    /// Finds the zone with the longest apex that `name` is at or below.
    ///
    /// `name` is in wire format, letters lower case. *Cost*: one hash look-up for each label of the name.
    pub fn zone(&self, name: &[u8]) -> Option<&Arc<Zone>> {
        let mut rest = name;
        loop {
            if let Some(zone) = self.zones.get(rest) {
                return Some(zone);
            }
            let (&length, after) = rest.split_first()?;
            if length == 0 {
                return None;
            }
            rest = after.get(usize::from(length)..)?;
        }
    }

    /// Iterates over the zones, in no particular order.
    pub fn zones(&self) -> impl Iterator<Item = &Arc<Zone>> {
        self.zones.values()
    }
}

/// One namespace as it is answered.
#[derive(Debug)]
pub struct Zone {
    /// The zone's name.
    pub apex: Name,
    /// TTL of negative answers and the SOA's minimum, in seconds.
    pub negative_ttl: u32,
    /// TTL of apex records, in seconds.
    pub ttl: u32,
    /// The SOA's serial.
    pub serial: u32,
    /// Name servers, at least one.
    pub ns: Vec<Name>,
    /// Whether the only name server is the built-in one below the apex, which has the address that was asked.
    pub built_in_ns: bool,
    /// The SOA's mailbox.
    pub hostmaster: Name,
    /// Which answers say TC when they do not fit.
    pub truncate: Truncate,
    pub(super) services: papaya::HashMap<Name, Arc<Service>>,
    /// How many services stand below a name that is itself none, such as `_tcp` below the apex.
    pub(super) empty_non_terminals: papaya::HashMap<Name, usize>,
    /// Imports whose list has not been heard: until then any name may exist.
    pub(super) unsynced_imports: AtomicUsize,
}

/// What a look-up of a service found.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A service, and the labels in front of its name, as wire labels without an end.
    Service(Arc<Service>, usize),
    /// A name without records that others stand below (RFC 8020).
    EmptyNonTerminal,
    /// No such name.
    Absent,
    /// No such name is known, but a source that could have it has never been heard.
    Unknown,
}

impl Zone {
    /// Most labels that a service's name has below the apex: `_svc._proto`.
    const SERVICE_LABELS: usize = 2;

    /// Looks up the service that `name` belongs to: the longest service name that is `name` or above it.
    ///
    /// `name` is in wire format, lower case, below this zone's apex. In [`Lookup::Service`] the number says how many bytes
    /// of `name` stand in front of the service's name.
    pub fn lookup(&self, name: &[u8]) -> Lookup {
        let services = self.services.pin();
        let below = name.len().saturating_sub(self.apex.as_wire().len());
        let cuts = label_starts(name.get(..below).unwrap_or_default());
        let deepest = cuts.len().saturating_sub(Self::SERVICE_LABELS);
        for &at in cuts.get(deepest..).unwrap_or_default() {
            if let Some(service) = name.get(at..).and_then(|owner| services.get(owner)) {
                return Lookup::Service(Arc::clone(service), at);
            }
        }
        if self.empty_non_terminals.pin().get(name).is_some() {
            Lookup::EmptyNonTerminal
        } else if self.unsynced_imports.load(Ordering::Acquire) > 0 {
            Lookup::Unknown
        } else {
            Lookup::Absent
        }
    }

    /// Every service of the zone, in the order of their names.
    pub fn services(&self) -> Vec<Arc<Service>> {
        let mut services: Vec<_> = self.services.pin().values().cloned().collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        services
    }
}

/// Where the labels of wire labels begin, leftmost first.
fn label_starts(labels: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(&length) = labels.get(at) {
        starts.push(at);
        at += usize::from(length) + 1;
    }
    starts
}

/// One service as it is answered: everything that any question about it needs.
#[derive(Debug)]
pub struct Service {
    /// The service's name.
    pub name: Name,
    /// TTL of its records, in seconds.
    pub ttl: u32,
    /// Records of one type in one answer.
    pub max_answers: usize,
    /// Whether every one of its members has been heard; if not, what is missing may still exist.
    pub complete: bool,
    /// Whether no instance is fit and the unfit ones are answered.
    pub failed_open: bool,
    /// How many instances there are, whatever their health.
    pub total: usize,
    /// IPv4 addresses that are answered, each once.
    pub v4: Box<[Ipv4Addr]>,
    /// IPv6 addresses that are answered, each once.
    pub v6: Box<[Ipv6Addr]>,
    /// Host names that take their turn as a CNAME.
    pub hosts: Box<[Name]>,
    /// The cursor for A (and for the turns of `hosts` there).
    pub v4_rotation: RotationId,
    /// The cursor for AAAA (and for the turns of `hosts` there).
    pub v6_rotation: RotationId,
    /// SRV records at the service's own name.
    pub srv: PortAnswers,
    /// SRV records below it, by `_port._proto` in wire labels.
    pub ports: HashMap<Box<[u8]>, PortAnswers>,
    /// Every instance, whatever its health, by its label.
    pub instances: HashMap<Box<[u8]>, Arc<InstanceAnswer>>,
}

impl Service {
    /// Tells whether any instance is answered at all.
    pub fn has_eligible(&self) -> bool {
        !(self.v4.is_empty() && self.v6.is_empty() && self.hosts.is_empty())
    }
}

/// The SRV records of one owner name.
#[derive(Debug)]
pub struct PortAnswers {
    /// The records, in a fixed order.
    pub records: Box<[SrvRecord]>,
    /// The cursor that turns them.
    pub rotation: RotationId,
}

/// One SRV record (RFC 2782).
#[derive(Clone, Debug)]
pub struct SrvRecord {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among records of one priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The target.
    pub target: SrvTarget,
}

/// What an SRV record points to.
#[derive(Clone, Debug)]
pub enum SrvTarget {
    /// An instance's name below the service's, with its addresses for the additional section.
    Instance(Arc<InstanceAnswer>),
    /// A host name outside.
    Host(Name),
}

/// One instance as it is answered at its own name.
#[derive(Debug)]
pub struct InstanceAnswer {
    /// Its name below the service's.
    pub name: Name,
    /// Its IPv4 addresses.
    pub v4: Box<[Ipv4Addr]>,
    /// Its IPv6 addresses.
    pub v6: Box<[Ipv6Addr]>,
    /// The host name that it is an alias of; then it has no addresses.
    pub host: Option<Name>,
}
