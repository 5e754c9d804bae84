//! Traces: how a decision reports the steps it took.

/// Follows a decision.
///
/// Each method does nothing by default, so a trace that overrides none costs nothing.
pub(super) trait Trace {
    /// A route was skipped because the client shares its address with instances that do not match.
    fn ambiguous_client(&mut self) {}
}

/// Ignores every step.
impl Trace for () {}
