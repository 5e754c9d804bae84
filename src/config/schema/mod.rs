//! The validated configuration: types that the rest of muster relies on.
//!
//! ```text
//!  Config ─┬─ Listen, AccessSettings, CacheSettings, ForwardRule, LocalityRule
//!          ├─ ConsulSource, KubernetesSource
//!          └─ Namespace ─┬─ ImportRule ─ AnswerSettings
//!                        └─ ServiceDefinition ─┬─ AnswerSettings
//!                                              ├─ MemberRule ─ SourceQuery, HealthCheck
//!                                              ├─ Route ─ ClientFilter, Group ─ InstanceFilter
//!                                              └─ Failover, SubsetName ─ InstanceFilter
//! ```
//!
//! Every value is checked: limits hold, and routes and aliases name services that are defined or
//! can be imported. Defaults are constants of their types, and `Default` where a whole section may
//! be left out.
//!
//! Imports [`crate::model`] only.

mod access;
mod answer_settings;
mod cache;
mod check;
mod filter;
mod forward;
mod guard;
mod locality;
mod member;
mod namespace;
mod own_address;
mod pattern;
mod routing;
mod server;
mod service;
mod sources;

pub use access::{AccessSettings, Cookies, OverLimit, ResponseLimit};
pub use answer_settings::{AnswerOrder, AnswerSettings, Near, Nearness, WhenAllUnhealthy};
pub use cache::CacheSettings;
pub use check::{CheckKind, HealthCheck, HttpCheck, TlsCheck};
pub use filter::{ClientFilter, InstanceFilter};
pub use forward::{ForwardPolicy, ForwardRule, UpstreamSpec};
pub use guard::{Damping, Flapping, GuardRule, RemovalLimit};
pub use locality::{LocalityRule, region_of};
pub use member::{
    ConsulQuery, KubernetesObjects, KubernetesQuery, MemberRule, PortRef, SourceQuery, StaticMember,
};
pub use namespace::{ImportRule, Namespace, Truncate};
pub use own_address::is_own_address;
pub use routing::{Amount, Failover, Group, Route};
pub use server::{Config, Listen};
pub use service::{AliasTarget, ServiceDefinition, SubsetName};
pub use sources::{ConsulSource, KubernetesSource};
