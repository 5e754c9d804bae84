//! Queries in flight: which upstream queries are unanswered, and which clients wait for them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    rules::Rule,
    shares::{Requester, Shares},
    upstream_query::UpstreamQuery,
    waiting_client::WaitingClient,
};
use crate::telemetry::Metrics;

/// Distinct upstream queries in flight at once.
const MAX_FETCHES: usize = 4096;

/// Clients that may wait, for all fetches together.
const MAX_WAITING: usize = 16_384;

/// One rule may take one part in this many of both limits, since all of its upstreams could be
/// dead.
const RULE_SHARE: usize = 2;

/// One client may take one part in this many of what its rule may take.
const CLIENT_SHARE: usize = 4;

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

/// A fetch that was admitted, for the task that resolves it.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) fetch: Fetch,
    /// Fetches are numbered, since an equal one may begin after this one has given way.
    number: u64,
    /// Canceled when the fetch has to give way, and when it ends.
    shed: CancellationToken,
}

impl Started {
    /// Waits until the fetch has to give way to another one.
    pub(super) async fn shed(&self) {
        self.shed.cancelled().await;
    }
}

/// All fetches in flight, with the clients that wait for them.
///
/// Each client has a share of the room, and when there is none left, the oldest fetch of the client
/// with most of them gives way. So a client whose names no server answers for cannot keep others from
/// theirs, and names that are answered fast get in beside many that are not.
#[derive(Debug)]
pub(super) struct InFlight {
    fetches: Mutex<Fetches>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Fetches {
    by_key: HashMap<FetchKey, InFlightFetch>,
    /// By the address of the rule, which each of its fetches keeps alive.
    by_rule: HashMap<usize, RuleLoad>,
    /// The number of the next fetch.
    next: u64,
    /// How many clients wait, for all fetches together.
    waiting: usize,
}

/// The fetches and the waiting clients of one rule.
#[derive(Debug, Default)]
struct RuleLoad {
    fetches: Shares<FetchKey>,
    /// How many clients wait.
    waiting: usize,
    /// How many of those each requester has.
    waiting_by_requester: HashMap<Requester, usize>,
}

/// Whether there is room for another fetch.
#[derive(Debug)]
enum Room {
    Free,
    /// If this one gives way.
    After(Box<FetchKey>),
    None,
}

#[derive(Debug)]
struct InFlightFetch {
    waiters: Vec<WaitingClient>,
    rule: usize,
    /// The client that began it.
    requester: Requester,
    number: u64,
    _shed: DropGuard,
}

/// The query that gave way to another one, and the clients that waited for it.
pub(super) type GaveWay = (UpstreamQuery, Vec<WaitingClient>);

/// The result of [`InFlight::admit`].
#[derive(Debug)]
pub(super) enum Admitted {
    /// Nothing equal was in flight: start it. If another fetch gave way to it, that fetch's query and
    /// clients are handed back.
    First(Started, Option<Box<GaveWay>>),
    /// An equal query is in flight; the client waits for its answer.
    Coalesced,
    /// A limit is reached; the query and the client, if there was one, are handed back.
    Full(UpstreamQuery, Option<WaitingClient>),
}

impl InFlight {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
        Self { fetches: Mutex::default(), metrics: Arc::clone(metrics) }
    }

    /// Admits a fetch, or lets `client` wait for an equal one.
    pub(super) fn admit(&self, fetch: Fetch, client: Option<WaitingClient>) -> Admitted {
        let mut fetches = self.lock();
        let admitted = fetches.admit(fetch, client);
        self.report(&fetches);
        admitted
    }

    /// Takes the clients that wait for a fetch, which stays in flight.
    pub(super) fn take_waiters(&self, started: &Started) -> Vec<WaitingClient> {
        self.lock().take_waiters(&started.fetch.key(), started.number)
    }

