//! The cache of upstreams' answers.
//!
//! A hit is answered on the DNS worker: one lookup in a lock-free table, and the answer is written
//! from the entry while the table's guard holds it. No lock, no allocation, no reference count.
//! Only the engine's tasks store answers. They share one lock, which also guards the order of
//! eviction: oldest first, but an entry that had a hit since its last turn gets another one
//! (CLOCK).
//!
//! Rejected: moka, which clones an `Arc` for each hit and does its housekeeping on the reader's
//! thread, and quick_cache, whose shards are locked for reading.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::{
    cache_key::CacheKey,
    client_query::ClientQuery,
    stored_answer::{Age, AnswerSummary, Lifetime, StoredAnswer},
};
use crate::config;

type KeyHasher = foldhash::fast::RandomState;

/// The table, as one thread reads it.
type Pinned<'t> = papaya::HashMapRef<'t, Box<[u8]>, CacheEntry, KeyHasher, papaya::LocalGuard<'t>>;

/// How long a stale answer is given without querying upstreams again after they failed, in
/// milliseconds (the failure recheck timer: "RECOMMENDED … no more than 30 seconds", RFC 8767
/// section 5).
const RECHECK: u64 = 30_000;

/// How long a failure is stored, in seconds, and at most after failing again and again: "at least 1
/// second", "MUST NOT … longer than 5 minutes", and more with each repetition (RFC 9520 section 3.2).
const FAILURE_TTL: (u32, u32) = (2, 30);

/// An answer with this many hits is prefetched shortly before it expires.
const POPULAR: u32 = 3;

/// Memory that an entry takes in addition to its answer and two copies of its key, in bytes.
const OVERHEAD: usize = 256;

/// One answer may take one part in this many of the cache.
const LARGEST: usize = 8;

/// The cache.
#[derive(Debug)]
pub(super) struct AnswerCache {
    settings: ArcSwap<config::CacheSettings>,
    table: papaya::HashMap<Box<[u8]>, CacheEntry, KeyHasher>,
    order: Mutex<EvictionQueue>,
    /// How often the cache was cleared.
    epoch: AtomicU64,
    began: Instant,
}

/// A stored answer. Times are in milliseconds since the cache began.
#[derive(Debug)]
struct CacheEntry {
    answer: StoredAnswer,
    stored_at: u64,
    fresh_until: u64,
    stale_until: u64,
    /// No TTL that a client sees exceeds this, in seconds.
    max_ttl: u32,
    is_failure: bool,
    /// Whether it may be prefetched.
    prefetch: bool,
    hits: AtomicU32,
    /// Whether it had a hit since its last turn in the eviction queue.
    visited: AtomicBool,
    fetching: AtomicBool,
    /// When upstreams last failed to give a newer answer; 0: never.
    failed_at: AtomicU64,
}

/// The key of every entry, in the order of eviction, and the sum of the entries' sizes in bytes.
#[derive(Debug, Default)]
struct EvictionQueue {
    keys: VecDeque<Box<[u8]>>,
    bytes: usize,
}

/// A hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CacheHit {
    pub(super) summary: AnswerSummary,
    pub(super) stale: bool,
    /// Whether to prefetch the answer; true once for each stored answer.
    pub(super) prefetch: bool,
}

