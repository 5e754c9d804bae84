//! Configuration: TOML in, validated types out.
//!
//! [`find`] says which file counts, [`load()`] reads it with its zone files, [`load_from`] reads texts in memory. Every error
//! of every file is reported at once, with file, line, column, a picture of the line and what would be right. Each
//! submodule reads one kind of table with the table reader in `walk`: a reader looks at all of its keys before it gives
//! up, so that one mistake does not hide the next. Serde was rejected for reading: it stops at the first error and
//! knows no place. Imports [`crate::model`] only; docs/CONFIG.md is the reference for people.

mod access;
mod alias;
mod cache;
mod check;
mod diagnostic;
mod display;
mod duration;
mod failover;
mod filter;
mod forward;
mod load;
mod locality;
mod log;
mod member;
mod names;
mod pattern;
mod references;
mod route;
mod routing;
mod server;
mod service;
mod shape;
mod share;
mod sources;
mod stamp;
mod statics;
mod types;
mod values;
mod walk;
mod zone;

#[cfg(test)]
mod tests;

pub use access::{Access, Cookies, OverLimit, ResponseLimit};
pub use cache::Cache;
pub use diagnostic::{Diagnostic, Place, Report, Severity};
pub use forward::{Forward, ForwardPolicy, Upstream};
pub use load::{Loaded, Location, demo, find, load, load_from};
pub use routing::*;
pub use stamp::Stamp;
pub use types::*;
