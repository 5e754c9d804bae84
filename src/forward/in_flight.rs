//! Queries in flight: which upstream queries are unanswered, and which clients wait for them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{rules::Rule, upstream_query::UpstreamQuery, waiting_client::WaitingClient};
use crate::telemetry::Metrics;

/// Distinct upstream queries in flight at once.
const MAX_FETCHES: usize = 4096;

/// Clients that may wait, for all fetches together.
const MAX_WAITING: usize = 16_384;

/// One rule may take one part in this many of both limits, since all of its upstreams could be
/// dead.
const RULE_SHARE: usize = 2;

/// One upstream query being resolved.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    pub(super) query: UpstreamQuery,
    pub(super) rule: Arc<Rule>,
    /// The cache's epoch from before the rule was found. If it has changed when the answer arrives,
    /// the answer may come from an upstream that is no longer configured.
    pub(super) epoch: u64,
}

/// The epoch is part of it so that no client waits for an upstream that is no longer configured.
type FetchKey = (UpstreamQuery, u64);

impl Fetch {
    fn key(&self) -> FetchKey {
        (self.query.clone(), self.epoch)
    }
}

/// All fetches in flight, with the clients that wait for them.
#[derive(Debug)]
pub(super) struct InFlight {
    fetches: Mutex<Fetches>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Fetches {
    waiters: HashMap<FetchKey, Vec<WaitingClient>>,
    /// How many clients wait, for all fetches together.
    waiting: usize,
}

/// The result of [`InFlight::admit`].
#[derive(Debug)]
pub(super) enum Admitted {
    /// Nothing equal was in flight: start it.
    First,
    /// An equal query is in flight; the client waits for its answer.
    Coalesced,
    /// A limit is reached; the client, if there was one, is handed back.
    Full(Option<WaitingClient>),
}

impl InFlight {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
        Self { fetches: Mutex::default(), metrics: Arc::clone(metrics) }
    }

    /// Admits a fetch, or lets `client` wait for an equal one.
    pub(super) fn admit(&self, fetch: &Fetch, client: Option<WaitingClient>) -> Admitted {
        let mut fetches = self.lock();
        let admitted = fetches.admit(fetch, client);
        self.report(&fetches);
        admitted
    }

    /// Takes the clients that wait for `fetch`, which stays in flight.
    pub(super) fn take_waiters(&self, fetch: &Fetch) -> Vec<WaitingClient> {
        self.lock().take_waiters(fetch)
    }

    /// A guard that ends `fetch`.
    pub(super) fn guard<'f>(&'f self, fetch: &'f Fetch) -> FetchGuard<'f> {
        FetchGuard { in_flight: self, fetch, finished: false }
    }

    /// How many fetches are in flight.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().waiters.len()
    }

    fn lock(&self) -> MutexGuard<'_, Fetches> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, fetches: &Fetches) {
        self.metrics.forward().in_flight(fetches.waiters.len());
    }
}

impl Fetches {
    fn admit(&mut self, fetch: &Fetch, client: Option<WaitingClient>) -> Admitted {
        let (count, load) = (self.waiters.len(), &fetch.rule.load);
        let is_full = |now: usize, of_rule: &AtomicUsize, most: usize| {
            now >= most || of_rule.load(Ordering::Relaxed) >= most / RULE_SHARE
        };
        let too_many_wait = is_full(self.waiting, &load.waiting, MAX_WAITING);
        let more = usize::from(client.is_some());
        if client.is_some() && too_many_wait {
            return Admitted::Full(client);
        }
        let admitted = match self.waiters.entry(fetch.key()) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().extend(client);
                Admitted::Coalesced
            }
            Entry::Vacant(_) if is_full(count, &load.fetches, MAX_FETCHES) => return Admitted::Full(client),
            Entry::Vacant(entry) => {
                entry.insert(client.into_iter().collect());
                load.fetches.fetch_add(1, Ordering::Relaxed);
                Admitted::First
            }
        };
        self.waiting += more;
        load.waiting.fetch_add(more, Ordering::Relaxed);
        admitted
    }

    fn take_waiters(&mut self, fetch: &Fetch) -> Vec<WaitingClient> {
        let waiters = self.waiters.get_mut(&fetch.key()).map(std::mem::take).unwrap_or_default();
        debug_assert!(waiters.len() <= self.waiting, "every waiting client was counted by `admit`");
        self.waiting = self.waiting.saturating_sub(waiters.len());
        fetch.rule.load.waiting.fetch_sub(waiters.len(), Ordering::Relaxed);
        waiters
    }

    fn end(&mut self, fetch: &Fetch) -> Vec<WaitingClient> {
        let waiters = self.take_waiters(fetch);
        if self.waiters.remove(&fetch.key()).is_some() {
            fetch.rule.load.fetches.fetch_sub(1, Ordering::Relaxed);
        }
        waiters
    }
}

/// Ends a fetch however its task ends, so that no later query waits for one that nothing resolves.
#[derive(Debug)]
pub(super) struct FetchGuard<'f> {
    in_flight: &'f InFlight,
    fetch: &'f Fetch,
    finished: bool,
}

impl FetchGuard<'_> {
    /// Ends the fetch and returns the clients that still wait. From then on an equal query starts a
    /// fetch of its own.
    pub(super) fn finish(&mut self) -> Vec<WaitingClient> {
        if std::mem::replace(&mut self.finished, true) {
            return Vec::new();
        }
        let mut fetches = self.in_flight.lock();
        let waiters = fetches.end(self.fetch);
        self.in_flight.report(&fetches);
        waiters
    }
}

impl Drop for FetchGuard<'_> {
    fn drop(&mut self) {
        drop(self.finish());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config,
        forward::{cache_key::CacheKey, rules::RuleTable},
        model::Name,
        wire::WireName,
    };

    #[tokio::test]
    async fn a_rule_takes_at_most_half_of_the_room() {
        let text = "[forward]\ndead = \"192.0.2.1\"\ngood = \"192.0.2.2\"\n".to_owned();
        let config = config::load_from(&[("muster.toml".into(), text)]).unwrap().config;
        let metrics = Arc::new(Metrics::new().unwrap());
        let rules = RuleTable::new(&config.forward, &RuleTable::default(), &[], &metrics).unwrap();
        let fetch = |suffix: &[u8], at: usize| {
            let rule = Arc::clone(rules.find(WireName::trusted(suffix)).unwrap());
            let name: Name = format!("n{at}.example").parse().unwrap();
            let key = CacheKey::new(name.wire(), 1, false, false);
            Fetch { query: UpstreamQuery::new(key, &[]), rule, epoch: 0 }
        };
        let (dead, good) = (|at| fetch(b"\x04dead\x00", at), |at| fetch(b"\x04good\x00", at));
        let in_flight = InFlight::new(&metrics);
        let starts = |fetch: &Fetch| matches!(in_flight.admit(fetch, None), Admitted::First);
        assert_eq!((0..MAX_FETCHES).take_while(|at| starts(&dead(*at))).count(), MAX_FETCHES / RULE_SHARE);
        let others = (0..MAX_FETCHES).map(|at| at + MAX_FETCHES);
        assert_eq!(others.take_while(|at| starts(&good(*at))).count(), MAX_FETCHES / RULE_SHARE);
        in_flight.guard(&dead(0)).finish();
        assert!(!starts(&good(0)), "its share is taken");
        assert!(starts(&dead(0)));
        assert_eq!(in_flight.len(), MAX_FETCHES);
    }
}
