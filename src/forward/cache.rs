//! Answers that are kept.
//!
//! A hit is answered on the UDP worker: one look-up in a lock-free table, and the answer summary from the entry while the
//! table's guard holds it. Nothing is locked, allocated or counted by reference. Only tasks that bring answers write; they share
//! one lock, which also holds the order in which entries are thrown out: the oldest first, but an entry that was asked for
//! since it was last looked at gets another round (CLOCK).
//!
//! Rejected: moka, which copies a counted reference for each hit and does its housekeeping on the reader's thread, and
//! quick_cache, whose shards are locked for reading.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::{
    cache_key::CacheKey,
    client_query::ClientQuery,
    stored_answer::{Age, AnswerSummary, FAILURE_TTL, Lifetime, StoredAnswer},
};
use crate::config;

type KeyHasher = foldhash::fast::RandomState;

/// How long nobody is asked again, after nobody could answer, while there is a stale answer (the failure recheck timer:
/// "RECOMMENDED … no more than 30 seconds", RFC 8767 section 5).
const RECHECK: u64 = 30_000;

/// An answer that was asked for so often while it was kept is fetched anew before its time is over.
const POPULAR: u32 = 3;

/// What an entry takes beside its image and its key, which is there twice, in bytes.
const OVERHEAD: usize = 256;

/// The share of the cache that one answer may take.
const LARGEST: usize = 8;

/// The cache.
#[derive(Debug)]
pub(super) struct Cache {
    settings: ArcSwap<config::CacheSettings>,
    table: papaya::HashMap<Box<[u8]>, CacheEntry, KeyHasher>,
    order: Mutex<EvictionQueue>,
    /// How often everything was forgotten.
    epoch: AtomicU64,
    began: Instant,
}

#[derive(Debug)]
struct CacheEntry {
    answer: StoredAnswer,
    /// Milliseconds of the cache's own clock, as are the following.
    kept_at: u64,
    fresh_until: u64,
    stale_until: u64,
    /// No TTL in an answer exceeds it.
    max_ttl: u32,
    is_failure: bool,
    /// Whether it may be fetched anew before its time is over.
    prefetch: bool,
    hits: AtomicU32,
    /// Whether it was asked for since it was last looked at for throwing out.
    visited: AtomicBool,
    fetching: AtomicBool,
    /// When no upstream could give a newer answer; 0: never.
    failed_at: AtomicU64,
}

/// Every key, in the order in which entries are looked at, and the sum of their sizes.
#[derive(Debug, Default)]
struct EvictionQueue {
    keys: VecDeque<Box<[u8]>>,
    bytes: usize,
}

/// What a look-up gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CacheHit {
    pub(super) summary: AnswerSummary,
    /// Whether the answer is past its time.
    pub(super) stale: bool,
    /// Whether it should be fetched anew; said once for each answer kept.
    pub(super) prefetch: bool,
}

