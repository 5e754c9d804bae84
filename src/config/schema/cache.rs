//! `[cache]`: how long forwarded answers are kept, and how many.

use std::time::Duration;

/// What of forwarded answers is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How much memory it may take, in bytes; 0: nothing is kept.
    pub size: usize,
    /// Longest time that an answer counts as fresh, in seconds.
    pub max_ttl: u32,
    /// Shortest time that an answer counts as fresh, in seconds; answers with TTL 0 are never kept.
    pub min_ttl: u32,
    /// Longest time that the news that something does not exist counts as fresh, in seconds.
    pub negative_ttl: u32,
    /// How long an answer may be given after its time where no upstream gives a new one (RFC 8767); zero: never.
    pub serve_stale: Duration,
    /// Whether popular answers are asked for again before their time is over.
    pub prefetch: bool,
}

impl CacheSettings {
    /// Memory where nothing is said.
    pub const DEFAULT_SIZE: usize = 64 << 20;
    /// Longest time where nothing is said: a day.
    pub const DEFAULT_MAX_TTL: u32 = 86_400;
    /// Longest negative time where nothing is said: an hour ("one to three hours", RFC 2308 section 5).
    pub const DEFAULT_NEGATIVE_TTL: u32 = 3_600;
    /// How long stale answers are given where nothing is said ("between 1 day and 3 days", RFC 8767 section 5).
    pub const DEFAULT_SERVE_STALE: Duration = Duration::from_secs(24 * 3600);
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            size: Self::DEFAULT_SIZE,
            max_ttl: Self::DEFAULT_MAX_TTL,
            min_ttl: 0,
            negative_ttl: Self::DEFAULT_NEGATIVE_TTL,
            serve_stale: Self::DEFAULT_SERVE_STALE,
            prefetch: true,
        }
    }
}
