//! Configuration: TOML in, validated types out.
//!
//! ```text
//!            muster.toml, zones/*.toml
//!                       │ files: find and read them
//!                       ▼
//!  toml/    text ─▶ tables, keys and values with their places
//!                       │
//!  read/    one reader a section, which reports every error
//!                       │
//!                       ▼
//!  schema/  Config: types that the rest of muster relies on
//! ```
//!
//! [`find`] picks `muster.toml`, [`load()`] reads it with its zone files, and [`load_from`] does
//! the same with texts in memory. [`Fingerprint`] notices changed files. All errors of all files
//! are reported at once as [`Diagnostics`], with file, line, column, a picture of the line and
//! advice.
//!
//! `schema` imports [`crate::model`] only, `toml` neither schema nor readers, and `read` both.
//! Serde was rejected for reading: it stops at the first error and has no place for it.
//! docs/CONFIG.md is the reference for users, and a test compares its keys with the readers'.

mod files;
mod fingerprint;
mod load;
mod read;
mod schema;
mod toml;

#[cfg(test)]
mod tests;

pub use files::read_limited;
pub use fingerprint::Fingerprint;
pub use load::{Loaded, Location, demo, find, load, load_from};
pub use schema::*;
pub use toml::{Diagnostic, Diagnostics, FilePosition, Severity};
