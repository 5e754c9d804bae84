//! The catalog: what every source said, merged and compiled into what is answered.
//!
//! One worker is the only writer. It keeps each member's last word, merges the members of a service
//! ([`merge`], independent of their order), applies policy and publishes the compiled [`Service`].
//! Only services that an update touched are compiled again, and publishing one replaces one entry
//! of a table: a change costs its service, never its namespace.
//!
//! Rejected: one immutable map of everything behind one pointer (a change to one instance of
//! 100,000 services would copy a table of 100,000), and a persistent tree (four to five dependent
//! loads a look-up where the hash table has one or two).
//!
//! Imports [`crate::model`], [`crate::config`] and [`crate::policy`]; never a source, never the
//! answer path.

mod browse;
mod clients;
mod compile;
mod dns_sd;
mod explain;
mod imports;
mod merge;
mod names;
mod pool;
mod publish;
mod reconfigure;
mod records;
mod reverse_index;
mod reverse_name;
mod rotation;
mod service;
mod snapshot;
mod state;
mod txt;
mod weighted;
mod worker;
mod zone;

pub use clients::{Client, ClientMatch};
pub use dns_sd::{Browse, BrowsedInstance, browsed_label};
pub use explain::ExplainQuery;
pub use names::Names;
pub use pool::{
    GroupPools, GroupRotation, GroupRotations, InstanceId, Pool, RotatingList, RoutePools, Routing, SrvRecord,
};
pub use reconfigure::Reconfiguration;
pub use rotation::{RecordList, RotationId, RotationIds};
pub use service::{Answers, InstanceAnswer, PackedInstances, Position, Service};
pub use snapshot::{Lookup, Snapshot, SnapshotCell, View};
pub use state::{Catalog, HealthCounts};
pub use weighted::Shares;
pub use worker::{CatalogQuery, CatalogRequest, run};
pub use zone::Zone;
