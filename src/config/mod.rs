//! Configuration: TOML in, validated types out.
//!
//! Every error of every file is reported at once, with file, line, column, a picture of the line and what would be right.
//! Serde was rejected for reading: it stops at the first error and knows no place. Imports [`crate::model`] only.

mod types;

pub use types::*;