    /// A guard that ends a fetch.
    pub(super) fn guard(&self, started: &Started) -> FetchGuard<'_> {
        FetchGuard { in_flight: self, key: started.fetch.key(), number: started.number, finished: false }
    }

    /// How many fetches are in flight.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    fn lock(&self) -> MutexGuard<'_, Fetches> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, fetches: &Fetches) {
        self.metrics.forward().in_flight(fetches.by_key.len());
    }
}

impl RuleLoad {
    fn is_idle(&self) -> bool {
        self.fetches.len() == 0 && self.waiting == 0
    }

    fn has_room_for_waiting(&self, requester: Requester) -> bool {
        const MOST: usize = MAX_WAITING / RULE_SHARE;
        let own = self.waiting_by_requester.get(&requester).copied().unwrap_or(0);
        self.waiting < MOST && own < MOST / CLIENT_SHARE
    }

    fn add_waiting(&mut self, requester: Requester) {
        self.waiting += 1;
        *self.waiting_by_requester.entry(requester).or_default() += 1;
    }

    fn remove_waiting(&mut self, requester: Requester) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Entry::Occupied(mut own) = self.waiting_by_requester.entry(requester) {
            *own.get_mut() = own.get().saturating_sub(1);
            if *own.get() == 0 {
                own.remove();
            }
        }
    }

    /// Whether there is room for another fetch of a client, given how many all rules have.
    fn room_for(&self, requester: Requester, of_all: usize) -> Room {
        const MOST: usize = MAX_FETCHES / RULE_SHARE;
        let victim = if self.fetches.of(requester) >= MOST / CLIENT_SHARE {
            self.fetches.oldest_of(requester)
        } else if self.fetches.len() >= MOST || of_all >= MAX_FETCHES {
            self.fetches.oldest_of_heaviest()
        } else {
            return Room::Free;
        };
        victim.map_or(Room::None, |victim| Room::After(Box::new(victim)))
    }
}

impl Fetches {
    fn admit(&mut self, fetch: Fetch, client: Option<WaitingClient>) -> Admitted {
        let rule = Arc::as_ptr(&fetch.rule).addr();
        let requester = client.as_ref().map(WaitingClient::requester).unwrap_or_default();
        if client.is_some() && self.waiting >= MAX_WAITING {
            return Admitted::Full(fetch.query, client);
        }
        let load = self.by_rule.entry(rule).or_default();
        if client.is_some() && !load.has_room_for_waiting(requester) {
            return Admitted::Full(fetch.query, client);
        }
        let key = fetch.key();
        if let Some(equal) = self.by_key.get_mut(&key) {
            if client.is_some() {
                self.waiting += 1;
                load.add_waiting(requester);
            }
            equal.waiters.extend(client);
            return Admitted::Coalesced;
        }
        let gave_way = match load.room_for(requester, self.by_key.len()) {
            Room::Free => None,
            Room::After(victim) => Some(victim),
            Room::None => {
                self.remove_if_idle(rule);
                return Admitted::Full(fetch.query, client);
            }
        };
        let gave_way = gave_way.and_then(|key| {
            let number = self.by_key.get(&key)?.number;
            let waiters = self.end(&key, number);
            Some(Box::new((key.0, waiters)))
        });
        let started = self.begin(fetch, requester, client);
        Admitted::First(started, gave_way)
    }

    fn begin(&mut self, fetch: Fetch, requester: Requester, client: Option<WaitingClient>) -> Started {
        let (key, rule, number) = (fetch.key(), Arc::as_ptr(&fetch.rule).addr(), self.next);
        self.next += 1;
        let load = self.by_rule.entry(rule).or_default();
        load.fetches.add(requester, number, key.clone());
        if client.is_some() {
            load.add_waiting(requester);
            self.waiting += 1;
        }
        let shed = CancellationToken::new();
        let waiters = client.into_iter().collect();
        self.by_key.insert(
            key,
            InFlightFetch { waiters, rule, requester, number, _shed: shed.clone().drop_guard() },
        );
        Started { fetch, number, shed }
    }

