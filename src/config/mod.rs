//! Configuration: TOML in, validated types out.
//!
//! [`find`] says which file counts, [`load()`] reads it with its zone files, [`load_from`] reads texts in memory. Every error
//! of every file is reported at once, with file, line, column, a picture of the line and what would be right. Each
//! submodule reads one kind of table with the table reader in `walk`: a reader looks at all of its keys before it gives
//! up, so that one mistake does not hide the next. Serde was rejected for reading: it stops at the first error and
//! knows no place. Imports [`crate::model`] only; docs/CONFIG.md is the reference for people.

mod files;
mod fingerprint;
mod load;
mod read;
mod schema;
mod toml;

#[cfg(test)]
mod tests;

pub use fingerprint::Fingerprint;
pub use load::{Loaded, Location, demo, find, load, load_from};
pub use schema::*;
pub use toml::{Diagnostic, Diagnostics, Position, Severity};
