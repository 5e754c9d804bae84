//! Metrics of forwarding and its cache.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, exponential_buckets,
};

use super::register::{Register, gauge_value};

/// The result of a client query that the cache could not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardOutcome {
    /// An upstream answered.
    Answered,
    /// No upstream answered; the client got an expired answer from the cache.
    Stale,
    /// No upstream answered.
    Failed,
    /// Too many client queries are waiting.
    Dropped,
    /// The query is muster's own: a forwarding loop.
    Loop,
}

impl ForwardOutcome {
    const ALL: [Self; 5] = [Self::Answered, Self::Stale, Self::Failed, Self::Dropped, Self::Loop];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Loop => "loop",
        }
    }
}

/// The result of a cache lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheLookup {
    /// A fresh answer.
    Hit,
    /// An expired answer, since no upstream can give a newer one.
    Stale,
    /// No answer.
    Miss,
}

impl CacheLookup {
    const ALL: [Self; 3] = [Self::Hit, Self::Stale, Self::Miss];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
        }
    }
}

/// The results of an upstream query, in the order of [`ForwardMetrics::upstream`].
const UPSTREAM_RESULTS: [&str; 4] = ["answered", "timeout", "error", "mismatch"];

/// The metrics of forwarding.
#[derive(Debug)]
pub struct ForwardMetrics {
    queries: [IntCounter; ForwardOutcome::ALL.len()],
    coalesced: IntCounter,
    in_flight: IntGauge,
    upstream_queries: IntCounterVec,
    upstream_seconds: HistogramVec,
    upstream_up: IntGaugeVec,
    lookups: [IntCounter; CacheLookup::ALL.len()],
    prefetches: IntCounter,
    evictions: IntCounter,
    entries: IntGauge,
    bytes: IntGauge,
}

impl ForwardMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let register = Register(registry);
        let queries = register.counters(
            "muster_forward_queries_total",
            "Client queries for external names that the cache could not answer, by result.",
            &["result"],
        )?;
        let lookups =
            register.counters("muster_cache_lookups_total", "Cache lookups, by result.", &["result"])?;
        Ok(Self {
            queries: ForwardOutcome::ALL.map(|result| queries.with_label_values(&[result.as_str()])),
            coalesced: register.counter(
                "muster_forward_coalesced_total",
                "Client queries that waited for an equal one in flight.",
            )?,
            in_flight: register
                .gauge("muster_forward_in_flight", "Different queries in flight to upstreams now.")?,
            upstream_queries: register.counters(
                "muster_forward_upstream_queries_total",
                "Queries to an upstream, by result; a mismatch is a datagram that answers another query.",
                &["upstream", "result"],
            )?,
            upstream_seconds: register.histograms(
                "muster_forward_upstream_seconds",
                "Time until an upstream's answer.",
                &["upstream"],
                // From 250 µs to 4 s, after which clients give up.
                exponential_buckets(2.5e-4, 4.0, 8)?,
            )?,
            upstream_up: register.gauges(
                "muster_forward_upstream_up",
                "1 while the upstream answers, 0 while it is down.",
                &["upstream"],
            )?,
            lookups: CacheLookup::ALL.map(|result| lookups.with_label_values(&[result.as_str()])),
            prefetches: register.counter(
                "muster_cache_prefetches_total",
                "Answers that were refreshed before they expired.",
            )?,
            evictions: register
                .counter("muster_cache_evictions_total", "Answers that were evicted to make room.")?,
            entries: register.gauge("muster_cache_entries", "Answers in the cache now.")?,
            bytes: register.gauge("muster_cache_bytes", "Memory that the cached answers take now.")?,
        })
    }

    /// Counts a client query that the cache could not answer. *Cost*: one relaxed atomic addition.
    pub fn client_query(&self, result: ForwardOutcome) {
        self.queries[result as usize].inc();
    }

    /// Counts a client query that waits for an equal one in flight.
    pub fn coalesced(&self) {
        self.coalesced.inc();
    }

    /// Sets how many different queries are in flight.
    pub fn in_flight(&self, count: usize) {
        self.in_flight.set(gauge_value(count));
    }

    /// Counts a cache lookup. *Cost*: one relaxed atomic addition.
    #[inline]
    pub fn lookup(&self, result: CacheLookup) {
        self.lookups[result as usize].inc();
    }

    /// Counts an answer that is refreshed before it expires.
    pub fn prefetch(&self) {
        self.prefetches.inc();
    }

    /// Sets the contents of the cache, and counts evicted answers.
    pub fn cache_holds(&self, entries: usize, bytes: usize, evicted: usize) {
        self.entries.set(gauge_value(entries));
        self.bytes.set(gauge_value(bytes));
        self.evictions.inc_by(u64::try_from(evicted).unwrap_or(u64::MAX));
    }

    /// Removes an upstream from the metrics; what it counts from then on is not exported.
    pub fn forget_upstream(&self, label: &str) {
        for result in UPSTREAM_RESULTS {
            let _ = self.upstream_queries.remove_label_values(&[label, result]);
        }
        let _ = self.upstream_seconds.remove_label_values(&[label]);
        let _ = self.upstream_up.remove_label_values(&[label]);
    }

    /// The metrics of one upstream. Upstreams come from the configuration and resolv.conf, so there
    /// are few.
    pub fn upstream(&self, label: &str) -> UpstreamMetrics {
        let [answered, timed_out, failed, mismatch] =
            UPSTREAM_RESULTS.map(|result| self.upstream_queries.with_label_values(&[label, result]));
        UpstreamMetrics {
            answered,
            timed_out,
            failed,
            mismatch,
            seconds: self.upstream_seconds.with_label_values(&[label]),
            up: self.upstream_up.with_label_values(&[label]),
        }
    }
}

/// The metrics of one upstream.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    answered: IntCounter,
    timed_out: IntCounter,
    failed: IntCounter,
    mismatch: IntCounter,
    seconds: Histogram,
    up: IntGauge,
}

impl UpstreamMetrics {
    /// Counts an answer, and how long it took.
    pub fn answered(&self, took: Duration) {
        self.answered.inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts a query without an answer.
    pub fn timed_out(&self) {
        self.timed_out.inc();
    }

    /// Counts a query that could not be sent, or whose answer could not be parsed.
    pub fn failed(&self) {
        self.failed.inc();
    }

    /// Counts a datagram that answers another query.
    pub fn mismatch(&self) {
        self.mismatch.inc();
    }

    /// Sets whether it answers or is down.
    pub fn set_up(&self, is_up: bool) {
        self.up.set(i64::from(is_up));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_the_order_of_the_variants() {
        assert!(ForwardOutcome::ALL.iter().enumerate().all(|(index, result)| *result as usize == index));
        assert!(CacheLookup::ALL.iter().enumerate().all(|(index, result)| *result as usize == index));
    }
}
