//! Pacing of queries: by what their responses cost, and by a fixed rate if these are fruitless.

use std::time::Duration;

use tokio::time::Instant;

/// Says when the next query of a watch may start.
///
/// Consul asks clients of blocking queries to limit their rate, since queries for a busy service
/// may return at once each time:
/// <https://developer.hashicorp.com/consul/api-docs/features/blocking>
///
/// A response that took time and bytes delays the next query in proportion ([`pause`]), so a small
/// service is followed at every change and a large one takes a fixed share of the machine. A
/// response without news costs a fixed time, since it is worth nothing however cheap it is.
///
/// Rejected: a fixed number of queries a second for all services. It lets a service of twenty
/// instances lag when it changes often, and a service of 10,000 use a core.
#[derive(Debug)]
pub(super) struct RateLimit {
    by_cost: LeakyBucket,
    fruitless: LeakyBucket,
}

/// Time that is owed. It becomes less as time passes; only what exceeds the burst must be waited
/// for.
#[derive(Debug)]
struct LeakyBucket {
    owed: Duration,
    at: Instant,
    burst: Duration,
}

impl RateLimit {
    /// Fruitless responses without delay after a pause.
    pub(super) const BURST: u32 = 20;
    /// Time for each fruitless response in the long run; less than between the queries of a watch
    /// that shares its connection.
    pub(super) const PER_FRUITLESS: Duration = Duration::from_millis(200);
    /// How much of the pauses may be owed: single slow responses delay nothing.
    const COST_BURST: Duration = Duration::from_millis(250);

    pub(super) fn new() -> Self {
        Self {
            by_cost: LeakyBucket::new(Self::COST_BURST),
            fruitless: LeakyBucket::new(Self::PER_FRUITLESS * Self::BURST),
        }
    }

    /// Waits until the next query may start.
    pub(super) async fn ready(&self) {
        let ready_at = self.by_cost.ready_at().max(self.fruitless.ready_at());
        // A timer that has already expired still costs up to a tick of 1 ms.
        if ready_at > Instant::now() {
            tokio::time::sleep_until(ready_at).await;
        }
    }

    /// Charges a response for the time that its receipt and processing took, and for its size in
    /// bytes.
    pub(super) fn charge(&mut self, cost: Duration, bytes: usize) {
        self.by_cost.add(pause(cost, bytes));
    }

    /// Charges a response without news.
    pub(super) fn charge_fruitless(&mut self) {
        self.fruitless.add(Self::PER_FRUITLESS);
    }
}

/// How long to pause after a response: a watch uses at most a tenth of the time and a fixed rate of
/// bytes, within bounds.
///
/// A small response that took long has waited for a processor or for the network, which a longer pause
/// would not relieve. So the time counts only up to what a response of that size may cost.
fn pause(cost: Duration, bytes: usize) -> Duration {
    /// Pause for each time that a response costs.
    const PER_COST: u32 = 9;
    const BYTES_PER_SECOND: f64 = (32 << 20) as f64;
    /// Bytes a second below which the time no longer counts, beyond [`SLOWEST_SMALL`].
    const SLOW_BYTES_PER_SECOND: f64 = (4 << 20) as f64;
    /// The longest pause after a response of no size: answers must not be 50 ms old.
    const SLOWEST_SMALL: Duration = Duration::from_millis(15);
    /// At most 100 queries a second, however small the responses.
    const SHORTEST: Duration = Duration::from_millis(10);
    /// A response that took long since the link is slow must not make the next change late.
    const LONGEST: Duration = Duration::from_secs(5);
    let at_rate = |bytes_per_second| Duration::from_secs_f64(bytes as f64 / bytes_per_second);
    let by_time = cost.saturating_mul(PER_COST).min(SLOWEST_SMALL + at_rate(SLOW_BYTES_PER_SECOND));
    by_time.max(at_rate(BYTES_PER_SECOND)).clamp(SHORTEST, LONGEST)
}

impl LeakyBucket {
    fn new(burst: Duration) -> Self {
        Self { owed: Duration::ZERO, at: Instant::now(), burst }
    }

    fn add(&mut self, time: Duration) {
        let now = Instant::now();
        self.owed = self.owed.saturating_sub(now.duration_since(self.at)) + time;
        self.at = now;
    }

    fn ready_at(&self) -> Instant {
        self.at + self.owed.saturating_sub(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of one instance in a response.
    const INSTANCE: usize = 1200;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_pause_follows_time_and_bytes_within_bounds() {
        assert_eq!(pause(millis(20), 4 << 20), millis(180));
        assert_eq!(pause(millis(20), 16 << 20), millis(500));
        assert_eq!(pause(Duration::ZERO, 0), millis(10));
        assert_eq!(pause(Duration::from_secs(10), 64 << 20), Duration::from_secs(5));
    }

    #[test]
    fn a_small_response_that_took_long_does_not_make_the_next_one_late() {
        assert!(pause(millis(500), 20 * INSTANCE) < millis(25));
    }

    /// Queries in ten seconds if each response takes `cost` and there is always another change
    /// after `between`.
    async fn queries(instances: usize, cost: Duration, between: Duration) -> u32 {
        let mut limit = RateLimit::new();
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < Duration::from_secs(10) {
            let changed_at = Instant::now() + between;
            limit.ready().await;
            tokio::time::sleep_until(changed_at).await;
            tokio::time::advance(cost).await;
            limit.charge(cost, instances * INSTANCE);
            count += 1;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_instances_are_followed_at_fifty_changes_a_second() {
        let count = queries(20, millis(1), millis(19)).await;
        assert!((490..=510).contains(&count), "{count} in 10 s");
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_instances_are_queried_a_few_times_a_second() {
        let count = queries(10_000, millis(50), Duration::ZERO).await;
        assert!((15..=30).contains(&count), "{count} in 10 s");
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_response_does_not_delay_the_next_change() {
        let mut limit = RateLimit::new();
        limit.charge(millis(25), 1 << 20);
        let start = Instant::now();
        limit.ready().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        limit.charge(millis(25), 1 << 20);
        limit.ready().await;
        assert!(start.elapsed() >= millis(200), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn fruitless_responses_have_a_burst_and_then_a_rate() {
        let mut limit = RateLimit::new();
        let start = Instant::now();
        for _ in 0..20 {
            limit.ready().await;
            limit.charge_fruitless();
        }
        limit.ready().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..50 {
            limit.ready().await;
            limit.charge_fruitless();
        }
        let took = start.elapsed().as_secs_f64();
        assert!((9.5..10.2).contains(&took), "50 at 5 a second took {took}");
        tokio::time::advance(Duration::from_secs(3600)).await;
        let start = Instant::now();
        for _ in 0..20 {
            limit.ready().await;
            limit.charge_fruitless();
        }
        assert_eq!(start.elapsed(), Duration::ZERO, "a pause allows one more burst");
    }
}
