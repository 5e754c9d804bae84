//! A walk over TOML tables that knows where everything stands, and what is wrong with it.

mod diagnostic;
mod duration;
mod log;
mod percent;
mod table;
pub(super) mod values;
mod words;

pub(super) use diagnostic::{Cause, SourceFile, Span};
pub use diagnostic::{Diagnostic, Diagnostics, Position, Severity};
pub(super) use duration::{duration, show_duration};
pub(super) use log::{DiagnosticSink, Draft, Scope};
pub(super) use percent::{percent, percent_of_text};
pub(super) use table::{Item, TableReader, given};
pub(super) use values::PathBase;
pub(super) use words::{list, nearest, shorten};
