//! Readers: from TOML tables to the types of the schema, one file a section.
//!
//! ```text
//!  muster.toml ──▶ server ─┬─▶ listen, access, forward, cache, locality
//!                          └─▶ sources ─▶ guard ──────┐ names of sources
//!                                                     ▼
//!  zones/*.toml ─▶ zone ─┬─▶ import                context
//!                        └─▶ service ─┬─▶ member ──▶ guard, static_member ──▶ check
//!                             ▲       ├─▶ route, failover, subset_names ──▶ filter
//!                             │       └─▶ answer_settings (zone and import too)
//!                             └── resolve: names of services in other files
//! ```
//!
//! A reader takes an item and returns a type of the schema, or `Err` if it reported an error
//! ([`Read`](super::toml::Read)). It reads all keys of its table before it gives up. Names
//! that another file may define go into `context`, and `resolve` checks them at the end.
//!
//! Imports the [schema](super::schema), the [TOML toolkit](super::toml) and [`crate::model`].

mod access;
mod answer_settings;
mod cache;
mod check;
mod context;
mod failover;
mod filter;
mod forward;
mod guard;
mod import;
mod listen;
mod locality;
mod member;
mod resolve;
mod route;
mod server;
mod service;
mod sources;
mod static_member;
mod subset_names;
mod zone;

pub(super) use forward::warn_of_own;
pub(super) use resolve::resolve;
pub(super) use server::{ZonePaths, server};
pub(super) use zone::{ZoneFile, zone};
