//! Rate limits for many keys in a table of fixed size.
//!
//! Each key has a bucket that holds one second's worth of tokens. A bucket is one word: a tag from
//! the key's hash, and the time at which the bucket is full again (the generic cell rate
//! algorithm), so taking a token is one compare-and-swap. Eight buckets share a cache line, and a
//! key may use any bucket of its line. A new key replaces the fullest bucket, which is the one used
//! least. So if the table is too small for all keys, the busiest keys keep their buckets.

use std::{
    hash::{BuildHasher as _, Hash},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

/// Bits of a word that hold a time in microseconds: half a year, after which times wrap around.
const TIME_BITS: u32 = 44;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// Capacity of a bucket, in microseconds.
const BURST: u64 = 1_000_000;

/// Cache lines in the table: 512 KiB.
const LINES: usize = 8192;

/// Buckets that share a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; 8]);

/// The buckets of one limit.
#[derive(Debug)]
pub(super) struct RateLimiter {
    lines: Box<[Line]>,
    /// Seeded randomly, so that clients cannot choose keys that share a line.
    hasher: foldhash::quality::RandomState,
    /// Microseconds that one token takes to refill.
    interval: u64,
    over_limit: AtomicU32,
}

impl RateLimiter {
    /// Allows each key `per_second`, in bursts of up to one second's worth.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            lines: (0..LINES).map(|_| Line::default()).collect(),
            hasher: foldhash::quality::RandomState::default(),
            interval: (BURST / u64::from(per_second.max(1))).max(1),
            over_limit: AtomicU32::new(0),
        }
    }

    /// Takes a token from the key's bucket at the time `now`. `false` if the bucket is empty.
    pub(super) fn take(&self, key: impl Hash, now: u64) -> bool {
        /// Attempts at changing a bucket that other workers change too. Each failed attempt means
        /// that another worker succeeded, so it is rare that all of them fail. Then the request
        /// passes.
        const TRIES: usize = 64;
        let hash = self.hasher.hash_one(key);
        let tag = hash & !TIME_MASK;
        debug_assert_eq!(self.lines.len(), LINES, "a hash modulo LINES has a line");
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

    /// Counts a response over the limit. Returns how many there were, from 1.
    pub(super) fn count_over_limit(&self) -> u32 {
        self.over_limit.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }
}

/// The key's bucket and its word, or the bucket that it may take over.
fn find_bucket(line: &Line, tag: u64, now: u64) -> Option<(&AtomicU64, u64)> {
    let words = line.0.iter().map(|bucket| (bucket, bucket.load(Ordering::Relaxed)));
    words.min_by_key(
        |(_, word)| if word & !TIME_MASK == tag { (0, 0) } else { (1, time_until_full(*word, now)) },
    )
}

/// Microseconds until a bucket is full. 0 if it is full, or if its time is from before the clock
/// wrapped around.
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
    fn a_busy_key_keeps_its_bucket_among_thousands() {
        let limiter = RateLimiter::new(100);
        let mut taken = 0;
        for at in 0..200_000_u64 {
            taken += u32::from(limiter.take("flooder", at));
            for other in 0..5 {
                assert!(limiter.take((at, other), at), "the first query of a key always passes");
            }
        }
        // A fifth of a second: a second's worth and a fifth.
        assert!((115..=125).contains(&taken), "{taken}");
    }

    #[test]
    fn the_clock_may_wrap_around() {
        let limiter = RateLimiter::new(2);
        assert!(limiter.take("key", TIME_MASK) && limiter.take("key", TIME_MASK));
        assert!(!limiter.take("key", TIME_MASK));
        assert!(!limiter.take("key", TIME_MASK + 1));
        assert!(limiter.take("key", TIME_MASK + 600_000));
        // Half a wrap-around later, the old time does not count as a future one.
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
        // A few more may pass, because a request that loses every attempt does.
        assert!((1000..1100).contains(&taken), "{taken}");
    }
}
