//! Blocking queries: when to ask, what to wait for, which answers to believe.
//!
//! <https://developer.hashicorp.com/consul/api-docs/features/blocking>

use std::{sync::Arc, time::Duration};

use reqwest::Url;
use tracing::debug;

use super::{
    agent::{Access, Agent, Answer},
    connection_pool::Slot,
    rate_limit::RateLimit,
    timing::Timing,
};
use crate::source::WatchError;

/// One endpoint that is asked again and again for changes.
#[derive(Debug)]
pub(super) struct BlockingQuery {
    agent: Arc<Agent>,
    /// Path segments of the endpoint.
    path: Vec<String>,
    /// Parameters besides those of blocking and consistency.
    parameters: Vec<(&'static str, String)>,
    rate_limit: RateLimit,
    slot: Slot,
    connected: bool,
}

/// A query since its last connection attempt.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    query: &'a mut BlockingQuery,
    access: Access,
    url: Url,
    /// What has been seen; 0: nothing, so that the next query does not wait.
    index: u64,
    /// Whether the next query is for the leader, since a stale answer was too far behind.
    leader_only: bool,
}

/// What came of one query.
enum Outcome {
    Answer(Answer),
    /// The turn was called off before there was an answer.
    CalledOff,
}

impl BlockingQuery {
    /// With `stale` the shortest time that a query may wait: a small `max_lag` must not become a flood of queries.
    const SHORTEST_STALE_WAIT: Duration = Duration::from_secs(5);
    /// Most time over which the reconnections of a source's watches are spread.
    const SPREAD: Duration = Duration::from_secs(1);

    pub(super) fn new(agent: &Arc<Agent>, path: &[&str], parameters: Vec<(&'static str, String)>) -> Self {
        Self {
            agent: Arc::clone(agent),
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            parameters,
            rate_limit: RateLimit::new(),
            slot: agent.connections.join(),
            connected: false,
        }
    }

    /// Begins anew: with the files of now and without an index. Reconnections are spread, 2 ms a watch.
    ///
    /// # Errors
    /// [`WatchError::Setup`] when the address or a file cannot be used.
    pub(super) async fn connect(&mut self) -> Result<Connection<'_>, WatchError> {
        if std::mem::replace(&mut self.connected, true) {
            let watches = u32::try_from(self.agent.connections.watches()).unwrap_or(u32::MAX);
            let spread = Duration::from_millis(2).saturating_mul(watches).min(Self::SPREAD);
            tokio::time::sleep(spread.mul_f64(rand::random_range(0.0..=1.0))).await;
        }
        let access = self.agent.access()?;
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let mut url = self.agent.url(&path)?;
        url.query_pairs_mut().extend_pairs(&self.parameters);
        Ok(Connection { query: self, access, url, index: 0, leader_only: false })
    }

    /// How long a query may wait, were it alone.
    fn wanted_wait(&self) -> Duration {
        let settings = &self.agent.settings;
        if settings.stale {
            return settings.wait.min(settings.max_lag.max(Self::SHORTEST_STALE_WAIT));
        }
        settings.wait
    }
}

impl Connection<'_> {
    /// Returns the next answer that can be believed: the first at once, the others when something has changed or
    /// the wait is over. A return is not a change.
    ///
    /// # Errors
    /// As [`Access::get`], and [`WatchError::Timeout`]; the index of an error's answer is never looked at.
    pub(super) async fn next(&mut self) -> Result<Answer, WatchError> {
        loop {
            self.query.rate_limit.take().await;
            let Outcome::Answer(answer) = self.ask().await? else { continue };
            if self.is_stale() && answer.lag > self.query.agent.settings.max_lag {
                debug!(source = %self.query.agent.settings.id, lag = ?answer.lag, "too stale: asking the leader");
                self.leader_only = true;
                self.index = 0;
                continue;
            }
            self.leader_only = false;
            // An index of 0 would make the next query return at once.
            let index = answer.index.max(1);
            // The index goes back when the servers were restored from a snapshot or a dev agent was restarted; but also
            // when an agent has lost its stream, and then the answer with it is empty.
            if index < self.index {
                self.index = 0;
                continue;
            }
            self.index = index;
            return Ok(answer);
        }
    }

    fn is_stale(&self) -> bool {
        self.query.agent.settings.stale && !self.leader_only
    }

    /// Asks once, in turn with the other watches.
    async fn ask(&self) -> Result<Outcome, WatchError> {
        let Timing { slack, .. } = self.query.agent.timing;
        let held = self.query.slot.acquire().await.ok_or(WatchError::Closed)?;
        let mut url = self.url.clone();
        let mut limit = slack;
        if self.is_stale() {
            url.query_pairs_mut().append_key_only("stale");
        }
        if self.index > 0 {
            let wait = held.wait(self.query.wanted_wait());
            // Consul adds up to a sixteenth, so that queries do not end all at once.
            limit += wait + wait / 16;
            url.query_pairs_mut()
                .append_pair("index", &self.index.to_string())
                .append_pair("wait", &format!("{}ms", wait.as_millis()));
        }
        tokio::select! {
            answer = tokio::time::timeout(limit, self.access.get(url)) => {
                answer.map_err(|_| WatchError::Timeout(limit))?.map(Outcome::Answer)
            }
            () = held.called_off() => Ok(Outcome::CalledOff),
        }
    }
}
