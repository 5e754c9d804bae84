//! Time limits that no configuration sets.

use std::{ops::RangeInclusive, time::Duration};

/// Time limits of lists and watches.
#[derive(Clone, Debug)]
pub(super) struct KubernetesTiming {
    /// The range of a watch's `timeoutSeconds`, drawn at random, so that many watches do not come
    /// back in step. Its end bounds how long a connection that died silently goes unnoticed.
    pub(super) watch_seconds: RangeInclusive<u32>,
    /// How much longer than `timeoutSeconds` a watch may take.
    pub(super) grace: Duration,
    /// How long a connection may be silent; longer than any watch.
    pub(super) max_silence: Duration,
    /// How long the head of a watch's response may take. The server sends it at once, or after 3
    /// seconds if it has to wait for a fresh cache.
    pub(super) head: Duration,
    /// How old the last version may be for a watch to start at it after a failure. The server keeps
    /// versions for 5 minutes.
    pub(super) resume: Duration,
    /// How long one page of a list may take.
    pub(super) page: Duration,
    /// How long a list of pods waits for the zones of nodes.
    pub(super) zones: Duration,
    /// The shortest time from the start of one list, or one watch, to the next.
    pub(super) pause: Duration,
}

impl Default for KubernetesTiming {
    fn default() -> Self {
        Self {
            watch_seconds: 60..=90,
            grace: Duration::from_secs(5),
            max_silence: Duration::from_secs(100),
            head: Duration::from_secs(15),
            resume: Duration::from_secs(180),
            page: Duration::from_secs(60),
            zones: Duration::from_secs(3),
            pause: Duration::from_secs(1),
        }
    }
}
