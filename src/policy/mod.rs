//! Policy: which of a service's instances are answered, and to which clients.
//!
//! ```text
//!                   for each group of each route
//!  candidates ─▶ filter ─▶ failover tier ─▶ health, weight ─▶ fail-open ─▶ nearness ─▶ ServicePlan
//!  (merged)      candidate   failover          accept           accept     nearness
//!                              ▲  │
//!                       Memory ┘  └▶ Memory
//! ```
//!
//! Everything here is a pure function: [`plan()`] takes the candidates and what the last plan
//! remembered, and returns the plan and what the next one has to remember. It runs when the catalog
//! compiles a service and when `explain` looks for reasons, never while a query waits.
//!
//! Rejected: judging at query time. It would cost every query what one change costs now.
//!
//! May import [`crate::model`] and the settings in [`crate::config`].

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
pub use plan::{Coverage, GroupPlan, Memory, Policy, RoutePlan, ServicePlan, carry_over, plan};