    fn take_waiters(&mut self, key: &FetchKey, number: u64) -> Vec<WaitingClient> {
        let Some(fetch) = self.by_key.get_mut(key).filter(|fetch| fetch.number == number) else {
            return Vec::new();
        };
        let waiters = std::mem::take(&mut fetch.waiters);
        debug_assert!(waiters.len() <= self.waiting, "every waiting client was counted by `admit`");
        self.waiting = self.waiting.saturating_sub(waiters.len());
        if let Some(load) = self.by_rule.get_mut(&fetch.rule) {
            waiters.iter().for_each(|waiter| load.remove_waiting(waiter.requester()));
        }
        waiters
    }

    fn end(&mut self, key: &FetchKey, number: u64) -> Vec<WaitingClient> {
        let waiters = self.take_waiters(key, number);
        if self.by_key.get(key).is_some_and(|fetch| fetch.number == number)
            && let Some(ended) = self.by_key.remove(key)
        {
            if let Some(load) = self.by_rule.get_mut(&ended.rule) {
                load.fetches.remove(ended.requester, number);
            }
            self.remove_if_idle(ended.rule);
        }
        waiters
    }

    /// Forgets a rule without fetches: its address may become another rule's.
    fn remove_if_idle(&mut self, rule: usize) {
        if let Entry::Occupied(load) = self.by_rule.entry(rule)
            && load.get().is_idle()
        {
            load.remove();
        }
    }
}

