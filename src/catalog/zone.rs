//! Zones: a namespace in its compiled form, or the reverse names of a network.

use std::sync::atomic::AtomicUsize;

use crate::{
    config::{Namespace, Truncate},
    model::Name,
};

/// One namespace, or the reverse names of one network.
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
    /// Whether the only name server is the built-in one, `ns.<apex>`. Its address is the one that
    /// the query was sent to.
    pub built_in_ns: bool,
    /// The SOA's mailbox.
    pub hostmaster: Name,
    /// Which answers set TC when they do not fit.
    pub truncate: Truncate,
    /// Which names it has.
    pub(super) kind: ZoneKind,
    /// How many imports are not synced. Until all are, any name may exist.
    pub(super) unsynced_imports: AtomicUsize,
    /// How many browsable services have a member that is not synced. Until all are synced, any
    /// service type may exist.
    pub(super) unsynced_services: AtomicUsize,
}

/// Which names a zone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZoneKind {
    /// Services.
    Services,
    /// Services, and the names that they are browsed by.
    Browsed,
    /// Reverse names.
    Reverse,
}

impl Zone {
    /// Compiles the zone of a namespace, none of whose imports is synced.
    pub(super) fn new(namespace: &Namespace, serial: u32) -> Self {
        let apex = &namespace.apex;
        let (ns, built_in_ns) = match namespace.ns.as_slice() {
            [] => (apex.child(b"ns").ok().into_iter().collect(), true),
            configured => (configured.to_vec(), false),
        };
        Self {
            apex: apex.clone(),
            negative_ttl: namespace.negative_ttl,
            ttl: namespace.ttl,
            serial,
            ns,
            built_in_ns,
            hostmaster: namespace.hostmaster.clone(),
            truncate: namespace.truncate,
            kind: if namespace.dns_sd { ZoneKind::Browsed } else { ZoneKind::Services },
            unsynced_imports: namespace.imports.len().into(),
            unsynced_services: 0.into(),
        }
    }

    /// Whether its names are reverse names.
    pub fn is_reverse(&self) -> bool {
        self.kind == ZoneKind::Reverse
    }

    /// Whether its services can be browsed.
    pub(super) fn is_browsed(&self) -> bool {
        self.kind == ZoneKind::Browsed
    }
}
