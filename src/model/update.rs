//! What sources say to the catalog.

use std::{fmt, sync::Arc};

use super::{Instance, Name};

/// The name of a configured source, such as `vms` in `[consul.vms]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId {
    /// Which kind of source it is.
    pub kind: SourceKind,
    /// Its name in the configuration; unique within its kind. The static source is called `static`.
    pub name: Arc<str>,
}

impl SourceId {
    /// The source of the instances that stand in the configuration.
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
    /// The source that reports it.
    pub source: SourceId,
    /// Its place in the service's `from`; members of an import have [`Member::IMPORTED`].
    pub place: u16,
}

impl Member {
    /// The place of a member that an import brought.
    pub const IMPORTED: u16 = u16::MAX;
    /// The place of a member whose instances are nobody's: they only tell who asks from which address.
    pub const CLIENTS: u16 = u16::MAX - 1;

    /// The member of everything that `source` knows of who asks, beside the instances of services.
    pub fn clients(source: SourceId) -> Self {
        Self { service: Name::root(), source, place: Self::CLIENTS }
    }
}

/// One `[[import]]` of a namespace: services that take their names from the source's own list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Import {
    /// The namespace that the names are put into.
    pub apex: Name,
    /// The source whose list is followed.
    pub source: SourceId,
    /// Its place among the namespace's imports.
    pub place: u16,
}

/// What a source says.
///
/// Every (re)connection begins with a [`Reset`](Self::Reset), so nothing stale can survive a reconnect; the catalog
/// replaces by difference, so nothing goes empty in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// All instances that a member has now; empty means that there are none, which is not the same as not knowing.
    Reset {
        /// Whose instances they are.
        member: Member,
        /// Every instance; of two with one id the last counts.
        instances: Vec<Instance>,
    },
    /// One instance, new or changed.
    Upsert {
        /// Whose instance it is.
        member: Member,
        /// The instance as it is now.
        instance: Instance,
    },
    /// One instance is gone; no error if it was not there.
    Remove {
        /// Whose instance it was.
        member: Member,
        /// Its id.
        id: Arc<str>,
    },
    /// What a member said last is too old to be used (`max_stale`): as if it had never synced.
    Expired {
        /// Whose instances are dropped.
        member: Member,
    },
    /// All names that an import has now. Names that it no longer lists lose the import's member.
    Imported {
        /// Which import.
        import: Import,
        /// The services' full names, each directly under the import's apex; in any order. The catalog takes a
        /// [`Member`] with place [`Member::IMPORTED`] for each; its instances come with `Reset` as any other's.
        services: Vec<Name>,
    },
    /// An import's list is too old to be used: names that are not known may exist again.
    ImportExpired {
        /// Which import.
        import: Import,
    },
}
