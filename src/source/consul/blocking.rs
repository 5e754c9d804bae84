//! Blocking queries: when to query, how long to wait, which responses to trust.
//!
//! <https://developer.hashicorp.com/consul/api-docs/features/blocking>

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Url;
use tokio::sync::OwnedSemaphorePermit;
use tracing::debug;

use super::{
    agent::{Agent, AgentClient, ConsulResponse},
    connection_pool::Slot,
    notices::{Notice, Subscription},
    rate_limit::RateLimit,
    timing::ConsulTiming,
    trust::TrustedResponse,
};
use crate::source::WatchError;

/// One endpoint that is queried again and again for changes.
#[derive(Debug)]
pub(super) struct BlockingQuery {
    agent: Arc<Agent>,
    /// Path segments of the endpoint.
    path: Vec<String>,
    /// Parameters other than those of blocking and consistency.
    parameters: Vec<(&'static str, String)>,
    /// What the error says when ACLs have emptied the response.
    denial: String,
    rate_limit: RateLimit,
    slot: Slot,
    /// The watch's notices, if the notifiers see what concerns it.
    subscription: Option<Subscription>,
    has_connected: bool,
    /// The last trusted response, also of an earlier connection.
    trusted: Option<TrustedResponse>,
}

/// A blocking query since its last connection attempt.
#[derive(Debug)]
pub(super) struct QuerySession<'a> {
    query: &'a mut BlockingQuery,
    client: AgentClient,
    url: Url,
    /// The index of the last trusted response on this connection. 0: there is none, and the next
    /// query does not wait.
    index: u64,
    /// The next query goes to the leader, since the last response is not trusted.
    leader_only: bool,
    /// The last response, which the rate limit has not been charged for.
    uncharged: Option<Uncharged>,
    /// Lets the sweep go on when the last response has been processed.
    permit: Option<OwnedSemaphorePermit>,
}

/// What a response has cost so far.
#[derive(Clone, Copy, Debug)]
struct Uncharged {
    receipt: Duration,
    bytes: usize,
    /// Since when the caller has been processing it.
    returned_at: Instant,
}

impl BlockingQuery {
    /// With `stale`, the shortest time for which a query may wait: a small `max_lag` must not cause
    /// a flood of queries.
    const MIN_STALE_WAIT: Duration = Duration::from_secs(5);
    /// The longest time over which the reconnections of a source's watches are spread.
    const MAX_SPREAD: Duration = Duration::from_secs(1);

    pub(super) fn new(
        agent: &Arc<Agent>,
        path: &[&str],
        parameters: Vec<(&'static str, String)>,
        denial: String,
    ) -> Self {
        Self {
            agent: Arc::clone(agent),
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            parameters,
            denial,
            rate_limit: RateLimit::new(),
            slot: agent.connections.join(),
            subscription: None,
            has_connected: false,
            trusted: None,
        }
    }

    /// The query of a watch that receives notices: of one service or, with `None`, of the catalog.
    pub(super) fn notified(self, service: Option<&str>) -> Self {
        Self { subscription: Some(self.agent.notices.subscribe(service)), ..self }
    }

    /// Starts over: reads the token and TLS files again; the first query does not wait. Reconnections
    /// are spread, by 2 ms for each watch of the source.
    ///
    /// # Errors
    /// [`WatchError::Setup`] when the address or a file cannot be used.
    pub(super) async fn connect(&mut self) -> Result<QuerySession<'_>, WatchError> {
        if std::mem::replace(&mut self.has_connected, true) {
            let watches = u32::try_from(self.agent.connections.watches()).unwrap_or(u32::MAX);
            let spread = Duration::from_millis(2).saturating_mul(watches).min(Self::MAX_SPREAD);
            tokio::time::sleep(spread.mul_f64(rand::random_range(0.0..=1.0))).await;
        }
        let client = self.agent.client()?;
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let mut url = self.agent.url(&path)?;
        url.query_pairs_mut().extend_pairs(&self.parameters);
        Ok(QuerySession {
            query: self,
            client,
            url,
            index: 0,
            leader_only: false,
            uncharged: None,
            permit: None,
        })
    }

    /// How long a query waits on its own connection.
    fn wanted_wait(&self) -> Duration {
        let settings = &self.agent.settings;
        if settings.stale {
            return settings.wait.min(settings.max_lag.max(Self::MIN_STALE_WAIT));
        }
        settings.wait
    }
}

