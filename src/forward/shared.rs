//! The state that DNS workers and the engine's tasks share.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;

use super::{
    cache::{AnswerCache, CacheUsage},
    cache_key::CacheKey,
    in_flight::InFlight,
    probe::LoopProbes,
    rules::RuleTable,
    waiting_client::WaitingClient,
};
use crate::telemetry::{ForwardOutcome, Metrics};

/// Everything that both sides of the queue use.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) rules: ArcSwap<RuleTable>,
    pub(super) cache: AnswerCache,
    pub(super) in_flight: InFlight,
    pub(super) probes: Arc<LoopProbes>,
    /// The addresses that muster answers DNS on.
    pub(super) own: Vec<SocketAddr>,
    pub(super) metrics: Arc<Metrics>,
}

impl Shared {
    /// Drops all stored answers. Answers to queries now in flight are not stored when they arrive.
    pub(super) fn clear_cache(&self) {
        self.cache.clear();
        self.report_cache(0);
    }

    /// Updates the cache's metrics, after `evicted` answers were evicted.
    pub(super) fn report_cache(&self, evicted: usize) {
        let CacheUsage { entries, bytes } = self.cache.usage();
        self.metrics.forward().cache_holds(entries, bytes, evicted);
    }

    /// Sends each client the stale answer stored under `key`, or if there is none SERVFAIL, which
    /// counts as `otherwise`.
    pub(super) fn reply_stale(
        &self,
        clients: impl IntoIterator<Item = WaitingClient>,
        key: Option<&CacheKey>,
        otherwise: ForwardOutcome,
    ) {
        let mut answer = Vec::new();
        for client in clients {
            match key.and_then(|key| self.cache.stale_answer(&client.query(), key, &mut answer)) {
                Some(hit) => {
                    self.metrics.forward().client_query(ForwardOutcome::Stale);
                    client.send(&answer, hit.summary);
                }
                None => {
                    self.metrics.forward().client_query(otherwise);
                    client.fail();
                }
            }
        }
    }
}
