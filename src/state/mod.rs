//! Last known good: the state that a start answers from until its sources have synced.
//!
//! ```text
//!  redb file ─▶ Store ─▶ restore() ─ Restored ──▶ catalog (before the first answer), sources
//!      ▲                   ▲ Rules: is it still the same query?
//!      └──── StateWriter ◀─┴─ StateChanges ◀── catalog; freshness ◀── StatusBoard
//! ```
//!
//! In the order of the data:
//!
//! - [`start`]: opens the store on a thread of its own and reads it.
//! - `store`: the file. One that cannot be used is kept as `.bad`, and an empty one takes its place.
//! - `record`: the form in which members, imports and instances are stored.
//! - `rules`: fingerprints of what a member asks of its source, so that only the same is restored.
//! - `restore`: from records to updates, each with its age.
//! - [`StateWriter`]: writes what has changed, every two seconds and when the server stops.
//!
//! Imports [`crate::config`], [`crate::model`] and [`crate::telemetry`]. The catalog does not know
//! of it: [`crate::app`] hands changes over.
//!
//! Rejected: a time for each member that is rewritten while it stays synced. One time for the whole
//! store advances instead, and a member that is lost gets a time of its own.

mod record;
mod restore;
mod rules;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use restore::Restored;
pub use writer::{StateWriter, TakeChanges, start};
