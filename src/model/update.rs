//! Updates: the changes that sources send to the catalog.

use std::{fmt, sync::Arc};

use super::{Instance, Name};

/// The name of a configured source, such as `vms` in `[consul.vms]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId {
    /// The kind of source.
    pub kind: SourceKind,
    /// The name in the configuration, unique within its kind. The static source is called `static`.
    pub name: Arc<str>,
}

impl SourceId {
    /// The source of the instances that the configuration lists.
    pub fn static_source() -> Self {
        Self { kind: SourceKind::Static, name: SourceKind::Static.as_str().into() }
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            SourceKind::Static => f.pad("static"),
            kind => write!(f, "{}.{}", kind.as_str(), self.name),
        }
    }
}

/// The kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    /// Consul's health checks.
    Consul,
    /// Kubernetes pods and EndpointSlices.
    Kubernetes,
    /// Instances from the configuration itself, with probes.
    Static,
}

impl SourceKind {
    /// The kind's name in configuration, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consul => "consul",
            Self::Kubernetes => "kubernetes",
            Self::Static => "static",
        }
    }
}

/// One entry of a service's `from`: the instances of one source that belong to one service.
///
/// Two members are the same when all three fields are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// The service's full name, such as `nginx.cloudmapdemo`.
    pub service: Name,
    /// The source that reports the instances.
    pub source: SourceId,
    /// The position in the service's `from`; members of an import have [`Member::IMPORTED`].
    pub place: u16,
}

impl Member {
    /// The place of an import's members.
    pub const IMPORTED: u16 = u16::MAX;
    /// The place of a member that belongs to no service: its instances only identify clients by
    /// their addresses.
    pub const CLIENTS: u16 = u16::MAX - 1;

    /// The member of all clients that `source` knows in addition to the instances of services.
    pub fn clients(source: SourceId) -> Self {
        Self { service: Name::root(), source, place: Self::CLIENTS }
    }

    /// Whether this is the member of a name that `import` can list.
    pub fn is_imported_by(&self, import: &Import) -> bool {
        self.place == Self::IMPORTED
            && self.source == import.source
            && self.service.parent().as_ref() == Some(&import.apex)
    }
}

/// One `[[import]]` of a namespace: services named after the source's own list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Import {
    /// The namespace that gets the names.
    pub apex: Name,
    /// The source whose list is followed.
    pub source: SourceId,
    /// The position among the namespace's imports.
    pub place: u16,
}

/// A change that a source sends to the catalog.
///
/// Every (re)connection begins with a [`Reset`](Self::Reset), so no stale instance survives a
/// reconnect. The catalog applies it as a difference, so the service is not empty in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// The full list of a member's instances. An empty list means that there are none; a member
    /// without a `Reset` is not synced, which is not the same.
    Reset {
        /// The member that has the instances.
        member: Member,
        /// Every instance. If two have the same id, the last one counts.
        instances: Vec<Instance>,
    },
    /// One instance, new or changed.
    Upsert {
        /// The member that has the instance.
        member: Member,
        /// The instance's current state.
        instance: Instance,
    },
    /// One instance is gone. Removing a missing instance is not an error.
    Remove {
        /// The member that had the instance.
        member: Member,
        /// The instance's id.
        id: Arc<str>,
    },
    /// Several changes that one response of a source holds. They become visible together, so no
    /// threshold is crossed by half of them.
    Changes(Vec<Update>),
    /// A member's state was stale for longer than `max_stale`: as if it had never synced.
    Expired {
        /// The member whose instances are dropped.
        member: Member,
    },
    /// The source of a member failed before the member synced. It may be away for long, so nothing
    /// waits for it any more.
    Failed {
        /// The member whose source failed.
        member: Member,
    },
    /// The full list of an import's names. Names that left the list lose the import's member.
    Imported {
        /// The import that lists the names.
        import: Import,
        /// The services' full names, each directly under the import's apex, in any order. Each gets
        /// a [`Member`] with place [`Member::IMPORTED`], whose instances come with its own `Reset`.
        services: Vec<Name>,
    },
    /// An import's list was stale for longer than `max_stale`: any unknown name may exist again.
    ImportExpired {
        /// The import whose list is dropped.
        import: Import,
    },
}

impl Update {
    /// One update of several that become visible together; `None`: there are none.
    pub fn together(mut updates: Vec<Self>) -> Option<Self> {
        match updates.len() {
            0 | 1 => updates.pop(),
            _ => Some(Self::Changes(updates)),
        }
    }
}