/// What the cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CacheUsage {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Cache {
    pub(super) fn new(settings: config::CacheSettings) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            table: papaya::HashMap::with_hasher(KeyHasher::default()),
            order: Mutex::default(),
            epoch: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// Writes the answer to `query` that is kept under `key`, if it is fresh, or if it is stale and nobody could give a
    /// newer one a moment ago.
    pub(super) fn answer(
        &self,
        query: &ClientQuery<'_>,
        key: &CacheKey,
        out: &mut Vec<u8>,
    ) -> Option<CacheHit> {
        let table = self.table.pin();
        let entry = table.get(key.as_bytes())?;
        let now = self.now();
        if now >= entry.fresh_until {
            let failed_at = entry.failed_at.load(Ordering::Relaxed);
            let serves = failed_at > 0 && now < failed_at + RECHECK && now < entry.stale_until;
            return serves.then(|| entry.write_stale(query, out));
        }
        let seconds = u32::try_from((now - entry.kept_at) / 1000).unwrap_or(u32::MAX);
        let summary = entry.answer.write(query, Age::Stored { seconds, max_ttl: entry.max_ttl }, out);
        let hits = entry.visit();
        let lifetime = entry.fresh_until - entry.kept_at;
        let failed_at = entry.failed_at.load(Ordering::Relaxed);
        let prefetch = entry.prefetch
            && entry.fresh_until - now <= lifetime / 10
            && hits >= POPULAR
            && (failed_at == 0 || now >= failed_at + RECHECK)
            && !entry.fetching.swap(true, Ordering::Relaxed);
        Some(CacheHit { summary, stale: false, prefetch })
    }

    /// Writes the answer to `query` although it is past its time, if it may still be given.
    pub(super) fn stale_answer(
        &self,
        query: &ClientQuery<'_>,
        key: &CacheKey,
        out: &mut Vec<u8>,
    ) -> Option<CacheHit> {
        let table = self.table.pin();
        let entry =
            table.get(key.as_bytes()).filter(|entry| self.now() < entry.stale_until && !entry.is_failure)?;
        Some(entry.write_stale(query, out))
    }

    /// Notes that nobody could give a newer answer; tells whether there is one that may be given still.
    pub(super) fn mark_failed(&self, key: &CacheKey) -> bool {
        let table = self.table.pin();
        let now = self.now();
        let Some(entry) =
            table.get(key.as_bytes()).filter(|entry| now < entry.stale_until && !entry.is_failure)
        else {
            return false;
        };
        entry.failed_at.store(now.max(1), Ordering::Relaxed);
        entry.fetching.store(false, Ordering::Relaxed);
        true
    }

    /// How often everything was forgotten: an answer that was asked for before the last time is not kept.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Keeps an answer for as long as it may be, if nothing was forgotten since `epoch`; returns how many others had to go for it.
    ///
    /// A failure does not take the place of an answer that may still be given.
    pub(super) fn store(&self, key: &CacheKey, answer: StoredAnswer, epoch: u64) -> usize {
        let settings = self.settings.load();
        let Some(entry) = self.entry(answer, &settings) else { return 0 };
        if entry.is_failure && epoch == self.epoch() && self.mark_failed(key) {
            return 0;
        }
        let size = entry.size(key.as_bytes());
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let most = self.settings.load().size;
        if size > most / LARGEST || epoch != self.epoch() {
            return 0;
        }
        let table = self.table.pin();
        let old = table.get(key.as_bytes()).map(|old| old.size(key.as_bytes()));
        match old {
            Some(old) => order.bytes = order.bytes.saturating_sub(old),
            None => order.keys.push_back(key.as_bytes().into()),
        }
        order.bytes += size;
        table.insert(key.as_bytes().into(), entry);
        self.evict(&mut order, most)
    }

    /// Throws out until what is left takes no more than `size`; returns how many.
    fn evict(&self, order: &mut EvictionQueue, size: usize) -> usize {
        let table = self.table.pin();
        let mut gone = 0;
        // One round: those that are asked for all the while cannot hold the lock for ever.
        let mut spared = order.keys.len();
        while order.bytes > size {
            let Some(oldest) = order.keys.pop_front() else { break };
            let Some(entry) = table.get(&oldest) else { continue };
            if entry.visited.swap(false, Ordering::Relaxed) && spared > 0 {
                spared -= 1;
                order.keys.push_back(oldest);
                continue;
            }
            order.bytes = order.bytes.saturating_sub(entry.size(&oldest));
            table.remove(&oldest);
            gone += 1;
        }
        gone
    }

    /// Takes other settings: the size at once, the others for what is kept from now on. Returns how many had to go.
    pub(super) fn configure(&self, settings: config::CacheSettings) -> usize {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let size = settings.size;
        self.settings.store(Arc::new(settings));
        self.evict(&mut order, size)
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        *order = EvictionQueue::default();
        self.epoch.fetch_add(1, Ordering::Release);
        self.table.pin().clear();
    }

    /// What it holds now.
    pub(super) fn usage(&self) -> CacheUsage {
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        CacheUsage { entries: order.keys.len(), bytes: order.bytes }
    }

    /// An entry that begins now; `None` for what must not be kept.
    fn entry(&self, answer: StoredAnswer, settings: &config::CacheSettings) -> Option<CacheEntry> {
        let (lifetime, stale, is_failure) = match answer.lifetime()? {
            // "if the TTL is zero … should not be cached" (RFC 1035 section 3.2.1)
            Lifetime::Positive(0) | Lifetime::Negative(0) => return None,
            Lifetime::Positive(ttl) => (ttl.clamp(settings.min_ttl, settings.max_ttl), true, false),
            Lifetime::Negative(ttl) => {
                let most = settings.max_ttl.min(settings.negative_ttl);
                (ttl.max(settings.min_ttl).min(most), true, false)
            }
            Lifetime::Failure => (FAILURE_TTL, false, true),
        };
        let now = self.now();
        let fresh_until = now + u64::from(lifetime) * 1000;
        let stale = if stale { milliseconds(settings.serve_stale) } else { 0 };
        (lifetime > 0).then(|| CacheEntry {
            answer,
            kept_at: now,
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

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl CacheEntry {
    fn size(&self, key: &[u8]) -> usize {
        OVERHEAD + self.answer.size() + 2 * key.len()
    }

    /// Notes that it was asked for. Stores only what changes, so that workers do not fight for the cache line for ever.
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
