//! Times that no configuration sets.

use std::time::Duration;

/// Times that no configuration sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// How long an answer may take beyond what the query waits for.
    pub(super) slack: Duration,
    /// How long a watch may stand in line while there are more watches than connections.
    pub(super) line: Duration,
    /// The shortest wait of a query, however many stand in line.
    pub(super) shortest_wait: Duration,
}

impl Default for Timing {
    /// The slack is more than the 7 s for which Consul holds a query while there is no leader (`rpc_hold_timeout`).
    fn default() -> Self {
        Self {
            slack: Duration::from_secs(10),
            line: Duration::from_secs(4),
            shortest_wait: Duration::from_millis(250),
        }
    }
}
