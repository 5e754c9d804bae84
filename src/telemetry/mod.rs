//! Telemetry: logs, metrics and the status of sources.
//!
//! ```text
//!  dns, forward, catalog, app ── count ─────▶ Metrics ─────┐ render, at each scrape
//!  source: watches ── synced, failed, … ──▶ StatusBoard ─┴───▶ /metrics, /readyz, /v1/sources
//!  everything ── tracing ──▶ logging ──▶ stderr
//! ```
//!
//! A query must cost one relaxed atomic addition, so every counter is made at the start and found
//! by an index. Metrics of sources are made from their status at each scrape. Imports
//! [`crate::model`] only, so that every other module may count.
//!
//! Rejected: the process-wide default registry of the metrics library. Two servers in one test
//! would add up.

mod build_info;
mod catalog;
mod forward;
pub mod logging;
pub mod metrics;
mod queries;
mod register;
mod reloads;
mod source_status;
mod sources;
mod state;

pub use build_info::{COMMIT, VERSION};
pub use forward::{CacheLookup, ForwardMetrics, ForwardOutcome, UpstreamMetrics};
pub use metrics::Metrics;
pub use queries::{QueryOutcome, Restriction, Transport};
pub use source_status::{
    FailureNews, HeldHandle, Readiness, SourceReport, SourceStatus, StatusBoard, SyncNews, WatchFailure,
    WatchHandle, WatchState,
};
