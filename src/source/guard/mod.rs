//! The guard: how far a source's word is followed.
//!
//! ```text
//! WatchOutbox, probes ─▶ Outbox ─ update ─▶ Guard ─ what passes now ─▶ catalog
//!                          ▲                  │ deadline
//!                          ├─ what is due ─ timer
//!                          └─ second opinions ─ probes
//! ```
//!
//! In the order of the data:
//!
//! - `damping`: when an instance that is reported as good has to wait.
//! - `removals`: how many instances of a member may go within a time.
//! - `doubt`: an instance that is answered against its source's word, and what probes find of it.
//! - `guarded_instance`: one instance, its source's last word, and what the catalog has of it.
//! - `guarded_member`: one member, and what a word changes.
//! - `memory`: all members of a source. Pure: (memory, update, now) → what passes, next deadline.
//! - `shared`: [`Guard`], the memory behind a lock; `timer`: the one task, which also probes.
//!
//! An update that passes is always made of the source's last word at that moment. So an older word
//! never overwrites a newer one, and nothing is queued.
//!
//! A source without these settings has no guard: its updates pass unchanged, without a copy, a
//! lock or a task.
//!
//! Rejected: damping in the catalog, which would have to keep two states of each instance for every
//! reader of the merged one.

mod counts;
mod damping;
mod doubt;
mod guarded_instance;
mod guarded_member;
mod memory;
mod removals;
mod shared;
mod timer;

#[cfg(test)]
mod tests;

pub(in crate::source) use memory::SecondOpinion;
pub use memory::{CarriedMemory, GuardRules};
pub use shared::Guard;
pub use timer::attend;
