//! Policy: from what is known of a service's instances to what may be answered to whom.
//!
//! Pure functions, run when a snapshot is compiled, never while a question waits: [`plan()`] puts the steps in a row, and each
//! step is a file of its own. Judging at query time was rejected: it costs every query what one change costs once. Imports
//! [`crate::model`] and the settings in [`crate::config`].

mod accept;
mod candidate;
mod failover;
mod nearness;
mod plan;
#[cfg(test)]
pub(crate) mod testing;

pub use accept::Eligibility;
pub use candidate::{Candidate, CandidateTarget, matches};
pub use failover::{TierState, tier_of};
pub use nearness::{Localities, Locality, Rings, nearest_ring};
pub use plan::{GroupPlan, Memory, Policy, RoutePlan, ServicePlan, carried, plan};