impl QuerySession<'_> {
    /// Returns the next trusted response: the first at once, later ones after a change or when the
    /// wait is over. A response does not imply a change.
    ///
    /// # Errors
    /// As [`AgentClient::get_after`], [`WatchError::Timeout`], and [`WatchError::Denied`] when the
    /// response is empty since the token may not read its entries. The index of an error response
    /// is ignored.
    pub(super) async fn next(&mut self) -> Result<ConsulResponse, WatchError> {
        // The caller has decoded and sent the last response since it was returned.
        if let Some(Uncharged { receipt, bytes, returned_at }) = self.uncharged.take() {
            self.query.rate_limit.charge(receipt + returned_at.elapsed(), bytes);
        }
        self.permit = None;
        loop {
            self.query.rate_limit.ready().await;
            self.await_notice().await;
            // Only a query that does not wait is always answered by the leader itself: with
            // streaming, an agent answers the others from its memory.
            let is_confirmed = !self.is_stale() && self.index == 0;
            let Some(response) = self.send().await? else { continue };
            if !is_confirmed && let Some(doubt) = self.doubt(&response) {
                debug!(source = %self.query.agent.settings.id, path = ?self.query.path, "querying the leader: {doubt}");
                self.query.rate_limit.charge(response.receipt, response.body.len());
                self.query.rate_limit.charge_fruitless();
                self.leader_only = true;
                self.index = 0;
                continue;
            }
            self.leader_only = false;
            self.check_permission(&response)?;
            // With an index of 0 the next query would return at once.
            let index = response.index.max(1);
            if index == self.index {
                self.query.rate_limit.charge_fruitless();
            }
            self.index = index;
            self.uncharged = Some(Uncharged {
                receipt: response.receipt,
                bytes: response.body.len(),
                returned_at: Instant::now(),
            });
            self.query.trusted = Some(TrustedResponse::new(&response));
            return Ok(response);
        }
    }

    /// Says which nodes the last response has named; takes them.
    pub(super) fn set_nodes(&self, nodes: &mut BTreeSet<u64>) {
        if let Some(subscription) = &self.query.subscription {
            subscription.set_nodes(std::mem::take(nodes));
        }
    }

    /// Waits until a query is worth a connection, if notices say when. The query after a notice goes
    /// to the leader, since others may not have seen yet what the notice is about.
    async fn await_notice(&mut self) {
        let Some(subscription) = self.query.subscription.as_ref().filter(|_| self.index > 0) else { return };
        if !subscription.is_active() {
            return;
        }
        // Spread, so that overdue watches do not query all together.
        let at_most = self.query.agent.settings.wait.mul_f64(rand::random_range(0.5..=1.0));
        match subscription.next(at_most).await {
            Notice::Changed(permit) => self.permit = permit,
            Notice::Overdue => {}
            Notice::Inactive => return,
        }
        self.leader_only = true;
        self.index = 0;
    }

    /// Why the leader must confirm the response; `None` if it need not.
    ///
    /// The index goes back when the servers are restored from a snapshot or a dev agent restarts;
    /// but also when a server is behind or an agent has lost its stream.
    fn doubt(&self, response: &ConsulResponse) -> Option<&'static str> {
        if self.is_stale() && response.lag > self.query.agent.settings.max_lag {
            return Some("the stale response exceeds max_lag");
        }
        self.query.trusted?.contradiction(response)
    }

    /// Checks that an empty response does not mean a missing permission.
    fn check_permission(&self, response: &ConsulResponse) -> Result<(), WatchError> {
        let was_filtered = self.query.trusted.is_some_and(TrustedResponse::filtered);
        if response.filtered && response.is_empty() && !was_filtered {
            return Err(WatchError::Denied(self.query.denial.clone()));
        }
        self.query.agent.check_anonymous(response)
    }

    fn is_stale(&self) -> bool {
        self.query.agent.settings.stale && !self.leader_only
    }

    /// Queries once, on a connection shared with the other watches; `None` when the connection was
    /// revoked.
    async fn send(&self) -> Result<Option<ConsulResponse>, WatchError> {
        let ConsulTiming { grace, .. } = self.query.agent.timing;
        let held = self.query.slot.acquire().await.ok_or(WatchError::Closed)?;
        let mut url = self.url.clone();
        if self.is_stale() {
            url.query_pairs_mut().append_key_only("stale");
        }
        let wait = held.wait(self.query.wanted_wait());
        tokio::select! {
            response = self.client.get_after(self.index, wait, url, grace) => response.map(Some),
            () = held.revoked() => Ok(None),
        }
    }
}
