//! Time limits that no configuration sets.

use std::time::Duration;

/// Time limits that no configuration sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConsulTiming {
    /// How long the beginning of a response may take beyond the wait of its query, and the longest
    /// pause while the rest arrives.
    pub(super) grace: Duration,
    /// How long a watch may queue for a connection when there are more watches than connections.
    pub(super) max_queue: Duration,
    /// The shortest wait of a query, however many watches queue.
    pub(super) min_wait: Duration,
}

impl Default for ConsulTiming {
    /// The grace exceeds the 7 s for which Consul holds a query while there is no leader
    /// (`rpc_hold_timeout`).
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            max_queue: Duration::from_secs(4),
            min_wait: Duration::from_millis(250),
        }
    }
}
