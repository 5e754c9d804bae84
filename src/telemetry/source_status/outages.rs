//! Outages of a source: what of its watches' failures is news to an operator.
//!
//! A source that is lost fails once per watch and retry. Its operator wants two lines: that it is
//! lost, and that it is back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// The kinds of error that concern a whole source: all of its watches fail alike.
const OF_SOURCE: [&str; 3] = ["connect", "timeout", "refused"];

/// How many watches that fail on their own are news, of each kind of error. A revoked token fails
/// hundreds.
const MOST_NEWS: usize = 3;

/// The outages of one source now.
///
/// A watch leaves all of its outages when it syncs or ends, not when it fails in another way: a
/// source that times out and refuses connections by turns has one outage.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// By what fails: the source as a whole, or watches with one kind of error.
    outages: BTreeMap<&'static str, Outage>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    /// The watches that fail.
    watches: BTreeSet<u64>,
}

/// What a failure of a watch is to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureNews {
    /// The source is lost: all of its watches are expected to fail.
    SourceLost,
    /// The watch fails, whatever others do.
    WatchLost,
    /// Nothing new.
    Known,
}

/// What a sync of a watch is to an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncNews {
    /// How long the longest outage that ended with it lasted.
    pub back_after: Option<Duration>,
    /// The number of the source's watches, if all follow every change and did not before.
    pub all_synced: Option<usize>,
}

impl Outages {
    /// Notes a failure.
    pub(super) fn failed(&mut self, watch: u64, kind: &'static str, now: Instant) -> FailureNews {
        let is_of_source = OF_SOURCE.contains(&kind);
        let cause = if is_of_source { OF_SOURCE[0] } else { kind };
        let outage =
            self.outages.entry(cause).or_insert_with(|| Outage { since: now, watches: BTreeSet::new() });
        let is_new = outage.watches.insert(watch);
        match (is_new, outage.watches.len()) {
            (true, 1) if is_of_source => FailureNews::SourceLost,
            (true, 1..=MOST_NEWS) if !is_of_source => FailureNews::WatchLost,
            _ => FailureNews::Known,
        }
    }

    /// Notes a sync; returns how long the longest outage lasted that ended with it.
    pub(super) fn synced(&mut self, watch: u64, now: Instant) -> Option<Duration> {
        let ended = self.leave(watch);
        ended.into_iter().map(|since| now.saturating_duration_since(since)).max()
    }

    /// Forgets a watch that has ended.
    pub(super) fn ended(&mut self, watch: u64) {
        self.leave(watch);
    }

    /// Takes a watch out of all outages; returns since when those lasted that have ended.
    fn leave(&mut self, watch: u64) -> Vec<Instant> {
        let mut ended = Vec::new();
        self.outages.retain(|_, outage| {
            let is_over = outage.watches.remove(&watch) && outage.watches.is_empty();
            ended.extend(is_over.then_some(outage.since));
            !is_over
        });
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::{FailureNews::*, *};

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lost_source_is_news_once_and_once_when_it_is_back() {
        let (mut outages, start) = (Outages::default(), Instant::now());
        assert_eq!(outages.failed(1, "connect", start), SourceLost);
        for watch in 1..=10 {
            for (second, kind) in ["connect", "timeout", "refused"].into_iter().enumerate() {
                let now = start + seconds(second as u64);
                assert_eq!(outages.failed(watch, kind, now), Known, "{watch} {kind}");
            }
        }
        let now = start + seconds(48);
        for watch in 1..10 {
            assert_eq!(outages.synced(watch, now), None, "others still fail");
        }
        assert_eq!(outages.synced(10, now), Some(seconds(48)));
        assert_eq!(outages.synced(10, now), None, "it was back");
        assert_eq!(outages.failed(2, "timeout", now), SourceLost, "another outage");
    }

    #[test]
    fn a_watch_without_permission_hides_no_loss_of_its_source() {
        let (mut outages, start) = (Outages::default(), Instant::now());
        assert_eq!(outages.failed(1, "denied", start), WatchLost);
        assert_eq!(outages.failed(1, "denied", start), Known);
        assert_eq!(outages.failed(2, "connect", start + seconds(5)), SourceLost);
        assert_eq!(outages.failed(1, "connect", start + seconds(5)), Known);
        assert_eq!(outages.synced(2, start + seconds(9)), None, "watch 1 could not connect either");
        assert_eq!(outages.synced(1, start + seconds(10)), Some(seconds(10)));
    }

    #[test]
    fn hundreds_of_watches_without_permission_are_news_three_times() {
        let (mut outages, now) = (Outages::default(), Instant::now());
        let news: Vec<_> = (0..500).map(|watch| outages.failed(watch, "denied", now)).collect();
        assert_eq!(news.iter().filter(|news| **news == WatchLost).count(), 3);
        assert!(!news.contains(&SourceLost));
    }

    #[test]
    fn a_watch_that_has_ended_is_in_no_outage() {
        let (mut outages, now) = (Outages::default(), Instant::now());
        outages.failed(1, "connect", now);
        outages.failed(2, "connect", now);
        outages.ended(1);
        assert_eq!(outages.synced(2, now + seconds(1)), Some(seconds(1)));
    }
}
