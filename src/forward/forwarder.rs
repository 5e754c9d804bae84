//! The side of forwarding that DNS workers call.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::{
    cache::AnswerCache,
    cache_key::CacheKey,
    client_query::ClientQuery,
    engine::{Engine, Job},
    in_flight::InFlight,
    rules::RuleTable,
    shared::Shared,
    shares::Requester,
    stored_answer::AnswerSummary,
    upstream::SetupError,
    upstream_query::UpstreamQuery,
    waiting_client::{AnswerCallback, WaitingClient},
};
use crate::{
    config::Config,
    telemetry::{CacheLookup, ForwardOutcome, Metrics},
    wire::WireName,
};

/// Queries that may wait for the engine to take them.
pub(super) const QUEUE: usize = 4096;

/// What [`Forwarder::answer`] did with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// The answer was in the cache and is written.
    Answered(AnswerSummary),
    /// No rule covers the name, or the client does not want recursion: REFUSED.
    Refused,
    /// An upstream must be queried: call [`Forwarder::forward`].
    QueryUpstream,
}

/// Forwards queries. Cheap to share; [`Engine::run`] must run next to it.
#[derive(Debug)]
pub struct Forwarder {
    /// Whether there is any rule.
    active: AtomicBool,
    queue: mpsc::Sender<Job>,
    pub(super) shared: Arc<Shared>,
}

impl Forwarder {
    /// Makes a forwarder from `[forward]` and `[cache]`.
    ///
    /// # Errors
    /// When an upstream cannot be set up, such as for a missing `ca_file`. No upstream is
    /// contacted.
    pub fn new(config: &Config, metrics: &Arc<Metrics>) -> Result<(Arc<Self>, Engine), SetupError> {
        let (queue, inbox) = mpsc::channel(QUEUE);
        let own = config.listen.dns.clone();
        let rules = RuleTable::new(&config.forward, &RuleTable::default(), &own, metrics)?;
        let active = AtomicBool::new(!rules.is_empty());
        let shared = Arc::new(Shared {
            rules: ArcSwap::from_pointee(rules),
            cache: AnswerCache::new(config.cache.clone()),
            in_flight: InFlight::new(metrics),
            probes: Arc::default(),
            own,
            metrics: Arc::clone(metrics),
        });
        let engine = Engine::new(Arc::clone(&shared), inbox);
        Ok((Arc::new(Self { active, queue, shared }), engine))
    }

    /// Switches to another `[forward]` and `[cache]`. Suffixes whose settings are unchanged keep
    /// their connections and what they have learned. If any setting of `[forward]` differs, the
    /// cache is cleared.
    ///
    /// # Errors
    /// As [`new`](Self::new); then nothing changes.
    pub fn reload(&self, config: &Config) -> Result<(), SetupError> {
        let shared = &*self.shared;
        let before = shared.rules.load_full();
        if !before.are(&config.forward) {
            let rules = RuleTable::new(&config.forward, &before, &shared.own, &shared.metrics)?;
            self.active.store(!rules.is_empty(), Ordering::Relaxed);
            shared.rules.store(Arc::new(rules));
            shared.clear_cache();
        }
        let evicted = shared.cache.configure(config.cache.clone());
        shared.report_cache(evicted);
        Ok(())
    }

    /// Whether anything is forwarded. *Cost*: one load.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Whether a rule covers `name` (lower case). *Cost*: one hash lookup for each
    /// label.
    pub fn covers(&self, name: WireName<'_>) -> bool {
        self.shared.rules.load().find(name).is_some()
    }

    /// The rule for `name` (lower case) as text: its suffix, and its upstreams.
    pub fn upstreams_for(&self, name: WireName<'_>) -> Option<(String, Vec<String>)> {
        let rules = self.shared.rules.load();
        let settings = &rules.find(name)?.settings;
        Some((settings.suffix.to_string(), settings.upstreams.iter().map(ToString::to_string).collect()))
    }

    /// Answers `query` from the cache into `out`, or returns what to do instead.
    ///
    /// A client that does not want recursion (RD clear) gets a stored answer or REFUSED. *Cost*:
    /// one lookup and a copy of the message. Never waits; allocates only to prefetch an answer.
    pub fn answer(&self, query: &ClientQuery<'_>, out: &mut Vec<u8>) -> Forwarding {
        let Shared { cache, metrics, .. } = &*self.shared;
        // A stored answer was covered by a rule when it was stored; the cache is cleared when rules
        // change.
        let key = query.key();
        if let Some(hit) = cache.answer(query, &key, out) {
            let result = if hit.stale { CacheLookup::Stale } else { CacheLookup::Hit };
            metrics.forward().lookup(result);
            if hit.prefetch {
                self.prefetch(key);
            }
            return Forwarding::Answered(hit.summary);
        }
        if !self.covers(query.name) {
            return Forwarding::Refused;
        }
        metrics.forward().lookup(CacheLookup::Miss);
        if query.recursion_desired { Forwarding::QueryUpstream } else { Forwarding::Refused }
    }

    fn prefetch(&self, key: CacheKey) {
        let job = Job { query: UpstreamQuery::new(key), client: None };
        if self.queue.try_send(job).is_ok() {
            self.shared.metrics.forward().prefetch();
        }
    }

    /// Forwards a query for which [`answer`](Self::answer) returned [`Forwarding::QueryUpstream`];
    /// `requester` is charged for it.
    ///
    /// Never waits. If the queue is full, the client gets a stale answer or SERVFAIL at once.
    pub fn forward(&self, query: &ClientQuery<'_>, requester: Requester, reply: AnswerCallback) {
        let client = WaitingClient::new(query, requester, reply);
        if let Some(upstream) = self.shared.probes.recognize(query.name, query.qtype) {
            self.shared.metrics.forward().client_query(ForwardOutcome::Loop);
            upstream.mark_loop();
            return client.fail();
        }
        let job = Job { query: UpstreamQuery::new(query.key()), client: Some(client) };
        if let Err(error) = self.queue.try_send(job) {
            let (mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) = error;
            job.reject(&self.shared);
        }
    }
}
