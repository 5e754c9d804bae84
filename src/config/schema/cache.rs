//! `[cache]`: how many forwarded answers are kept, and for how long.

use std::time::Duration;

/// `[cache]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Most memory, in bytes; 0 turns the cache off.
    pub size: usize,
    /// Longest time that an answer is fresh, in seconds.
    pub max_ttl: u32,
    /// Shortest time that an answer is fresh, in seconds; answers with TTL 0 are never kept.
    pub min_ttl: u32,
    /// Longest time that a negative answer is fresh, in seconds.
    pub negative_ttl: u32,
    /// How long an answer that is no longer fresh is served if no upstream gives a new one (RFC
    /// 8767); zero for never.
    pub serve_stale: Duration,
    /// Whether popular answers are fetched again before they expire.
    pub prefetch: bool,
}

impl CacheSettings {
    /// Default `size`.
    pub const DEFAULT_SIZE: usize = 64 << 20;
    /// Default `max_ttl`: a day.
    pub const DEFAULT_MAX_TTL: u32 = 86_400;
    /// Default `negative_ttl`: an hour ("one to three hours", RFC 2308 section 5).
    pub const DEFAULT_NEGATIVE_TTL: u32 = 3_600;
    /// Default `serve_stale` ("between 1 day and 3 days", RFC 8767 section 5).
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
