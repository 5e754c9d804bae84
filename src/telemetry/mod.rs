//! Telemetry: what the program says about itself, as logs and as metrics.
//!
//! Counting on the way of a query must cost one relaxed atomic addition, so every counter is made at the start and
//! found by an index; what is known only when asked for (the sources) is added at each scrape. Imports
//! [`crate::model`] only, so that every other module may count. The process-wide default registry of the metrics
//! library was rejected: two servers in one test would add up.

mod catalog;
mod forward;
pub mod logging;
pub mod metrics;
mod queries;
mod reloads;
mod source_status;
mod sources;

pub use forward::{CacheLookup, ForwardMetrics, Forwarded, UpstreamMetrics};
pub use metrics::Metrics;
pub use queries::{Outcome, Restriction, Transport};
pub use source_status::{SourceReport, SourceStatus, StatusBoard, WatchFailure, WatchHandle, WatchState};

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that the program was built from, as `build.rs` found it; `unknown` outside of a repository.
pub const COMMIT: &str = env!("MUSTER_COMMIT");
