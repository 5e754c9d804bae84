//! The data types that the modules share: names, instances, health, labels, updates.
//!
//! ```text
//!  source ── Update { Member, Instance { Health, Labels, Target } } ──▶ catalog ── Name ──▶ dns
//!                                                                       │
//!                                  Explained, ServicePage, … ◀──────────┘   to api, read by cli
//! ```
//!
//! Plain data without I/O, tasks or locks, so that sources, the catalog, answers and the admin port
//! share it without knowing each other. Imports [`crate::wire`] only.
//!
//! Rejected: an event type for each source, behind a trait object. All sources send [`Update`], so
//! the catalog and its tests know no source.

mod explained;
mod health;
mod hold_reason;
mod instance;
mod labels;
mod listed;
mod name;
mod nearest;
mod network;
mod reloaded;
mod retained;
mod selector;
mod state_changes;
mod text;
mod update;
mod watch_subject;

pub use explained::{
    Explained, ExplainedClient, ExplainedGroup, ExplainedInstance, ExplainedMember, ExplainedRoute,
    ExplainedService, FOR_EVERY_CLIENT, GivenAnswer, HeldReport, InstanceReport, KnownAs, MemberStatus,
    NameKind,
};
pub use health::{Health, HealthSet};
pub use hold_reason::HoldReason;
pub use instance::{Held, Instance, NamedPort, Protocol, Target};
pub use labels::Labels;
pub use listed::{
    ApiError, InstancePage, ListedError, ListedInstance, ListedService, ListedSource, ListedWatches,
    ServicePage, SourceList,
};
pub use name::{Name, NameError, instance_label, stable_hash};
pub use nearest::nearest;
pub use network::{Network, NetworkError};
pub use reloaded::{ReloadDiagnostic, ReloadResult, Reloaded};
pub use retained::{Retained, RetainedImport, Retention};
pub use selector::{Selector, SelectorError};
pub use state_changes::StateChanges;
pub use text::one_line;
pub use update::{Import, Member, SourceId, SourceKind, Update};
pub use watch_subject::{Freshness, StaleMembers, Staleness, WatchSubject};
