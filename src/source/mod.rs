//! Sources: where instances come from.
//!
//! Each watch turns native events into [`Update`](crate::model::Update)s and sends them down one bounded channel; it
//! never sees the catalog. A watch just runs until it fails: waiting, trying again, noting the status and giving up on
//! what is too old is done in one place, [`supervise()`]. A method per event on the catalog was rejected: a channel keeps
//! a slow catalog from being re-entered and a slow source from holding it up.
//!
//! Imports [`crate::model`] and the settings in [`crate::config`].

pub mod consul;
pub mod kubernetes;
pub mod static_instances;

mod backoff;
mod body;
mod followed_member;
mod interner;
mod outbox;
mod supervise;
mod watch;
mod watch_error;

pub use backoff::Backoff;
pub use followed_member::FollowedMember;
pub use outbox::Outbox;
pub use supervise::{SourceContext, Subject, supervise};
pub use watch::{Watch, WatchOutbox};
pub use watch_error::WatchError;
