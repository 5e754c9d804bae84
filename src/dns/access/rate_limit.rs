//! Rates of many keys in a table of fixed size.
//!
//! Each key has a bucket of one second's worth. A bucket is one word: a tag of the key's hash, and the time at which it will be full
//! again (the "generic cell rate algorithm"), so that taking is one compare-and-swap. Eight rate_limit share a cache line, and a
//! key may be in any of its line's; a newcomer takes the place of the one that has been used least. When the table is too
//! small for all keys, those that ask most are the ones that stay.

use std::{
    hash::{BuildHasher as _, Hash},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

/// Bits of a word that are a time in microseconds: enough for half a year, after which times begin anew.
const TIME_BITS: u32 = 44;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// What a bucket holds, in microseconds.
const BURST: u64 = 1_000_000;

/// Cache lines of the table: 512 KiB in all.
const LINES: usize = 8192;

/// RateLimiter that share a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; 8]);

/// The rate_limit of one kind of rate.
#[derive(Debug)]
pub(super) struct RateLimiter {
    lines: Box<[Line]>,
    /// Seeded, so that nobody can choose keys that share a line.
    hasher: foldhash::quality::RandomState,
    /// Microseconds that one takes.
    interval: u64,
    over_limit: AtomicU32,
}

impl RateLimiter {
    /// Allows each key `per_second`, and as many at once after a second without any.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            lines: (0..LINES).map(|_| Line::default()).collect(),
            hasher: foldhash::quality::RandomState::default(),
            interval: (BURST / u64::from(per_second.max(1))).max(1),
            over_limit: AtomicU32::new(0),
        }
    }

    /// Takes one from the key's bucket at the time `now`; `false`: it is empty.
    pub(super) fn take(&self, key: impl Hash, now: u64) -> bool {
        /// Tries against others that change the same bucket: whoever loses has seen another one win. Whoever loses all of them is
        /// let through, which takes more workers than machines have, all at one bucket.
        const TRIES: usize = 64;
        let hash = self.hasher.hash_one(key);
        let tag = hash & !TIME_MASK;
        let Some(line) = usize::try_from(hash & TIME_MASK).ok().and_then(|hash| self.lines.get(hash % LINES))
        else {
            return true;
        };
        for _ in 0..TRIES {
            let Some((bucket, word)) = find_bucket(line, tag, now) else { return true };
            let ahead = if word & !TIME_MASK == tag { time_until_full(word, now) } else { 0 };
            if ahead + self.interval > BURST {
                return false;
            }
            let full = now.wrapping_add(ahead + self.interval) & TIME_MASK;
            if bucket.compare_exchange_weak(word, tag | full, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
        true
    }

    /// Counts one more that was over its limit; returns how many there were, from 1 on.
    pub(super) fn count_over_limit(&self) -> u32 {
        self.over_limit.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }
}

/// The key's bucket and its word, or the one that it may have.
fn find_bucket(line: &Line, tag: u64, now: u64) -> Option<(&AtomicU64, u64)> {
    let words = line.0.iter().map(|bucket| (bucket, bucket.load(Ordering::Relaxed)));
    words.min_by_key(
        |(_, word)| if word & !TIME_MASK == tag { (0, 0) } else { (1, time_until_full(*word, now)) },
    )
}

/// How long it takes until the bucket is full; 0 for one that is, or whose time is of a former round of the clock.
fn time_until_full(word: u64, now: u64) -> u64 {
    let ahead = (word & TIME_MASK).wrapping_sub(now) & TIME_MASK;
    if ahead > BURST { 0 } else { ahead }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gets_a_seconds_worth_at_once_and_then_its_rate() {
        let limiter = RateLimiter::new(10);
        let taken = |at| (0..100).filter(|_| limiter.take("key", at)).count();
        assert_eq!(taken(5_000_000), 10);
        assert_eq!(taken(5_000_000), 0);
        assert_eq!(taken(5_300_000), 3);
        assert_eq!(taken(60_000_000), 10);
    }

    #[test]
    fn keys_have_buckets_of_their_own() {
        let limiter = RateLimiter::new(1);
        for key in 0..8_u32 {
            assert!(limiter.take(key, 0), "{key}");
        }
        assert!((0..8_u32).all(|key| !limiter.take(key, 0)));
    }

    #[test]
    fn one_that_asks_much_stays_while_thousands_come_and_go() {
        let limiter = RateLimiter::new(100);
        let mut taken = 0;
        for at in 0..200_000_u64 {
            taken += u32::from(limiter.take("flooder", at));
            for other in 0..5 {
                assert!(limiter.take((at, other), at), "a stranger's first is never refused");
            }
        }
        // A fifth of a second: a second's worth and a fifth.
        assert!((115..=125).contains(&taken), "{taken}");
    }

    #[test]
    fn the_clock_may_begin_anew() {
        let limiter = RateLimiter::new(2);
        assert!(limiter.take("key", TIME_MASK) && limiter.take("key", TIME_MASK));
        assert!(!limiter.take("key", TIME_MASK));
        assert!(!limiter.take("key", TIME_MASK + 1));
        assert!(limiter.take("key", TIME_MASK + 600_000));
        // Half a round later the old time is no time to come.
        assert!(limiter.take("key", TIME_MASK / 2) && limiter.take("key", TIME_MASK / 2));
    }

    #[test]
    fn workers_that_share_a_key_share_its_rate() {
        let limiter = RateLimiter::new(1000);
        let taken: usize = std::thread::scope(|scope| {
            let worker = || (0..1000).filter(|_| limiter.take("key", 7)).count();
            let workers = [(); 4].map(|()| scope.spawn(worker));
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}
