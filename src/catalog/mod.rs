//! The catalog: merges what the sources report, and compiles it into the snapshot that answers are
//! read from.
//!
//! ```text
//!  Update ─▶ worker ─▶ state ─▶ merge ─▶ policy::plan ─▶ compile ─▶ publish ─▶ snapshot ─▶ dns
//!            batches   members  candidates   who gets     Service    one entry   View
//!                        │                   which                   a service
//!                        ├─▶ clients          address ─▶ identities, locality
//!                        └─▶ reverse_index    address ─▶ instances; service type ─▶ services
//! ```
//!
//! | files | |
//! |---|---|
//! | `worker`, `state`, `imports` | the only writer: applies updates to each member's state |
//! | `member_state`, `withdrawn` | a member's reports, and bad ones that still count |
//! | `merge` | merges the reports of a service's members into candidates |
//! | `compile`, `records`, `txt` | compile the plan for the candidates into a [`Service`] |
//! | `service`, `pool`, `record_list` | the compiled form |
//! | `rotation`, `weighted` | how its lists rotate |
//! | `publish`, `reverse_index` | put the services that changed into the tables |
//! | `snapshot`, `zone`, `names` | what names are looked up in |
//! | `browse`, `dns_sd`, `reverse_name` | names that lead back to services and instances |
//! | `clients` | which instance a client is known as |
//! | `reconfigure` | moves a running catalog to another configuration |
//! | `explain` | why a name is answered the way it is |
//!
//! Only services that an update touched are compiled again, and publishing one replaces one entry
//! of a table. So a change costs its service, never its namespace.
//!
//! Rejected: one immutable map of everything behind one pointer (a change to one instance of
//! 100,000 services would copy a table of 100,000), and a persistent tree (four to five dependent
//! loads a lookup; the hash table needs one or two).
//!
//! May import [`crate::wire`], [`crate::model`], [`crate::config`], [`crate::policy`] and, for its
//! metrics, [`crate::telemetry`]; never a source, never the answer path.

mod browse;
mod change_log;
mod clients;
mod compile;
mod dns_sd;
mod explain;
mod imports;
mod last_known_good;
mod member_state;
mod merge;
mod names;
mod pool;
mod publish;
mod reconfigure;
mod record_list;
mod records;
mod reverse_index;
mod reverse_name;
mod rotation;
mod service;
mod snapshot;
mod state;
mod txt;
mod weighted;
mod withdrawn;
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
pub use record_list::RecordList;
pub use rotation::{RotationId, RotationIds};
pub use service::{Answers, InstanceAnswer, PackedInstances, Position, Service};
pub use snapshot::{Lookup, Snapshot, SnapshotCell, View};
pub use state::{Catalog, HealthCounts};
pub use weighted::Shares;
pub use worker::{CatalogQuery, CatalogRequest, run};
pub use zone::Zone;
