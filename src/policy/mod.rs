//! Policy: from what is known of a service's instances to what may be answered.
//!
//! Pure functions, run when a snapshot is compiled, never while a question waits. In this order: accept by health,
//! fail-open; routes, failover tiers and nearness get their place behind them, each a file of its own. Judging at
//! query time was rejected: it costs every query what one change costs once. Imports [`crate::model`] and the settings in [`crate::config`].

mod accept;
mod candidate;

pub use accept::{Accepted, accept};
pub use candidate::{Candidate, Place};
