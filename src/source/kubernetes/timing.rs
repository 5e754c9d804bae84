//! Time limits of list and watch that no configuration sets.

use std::{ops::RangeInclusive, time::Duration};

/// How long the parts of list and watch may take.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    /// The range that a watch's `timeoutSeconds` is drawn from, so that many watches do not come back in step. Its end
    /// bounds how long a connection that died silently goes unnoticed.
    pub(super) watch_seconds: RangeInclusive<u32>,
    /// How much longer than `timeoutSeconds` a watch may take.
    pub(super) grace: Duration,
    /// The longest time in which nothing may come on a connection: longer than any watch.
    pub(super) silence: Duration,
    /// How long one page of a list may take.
    pub(super) answer: Duration,
    /// Least time from one list, or one watch, to the next.
    pub(super) pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            watch_seconds: 60..=90,
            grace: Duration::from_secs(5),
            silence: Duration::from_secs(100),
            answer: Duration::from_secs(60),
            pause: Duration::from_secs(1),
        }
    }
}
