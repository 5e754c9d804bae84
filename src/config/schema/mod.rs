//! The validated configuration: what the rest of the program may rely on.

mod access;
mod answers;
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

pub use access::{Access, Cookies, OverLimit, ResponseLimit};
pub use answers::{Near, Nearness, Order, Shape, WhenAllUnhealthy};
pub use cache::Cache;
pub use check::{Check, CheckKind, HttpCheck};
pub use filter::{Clients, Filter};
pub use forward::{Forward, ForwardPolicy, Upstream};
pub use locality::{LocalityRule, region_of};
pub use member::{ConsulQuery, KubernetesObjects, KubernetesQuery, MemberRule, PortRef, Query, StaticMember};
pub use namespace::{ImportRule, Namespace, Truncate};
pub use routing::{Amount, Failover, Group, Route};
pub use server::{Config, Listen};
pub use service::{Alias, Service, SubsetName};
pub use sources::{ConsulSource, KubernetesSource};
