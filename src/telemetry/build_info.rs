//! Which program this is.

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that the program was built from, as `build.rs` found it; `unknown` outside a
/// repository.
pub const COMMIT: &str = env!("MUSTER_COMMIT");
