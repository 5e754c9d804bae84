//! Sources: where instances come from.
//!
//! ```text
//! consul/            blocking queries ─┐    supervise()
//! kubernetes/        list and watch ───┴──▶ Watch ─▶ WatchOutbox ─┐
//!                                                                 ├─▶ Outbox ─ Update ─▶ catalog
//! static_instances/  probes ──────────────────────────────────────┘   └─ guard/
//!
//! each watch and each static member ─▶ telemetry: the source's status
//! ```
//!
//! In the order of the data:
//!
//! - [`FollowedMember`]: what a source is given to follow, a member with its settings.
//! - [`Watch`]: one stream of changes. It turns native events into
//!   [`Update`](crate::model::Update)s, runs until it fails, and knows neither the catalog nor
//!   other watches.
//! - [`supervise()`]: retries a watch, keeps its status, and expires its state after `max_stale`.
//! - [`WatchOutbox`]: one watch's way to the catalog; the first update after each connection makes
//!   the watch synced.
//! - [`Outbox`]: one source's way to the catalog, with a gate that the program shuts when it stops
//!   the source.
//! - [`guard`]: on that way, where configured: how far the source's word is followed.
//! - [`probe`]: probes of single instances.
//! - [`WatchError`], [`Backoff`], `body` and `interner`: shared by the sources.
//!
//! Imports [`crate::model`], [`crate::telemetry`] and the settings in [`crate::config`].
//!
//! Rejected: a catalog method for each event. With a channel a slow catalog cannot be re-entered,
//! and a slow source cannot hold it up.

pub mod consul;
pub mod guard;
pub mod kubernetes;
pub mod probe;
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
pub use supervise::{SourceContext, supervise};
pub use watch::{Watch, WatchOutbox};
pub use watch_error::WatchError;
