//! The health and speed of an upstream, learned from the queries that clients cause.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

/// Clients' queries in a row without an answer that mark an upstream down.
const FALL: u32 = 3;

/// How long to wait for an upstream that has never answered before the next one is queried as well.
const FIRST_WAIT: Duration = Duration::from_millis(400);

/// Bounds of that time for upstreams that have answered: a resolver that has to query others itself
/// takes longer than usual.
const WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Health and speed of one upstream. Every figure is its own atomic: a lost update costs a little
/// precision.
#[derive(Debug, Default)]
pub(in crate::forward) struct UpstreamHealth {
    /// Unanswered queries since the last answer.
    misses: AtomicU32,
    /// Answers, modulo 2^32.
    answers: AtomicU32,
    down: AtomicBool,
    /// Smoothed round-trip time and its deviation in microseconds (RFC 6298 section 2); 0: it has
    /// never answered.
    smoothed: AtomicU32,
    deviation: AtomicU32,
}

impl UpstreamHealth {
    /// Notes an answer. Returns whether the upstream was down.
    pub(in crate::forward) fn answered(&self, took: Duration) -> bool {
        self.misses.store(0, Ordering::Relaxed);
        self.answers.fetch_add(1, Ordering::Relaxed);
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let smoothed = self.smoothed.load(Ordering::Relaxed);
        let (smoothed, deviation) = if smoothed == 0 {
            (took, took / 2)
        } else {
            let deviation = self.deviation.load(Ordering::Relaxed);
            let off = smoothed.abs_diff(took);
            (blend(smoothed, took, 8), blend(deviation, off, 4))
        };
        self.smoothed.store(smoothed, Ordering::Relaxed);
        self.deviation.store(deviation, Ordering::Relaxed);
        self.down.swap(false, Ordering::Relaxed)
    }

    /// Notes an unanswered query. Returns whether the upstream is down from now on.
    pub(in crate::forward) fn missed(&self) -> bool {
        let misses = self.misses.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        misses >= FALL && !self.down.swap(true, Ordering::Relaxed)
    }

    /// How many answers it has given, modulo 2^32.
    pub(in crate::forward) fn answers(&self) -> u32 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Whether it is to be queried only after all others.
    pub(in crate::forward) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Its usual round-trip time; zero if it has never answered.
    pub(in crate::forward) fn usual(&self) -> Duration {
        Duration::from_micros(self.smoothed.load(Ordering::Relaxed).into())
    }

    /// How long to wait for its answer before the next upstream is queried as well.
    pub(in crate::forward) fn wait(&self) -> Duration {
        match self.smoothed.load(Ordering::Relaxed) {
            0 => FIRST_WAIT,
            smoothed => {
                let deviation = self.deviation.load(Ordering::Relaxed);
                let micros = u64::from(smoothed) + 4 * u64::from(deviation);
                Duration::from_micros(micros).clamp(WAIT.0, WAIT.1)
            }
        }
    }
}

/// Moves `old` towards `new` by one part of `parts`.
fn blend(old: u32, new: u32, parts: u64) -> u32 {
    let blended = u32::try_from((u64::from(old) * (parts - 1) + u64::from(new)) / parts);
    debug_assert!(blended.is_ok(), "a mean is no more than its greatest part");
    blended.unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_misses_mark_it_down_and_an_answer_marks_it_up() {
        let health = UpstreamHealth::default();
        assert_eq!([health.missed(), health.missed()], [false; 2]);
        assert!(!health.answered(Duration::from_millis(1)));
        assert_eq!(
            [health.missed(), health.missed(), health.missed(), health.missed()],
            [false, false, true, false]
        );
        assert!(health.is_down());
        assert!(health.answered(Duration::from_millis(1)));
        assert!(!health.is_down());
    }

    #[test]
    fn the_wait_follows_the_usual_time_within_bounds() {
        let health = UpstreamHealth::default();
        let answer = |took| (0..100).for_each(|_| assert!(!health.answered(took)));
        assert_eq!(health.wait(), FIRST_WAIT);
        answer(Duration::from_micros(50));
        assert_eq!(health.wait(), WAIT.0);
        answer(Duration::from_millis(300));
        let wait = health.wait();
        assert!((Duration::from_millis(290)..Duration::from_millis(400)).contains(&wait), "{wait:?}");
        answer(Duration::from_secs(9));
        assert_eq!(health.wait(), WAIT.1);
    }
}
