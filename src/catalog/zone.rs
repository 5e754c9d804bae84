//! A zone: one namespace as it is answered, or the reverse names of a network.

use std::sync::atomic::AtomicUsize;

use crate::{config::Truncate, model::Name};

/// One namespace.
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
    /// Whether the only name server is the built-in one below the apex, which has the address that
    /// was asked.
    pub built_in_ns: bool,
    /// The SOA's mailbox.
    pub hostmaster: Name,
    /// Which answers say TC when they do not fit.
    pub truncate: Truncate,
    /// Which names it has.
    pub(super) kind: ZoneKind,
    /// Imports whose list has not been heard: until then any name may exist.
    pub(super) unsynced_imports: AtomicUsize,
    /// Services of which a member has not been heard, where they can be browsed: until then they
    /// may have any kind of port.
    pub(super) unsynced_services: AtomicUsize,
}

/// Which names a zone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZoneKind {
    /// Those of services.
    Services,
    /// Those of services, and what they are browsed by.
    Browsed,
    /// Reverse names.
    Reverse,
}

impl Zone {
    /// Tells whether its names are reverse names.
    pub fn is_reverse(&self) -> bool {
        self.kind == ZoneKind::Reverse
    }

    /// Tells whether its services can be browsed.
    pub(super) fn is_browsed(&self) -> bool {
        self.kind == ZoneKind::Browsed
    }
}
