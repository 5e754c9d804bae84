//! What is counted about forwarding and its cache.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

/// What became of a question that had to leave the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// An upstream answered.
    Answered,
    /// No upstream answered, but an answer past its time was still there.
    Stale,
    /// No upstream answered.
    Failed,
    /// Too many questions were waiting.
    Dropped,
    /// It was our own, come back.
    Loop,
}

impl Forwarded {
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

/// What a look-up in the cache gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheLookup {
    /// A fresh answer.
    Hit,
    /// An answer past its time, since nobody can give a newer one.
    Stale,
    /// Nothing.
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

/// What can become of a query to an upstream.
const UPSTREAM_RESULTS: [&str; 4] = ["answered", "timeout", "error", "mismatch"];

/// The metrics of forwarding.
#[derive(Debug)]
pub struct ForwardMetrics {
    questions: [IntCounter; Forwarded::ALL.len()],
    shared: IntCounter,
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
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let questions = counters(
            "muster_forward_questions_total",
            "Questions for other names that the cache could not answer, by what became of them.",
            &["result"],
        )?;
        let lookups =
            counters("muster_cache_lookups_total", "Look-ups in the cache, by result.", &["result"])?;
        let upstream_queries = counters(
            "muster_forward_upstream_queries_total",
            "Queries to an upstream, by result; a mismatch is a datagram that answers another question.",
            &["upstream", "result"],
        )?;
        let upstream_up = IntGaugeVec::new(
            Opts::new("muster_forward_upstream_up", "1 while the upstream answers, 0 while it is put aside."),
            &["upstream"],
        )?;
        registry.register(Box::new(upstream_up.clone()))?;
        // From 250 µs to 4 s, the patience of clients.
        let upstream_seconds = HistogramVec::new(
            HistogramOpts::new("muster_forward_upstream_seconds", "Time until an upstream's answer.")
                .buckets(exponential_buckets(2.5e-4, 4.0, 8)?),
            &["upstream"],
        )?;
        registry.register(Box::new(upstream_seconds.clone()))?;
        Ok(Self {
            questions: Forwarded::ALL.map(|result| questions.with_label_values(&[result.as_str()])),
            shared: counter(
                "muster_forward_shared_total",
                "Questions that waited for the answer to an equal one that was on its way already.",
            )?,
            in_flight: gauge(
                "muster_forward_in_flight",
                "Different questions on their way to upstreams now.",
            )?,
            upstream_queries,
            upstream_seconds,
            upstream_up,
            lookups: CacheLookup::ALL.map(|result| lookups.with_label_values(&[result.as_str()])),
            prefetches: counter(
                "muster_cache_prefetches_total",
                "Answers that were fetched anew before their time was over.",
            )?,
            evictions: counter(
                "muster_cache_evictions_total",
                "Answers that were thrown out to make room for others.",
            )?,
            entries: gauge("muster_cache_entries", "Answers in the cache now.")?,
            bytes: gauge("muster_cache_bytes", "Memory that the answers in the cache take now.")?,
        })
    }

    /// Counts a question. *Cost*: one relaxed atomic addition.
    pub fn question(&self, result: Forwarded) {
        self.questions[result as usize].inc();
    }

    /// Counts a question that waited for the answer to an equal one.
    pub fn shared(&self) {
        self.shared.inc();
    }

    /// Notes how many questions are on their way.
    pub fn in_flight(&self, count: usize) {
        self.in_flight.set(gauge(count));
    }

    /// Counts a look-up. *Cost*: one relaxed atomic addition.
    #[inline]
    pub fn lookup(&self, result: CacheLookup) {
        self.lookups[result as usize].inc();
    }

    /// Counts an answer that is fetched anew.
    pub fn prefetch(&self) {
        self.prefetches.inc();
    }

    /// Notes what the cache holds now, and how many answers had to go.
    pub fn cache_holds(&self, entries: usize, bytes: usize, evicted: usize) {
        self.entries.set(gauge(entries));
        self.bytes.set(gauge(bytes));
        self.evictions.inc_by(u64::try_from(evicted).unwrap_or(u64::MAX));
    }

    /// Takes an upstream out of the metrics; what it counts from then on is not shown.
    pub fn forget_upstream(&self, label: &str) {
        for result in UPSTREAM_RESULTS {
            let _ = self.upstream_queries.remove_label_values(&[label, result]);
        }
        let _ = self.upstream_seconds.remove_label_values(&[label]);
        let _ = self.upstream_up.remove_label_values(&[label]);
    }

    /// The metrics of one upstream. Upstreams come from the configuration and resolv.conf, so there are few.
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
    /// Counts an answer.
    pub fn answered(&self, took: Duration) {
        self.answered.inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts a query without an answer.
    pub fn timed_out(&self) {
        self.timed_out.inc();
    }

    /// Counts a query that could not be sent, or whose answer could not be read.
    pub fn failed(&self) {
        self.failed.inc();
    }

    /// Counts a datagram that answers another question.
    pub fn mismatch(&self) {
        self.mismatch.inc();
    }

    /// Notes whether it answers or is put aside.
    pub fn set_up(&self, is_up: bool) {
        self.up.set(i64::from(is_up));
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
