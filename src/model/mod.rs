//! The words of the program: names, instances, health, labels, updates, status.
//!
//! Everything here is plain data without I/O, so that sources, catalog, answers and admin can share it without
//! knowing each other. It imports nothing from the crate. A `dyn Any`-shaped event per source was rejected: every
//! source speaks [`Update`], so the catalog and its tests need to know no source.

mod explained;
mod health;
mod instance;
mod labels;
mod name;
mod nearest;
mod network;
mod reloaded;
mod retained;
mod selector;
mod text;
mod update;

pub use explained::{
    ApiError, Explained, ExplainedClient, ExplainedGroup, ExplainedInstance, ExplainedRoute,
    ExplainedService, FOR_EVERY_CLIENT, GivenAnswer, InstancePage, InstanceReport, KnownAs, ListedError,
    ListedInstance, ListedService, ListedSource, ListedWatches, NameKind, ServicePage, SourceList,
};
pub use health::{Health, HealthSet};
pub use instance::{Instance, NamedPort, Protocol, Target};
pub use labels::Labels;
pub use name::{Name, NameError, instance_label, stable_hash};
pub use nearest::nearest;
pub use network::{Network, NetworkError};
pub use reloaded::{ReloadDiagnostic, ReloadResult, Reloaded};
pub use retained::{Retained, Retention};
pub use selector::{Selector, SelectorError};
pub use text::one_line;
pub use update::{Import, Member, SourceId, SourceKind, Update};
