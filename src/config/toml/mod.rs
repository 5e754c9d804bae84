//! TOML with places: where every value stands, which keys were read, and what is wrong.
//!
//! ```text
//!  TextFile ────▶ Item, TableReader ──▶ values, duration, percent ──▶ Read<T>
//!  text, lines    key, value, spans     strings to names, times …       │
//!                        │                                              │
//!                        └────────▶ Scope ─▶ Draft ─▶ DiagnosticSink ◀──┘ Reported
//!                                                          │
//!                                                          ▼
//!                                                     Diagnostics: sorted, drawn
//! ```
//!
//! The folder knows TOML, not muster's tables: it imports [`crate::model`] for the types of values
//! and neither the readers nor the schema. Serde was rejected: it stops at the first error and has
//! no place for it.

mod diagnostics;
mod duration;
mod percent;
mod sink;
mod table;
mod text_file;
pub(super) mod values;
mod words;

pub(super) use diagnostics::Cause;
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub(super) use duration::{duration, format_duration, parse_duration};
pub(super) use percent::{parse_percent, percent};
pub(super) use sink::{DiagnosticSink, Draft, Read, Scope};
pub(super) use table::{Item, TableReader};
pub use text_file::FilePosition;
pub(super) use text_file::{Span, TextFile};
pub(super) use words::{list, shorten};
