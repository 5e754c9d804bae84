//! Traces: what a decision tells of its way.

/// Follows a decision. Every step does nothing unless an implementation wants it, so a trace that is
/// not used costs nothing.
pub(super) trait Trace {
    /// Route number `at` (from 0) matched the client.
    fn route(&mut self, at: usize) {
        let _ = at;
    }

    /// It is the turn of group number `at` (from 0) of that route.
    fn group(&mut self, at: usize) {
        let _ = at;
    }

    /// A route was skipped because the client shares its address with others that do not match.
    fn ambiguous_client(&mut self) {}
}

/// Follows nothing.
impl Trace for () {}
