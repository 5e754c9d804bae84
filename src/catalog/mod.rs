//! The catalog: what every source said, merged and compiled into what is answered.
//!
//! One worker is the only writer. It keeps each member's last word, merges the members of a service
//! ([`merge`], independent of their order), applies policy and publishes the compiled [`Service`]. Only services
//! that an update touched are compiled again, and publishing one replaces one entry of a table: a change costs
//! its service, never its namespace.
//!
//! Rejected: one immutable map of everything behind one pointer (a change to one instance of 100,000 services would copy a
//! table of 100,000), and a persistent tree (four to five dependent loads a look-up where the hash table has one or two).
//!
//! Imports [`crate::model`], [`crate::config`] and [`crate::policy`]; never a source, never the answer path.

mod browse;
mod clients;
mod compile;
mod dns_sd;
mod explain;
mod imports;
mod links;
mod merge;
mod names;
mod pool;
mod publish;
mod reconfigure;
mod reverse;
mod rotation;
mod service;
mod shares;
mod snapshot;
mod state;
mod text;
mod worker;
mod zone;

pub use clients::Client;
pub use dns_sd::{Browse, BrowsedInstance, browsed_label};
pub use explain::Asked;
pub use names::Names;
pub use pool::{GroupPools, InstanceId, List, Pool, RoutePools, Routing, SrvRecord, Turn, Turns};
pub use reconfigure::Change;
pub use rotation::{RotationId, RotationIds};
pub use service::{Answers, InstanceAnswer, Instances, Service};
pub use shares::Shares;
pub use snapshot::{Cell, Lookup, Snapshot, View};
pub use state::{Catalog, HealthCounts};
pub use worker::{Reading, Request, run};
pub use zone::Zone;
