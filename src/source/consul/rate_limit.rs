//! A token bucket: no delay for single changes, a ceiling for a stream of them.

use std::time::Duration;

use tokio::time::Instant;

/// Limits queries to a burst of [`BURST`](Self::BURST) and to [`PER_SECOND`](Self::PER_SECOND) in
/// the long run.
///
/// Consul asks clients of blocking queries to limit their rate, since queries for a busy service
/// may return at once each time:
/// <https://developer.hashicorp.com/consul/api-docs/features/blocking>
#[derive(Debug)]
pub(super) struct RateLimit {
    tokens: f64,
    filled: Instant,
}

impl RateLimit {
    /// Queries without delay after a pause.
    pub(super) const BURST: f64 = 20.0;
    /// Queries a second in the long run; more than a watch needs that shares its connection.
    pub(super) const PER_SECOND: f64 = 5.0;

    pub(super) fn new() -> Self {
        Self { tokens: Self::BURST, filled: Instant::now() }
    }

    /// Takes a token; waits for one if there is none.
    pub(super) async fn take(&mut self) {
        self.fill();
        if self.tokens < 1.0 {
            tokio::time::sleep(Duration::from_secs_f64((1.0 - self.tokens) / Self::PER_SECOND)).await;
            self.fill();
        }
        // The timer may fire slightly before the whole token is there; the next call then waits
        // longer.
        self.tokens -= 1.0;
    }

    fn fill(&mut self) {
        let now = Instant::now();
        let fresh = now.duration_since(self.filled).as_secs_f64() * Self::PER_SECOND;
        self.tokens = (self.tokens + fresh).min(Self::BURST);
        self.filled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_then_the_rate_holds() {
        let mut limit = RateLimit::new();
        let start = Instant::now();
        for _ in 0..20 {
            limit.take().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..50 {
            limit.take().await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!((9.9..10.2).contains(&took), "50 at 5 a second took {took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_refills_one_burst() {
        let mut limit = RateLimit::new();
        for _ in 0..25 {
            limit.take().await;
        }
        tokio::time::advance(Duration::from_secs(3600)).await;
        let start = Instant::now();
        for _ in 0..20 {
            limit.take().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        limit.take().await;
        assert!(start.elapsed() > Duration::from_millis(100));
    }
}