/// Ends a fetch however its task ends, so that no later query waits for one that nothing resolves.
#[derive(Debug)]
pub(super) struct FetchGuard<'f> {
    in_flight: &'f InFlight,
    key: FetchKey,
    number: u64,
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
        let waiters = fetches.end(&self.key, self.number);
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
    use std::time::Duration;

    use super::*;
    use crate::{
        config,
        forward::{cache_key::CacheKey, client_query::ClientQuery, rules::RuleTable},
        model::Name,
        wire::WireName,
    };

    /// Fetches of two rules, `dead` and `good`, for one client after another.
    struct Bed {
        rules: RuleTable,
        in_flight: InFlight,
        started: Vec<Started>,
    }

    impl Bed {
        fn new() -> Self {
            let text = "[forward]\ndead = \"192.0.2.1\"\ngood = \"192.0.2.2\"\n".to_owned();
            let config = config::load_from(&[("muster.toml".into(), text)]).unwrap().config;
            let metrics = Arc::new(Metrics::new().unwrap());
            let rules = RuleTable::new(&config.forward, &RuleTable::default(), &[], &metrics).unwrap();
            Self { rules, in_flight: InFlight::new(&metrics), started: Vec::new() }
        }

        /// Starts a fetch of the rule `dead` or `good` for a client; returns whether it was admitted,
        /// and the name whose fetch gave way.
        fn start(&mut self, rule: &str, name: usize, host: u8) -> (bool, Option<Vec<u8>>) {
            let suffix: Name = format!("{rule}.").parse().unwrap();
            let rule = Arc::clone(self.rules.find(suffix.wire()).unwrap());
            let name: Name = format!("n{name}.example").parse().unwrap();
            let key = CacheKey::new(name.wire(), 1, false, false);
            let fetch = Fetch { query: UpstreamQuery::new(key), rule, epoch: 0 };
            match self.in_flight.admit(fetch, Some(client(host))) {
                Admitted::First(started, gave_way) => {
                    self.started.push(started);
                    (true, gave_way.map(|gave_way| gave_way.0.name().as_bytes().to_vec()))
                }
                Admitted::Coalesced => (true, None),
                Admitted::Full(..) => (false, None),
            }
        }

        /// Starts fetches for hosts in turn until one is not admitted; returns how many were.
        fn fill(&mut self, rule: &str, from: usize, hosts: std::ops::Range<u8>) -> usize {
            let mut hosts = hosts.cycle();
            (from..).take_while(|name| self.start(rule, *name, hosts.next().unwrap()).0).count()
        }
    }

    fn client(host: u8) -> WaitingClient {
        let question = b"\x01n\x07example\x00\x00\x01\x00\x01";
        let query = ClientQuery {
            id: [0, 0],
            question,
            name: WireName::trusted(&question[..11]),
            qtype: 1,
            recursion_desired: true,
            authentic_data: false,
            checking_disabled: false,
            edns: None,
            own_options: &[],
            limit: 512,
        };
        WaitingClient::new(&query, Requester::of([10, 0, 0, host].into()), Box::new(|_, _| ()))
    }

    const OF_RULE: usize = MAX_FETCHES / RULE_SHARE;
    const OF_CLIENT: usize = OF_RULE / CLIENT_SHARE;
    /// The name of the first fetch.
    const N0: &[u8] = b"\x02n0\x07example\x00";
    const LATER: Duration = Duration::from_millis(500);

    #[tokio::test(start_paused = true)]
    async fn a_rule_takes_at_most_half_of_the_room() {
        let mut bed = Bed::new();
        assert_eq!(bed.fill("dead", 0, 0..200), OF_RULE);
        assert_eq!(bed.fill("good", MAX_FETCHES, 0..200), OF_RULE);
        assert_eq!(bed.in_flight.len(), MAX_FETCHES);
        let first = bed.started.remove(0);
        bed.in_flight.guard(&first).finish();
        assert!(!bed.start("good", 3 * MAX_FETCHES, 1).0, "its share is taken");
        assert!(bed.start("dead", 3 * MAX_FETCHES, 1).0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_takes_at_most_a_quarter_of_its_rules_room() {
        let mut bed = Bed::new();
        assert_eq!(bed.fill("dead", 0, 1..2), OF_CLIENT);
        assert_eq!(bed.start("dead", MAX_FETCHES, 2), (true, None), "another client finds room");
        tokio::time::advance(LATER).await;
        let own = bed.start("dead", MAX_FETCHES + 1, 1);
        assert_eq!(own, (true, Some(N0.to_vec())), "its own oldest gives way");
        bed.started[0].shed().await;
        assert_eq!(bed.in_flight.len(), OF_CLIENT + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_rule_admits_a_new_client_in_place_of_the_heaviest() {
        let mut bed = Bed::new();
        assert_eq!(bed.fill("dead", 0, 1..5), OF_RULE);
        assert!(!bed.start("dead", MAX_FETCHES, 9).0, "all are young");
        tokio::time::advance(LATER).await;
        assert_eq!(bed.start("dead", MAX_FETCHES, 9), (true, Some(N0.to_vec())));
        assert_eq!(bed.in_flight.len(), OF_RULE);
        // A name that gave way can be asked for again, and the end of its first fetch does not end
        // the second.
        assert!(bed.start("dead", 0, 9).0);
        let first = bed.started.remove(0);
        assert!(bed.in_flight.guard(&first).finish().is_empty());
        assert_eq!(bed.in_flight.len(), OF_RULE);
        bed.started.iter().for_each(|started| drop(bed.in_flight.guard(started)));
        let fetches = bed.in_flight.lock();
        assert_eq!((fetches.by_key.len(), fetches.by_rule.len(), fetches.waiting), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_cannot_take_all_room_for_waiting() {
        let mut bed = Bed::new();
        let most = MAX_WAITING / RULE_SHARE / CLIENT_SHARE;
        assert_eq!((0..).take_while(|_| bed.start("dead", 0, 1).0).count(), most);
        assert!(bed.start("dead", 0, 2).0, "another client may wait for the same answer");
        assert_eq!(bed.in_flight.take_waiters(&bed.started[0]).len(), most + 1);
        assert!(bed.start("dead", 0, 1).0);
    }
}