/// How full the cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CacheUsage {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl AnswerCache {
    pub(super) fn new(settings: config::CacheSettings) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            table: papaya::HashMap::with_hasher(KeyHasher::default()),
            order: Mutex::default(),
            epoch: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// Writes the answer stored under `key`, if it is fresh, or if it is stale and upstreams failed
    /// to give a newer one less than [`RECHECK`] ago.
    pub(super) fn answer(
        &self,
        query: &ClientQuery<'_>,
        key: &CacheKey,
        out: &mut Vec<u8>,
    ) -> Option<CacheHit> {
        let table = self.table.pin();
        let now = self.now();
        let entry = find(&table, key, now)?;
        if now >= entry.fresh_until {
            let failed_at = entry.failed_at.load(Ordering::Relaxed);
            let serves = failed_at > 0 && now < failed_at + RECHECK && now < entry.stale_until;
            return serves.then(|| entry.write_stale(query, out));
        }
        let seconds = u32::try_from((now - entry.stored_at) / 1000);
        debug_assert!(seconds.is_ok(), "a fresh answer is younger than its lifetime, which is a u32");
        let age = Age::Stored { seconds: seconds.unwrap_or(u32::MAX), max_ttl: entry.max_ttl };
        let summary = entry.answer.write(query, age, out);
        let hits = entry.visit();
        let lifetime = entry.fresh_until - entry.stored_at;
        let failed_at = entry.failed_at.load(Ordering::Relaxed);
        let prefetch = entry.prefetch
            && entry.fresh_until - now <= lifetime / 10
            && hits >= POPULAR
            && (failed_at == 0 || now >= failed_at + RECHECK)
            && !entry.fetching.swap(true, Ordering::Relaxed);
        Some(CacheHit { summary, stale: false, prefetch })
    }

    /// Writes the answer stored under `key` as a stale one, unless it is too old.
    pub(super) fn stale_answer(
        &self,
        query: &ClientQuery<'_>,
        key: &CacheKey,
        out: &mut Vec<u8>,
    ) -> Option<CacheHit> {
        let table = self.table.pin();
        let now = self.now();
        let entry = find(&table, key, now).filter(|entry| entry.may_be_stale(now))?;
        Some(entry.write_stale(query, out))
    }

    /// Notes that upstreams failed to give a newer answer. Returns whether there is one that may be
    /// given as a stale one.
    pub(super) fn mark_failed(&self, key: &CacheKey) -> bool {
        let table = self.table.pin();
        let now = self.now();
        let Some(entry) = find(&table, key, now).filter(|entry| entry.may_be_stale(now)) else {
            return false;
        };
        entry.failed_at.store(now.max(1), Ordering::Relaxed);
        entry.fetching.store(false, Ordering::Relaxed);
        true
    }

    /// How often the cache was cleared. An answer to a query from before the last time is not
    /// stored.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Stores an answer for its lifetime, unless the cache was cleared since `epoch`. Returns how
    /// many others were evicted for it.
    ///
    /// A failure does not replace an answer that may still be given as a stale one.
    pub(super) fn store(&self, key: &CacheKey, answer: StoredAnswer, epoch: u64) -> usize {
        let settings = self.settings.load();
        let Some(mut entry) = self.entry(answer, &settings) else { return 0 };
        if entry.is_failure {
            if epoch == self.epoch() && self.mark_failed(key) {
                return 0;
            }
            self.lengthen(&mut entry, key);
        }
        let of_any_type = entry.answer.is_nx_domain().then(|| key.of_any_type());
        let key = of_any_type.as_ref().unwrap_or(key).as_bytes();
        let size = entry.size(key);
        let mut order = self.order();
        let most = self.settings.load().size;
        if size > most / LARGEST || epoch != self.epoch() {
            return 0;
        }
        let table = self.table.pin();
        let old = table.get(key).map(|old| old.size(key));
        match old {
            Some(old) => order.bytes = order.bytes.saturating_sub(old),
            None => order.keys.push_back(key.into()),
        }
        order.bytes += size;
        table.insert(key.into(), entry);
        self.evict(&mut order, most)
    }

    /// Lets a failure hold for longer if the last one did not help.
    fn lengthen(&self, failure: &mut CacheEntry, key: &CacheKey) {
        let table = self.table.pin();
        let Some(last) = table.get(key.as_bytes()).filter(|last| last.is_failure) else { return };
        if failure.stored_at < last.fresh_until + RECHECK {
            failure.max_ttl = last.max_ttl.saturating_mul(2).min(FAILURE_TTL.1);
            failure.fresh_until = failure.stored_at + u64::from(failure.max_ttl) * 1000;
            failure.stale_until = failure.fresh_until;
        }
    }

    /// Evicts until the rest takes no more than `size` bytes. Returns how many entries it evicted.
    fn evict(&self, order: &mut EvictionQueue, size: usize) -> usize {
        let table = self.table.pin();
        let mut evicted = 0;
        // One round: entries with constant hits cannot hold the lock forever.
        let mut spared = order.keys.len();
        while order.bytes > size {
            let Some(oldest) = order.keys.pop_front() else { break };
            let entry = table.get(&oldest);
            debug_assert!(entry.is_some(), "queue and table have the same keys, and change under one lock");
            let Some(entry) = entry else { continue };
            if entry.visited.swap(false, Ordering::Relaxed) && spared > 0 {
                spared -= 1;
                order.keys.push_back(oldest);
                continue;
            }
            let size = entry.size(&oldest);
            debug_assert!(size <= order.bytes, "the sum has every entry's size");
            order.bytes = order.bytes.saturating_sub(size);
            table.remove(&oldest);
            evicted += 1;
        }
        evicted
    }

    /// Switches to other settings: the size takes effect at once, the rest for answers stored from
    /// now on. Returns how many entries were evicted.
    pub(super) fn configure(&self, settings: config::CacheSettings) -> usize {
        let mut order = self.order();
        let size = settings.size;
        self.settings.store(Arc::new(settings));
        self.evict(&mut order, size)
    }

    /// Drops all answers.
    pub(super) fn clear(&self) {
        let mut order = self.order();
        *order = EvictionQueue::default();
        self.epoch.fetch_add(1, Ordering::Release);
        self.table.pin().clear();
    }

    /// How full it is.
    pub(super) fn usage(&self) -> CacheUsage {
        let order = self.order();
        CacheUsage { entries: order.keys.len(), bytes: order.bytes }
    }

    fn order(&self) -> MutexGuard<'_, EvictionQueue> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An entry that begins now. `None` if the answer must not be stored.
    fn entry(&self, answer: StoredAnswer, settings: &config::CacheSettings) -> Option<CacheEntry> {
        let (lifetime, stale, is_failure) = match answer.lifetime()? {
            // "if the TTL is zero … should not be cached" (RFC 1035 section 3.2.1)
            Lifetime::Positive(0) | Lifetime::Negative(0) => return None,
            Lifetime::Positive(ttl) => (ttl.clamp(settings.min_ttl, settings.max_ttl), true, false),
            Lifetime::Negative(ttl) => {
                let most = settings.max_ttl.min(settings.negative_ttl);
                (ttl.max(settings.min_ttl).min(most), true, false)
            }
            Lifetime::Failure => (FAILURE_TTL.0, false, true),
        };
        let now = self.now();
        let fresh_until = now + u64::from(lifetime) * 1000;
        let stale = if stale { milliseconds(settings.serve_stale) } else { 0 };
        (lifetime > 0).then(|| CacheEntry {
            answer,
            stored_at: now,
            fresh_until,
            stale_until: fresh_until + stale,
            max_ttl: lifetime,
            is_failure,
            prefetch: settings.prefetch && !is_failure,
            hits: AtomicU32::new(0),
            visited: AtomicBool::new(false),
            fetching: AtomicBool::new(false),
            failed_at: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        milliseconds(self.began.elapsed())
    }
}

/// The entry for a query: that of its type, or that its name does not exist. A fresh one is better, then
/// the newer one.
fn find<'t>(table: &'t Pinned<'_>, key: &CacheKey, now: u64) -> Option<&'t CacheEntry> {
    let of_type = table.get(key.as_bytes());
    if of_type.is_some_and(|entry| now < entry.fresh_until) {
        return of_type;
    }
    let of_name = table.get(key.of_any_type().as_bytes()).filter(|entry| entry.answer.is_nx_domain());
    let rank = |entry: &&CacheEntry| (now < entry.fresh_until, entry.stored_at);
    of_type.into_iter().chain(of_name).max_by_key(rank)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl CacheEntry {
    /// Memory that it takes, in bytes.
    fn size(&self, key: &[u8]) -> usize {
        OVERHEAD + self.answer.size() + 2 * key.len()
    }

    /// Whether it may be given as a stale answer.
    fn may_be_stale(&self, now: u64) -> bool {
        now < self.stale_until && !self.is_failure
    }

    /// Notes a hit; returns how many there were before, at most [`POPULAR`]. Stores only changes,
    /// so that workers do not contend for the cache line forever.
    fn visit(&self) -> u32 {
        if !self.visited.load(Ordering::Relaxed) {
            self.visited.store(true, Ordering::Relaxed);
        }
        let hits = self.hits.load(Ordering::Relaxed);
        if hits < POPULAR {
            self.hits.store(hits + 1, Ordering::Relaxed);
        }
        hits
    }

    fn write_stale(&self, query: &ClientQuery<'_>, out: &mut Vec<u8>) -> CacheHit {
        self.visit();
        CacheHit { summary: self.answer.write(query, Age::Stale, out), stale: true, prefetch: false }
    }
}
