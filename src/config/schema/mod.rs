//! The validated configuration: what the rest of the program may rely on.

mod access;
mod answer_settings;
mod cache;
mod check;
mod filter;
mod forward;
mod locality;
mod member;
mod namespace;
mod pattern;
mod routing;
mod server;
mod service;
mod sources;

pub use access::{AccessSettings, Cookies, OverLimit, ResponseLimit};
pub use answer_settings::{AnswerOrder, AnswerSettings, Near, Nearness, WhenAllUnhealthy};
pub use cache::CacheSettings;
pub use check::{CheckKind, HealthCheck, HttpCheck};
pub use filter::{ClientFilter, InstanceFilter};
pub use forward::{ForwardPolicy, ForwardRule, UpstreamSpec};
pub use locality::{LocalityRule, region_of};
pub use member::{
    ConsulQuery, KubernetesObjects, KubernetesQuery, MemberRule, PortRef, SourceQuery, StaticMember,
};
pub use namespace::{ImportRule, Namespace, Truncate};
pub use routing::{Amount, Failover, Group, Route};
pub use server::{Config, Listen};
pub use service::{Alias, ServiceDefinition, SubsetName};
pub use sources::{ConsulSource, KubernetesSource};
