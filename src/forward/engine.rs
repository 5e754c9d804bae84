//! The tasks that query upstreams and answer waiting clients.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use super::{
    in_flight::{Admitted, Fetch, Started},
    resolve::{Unanswered, resolve},
    shared::Shared,
    stored_answer::StoredAnswer,
    upkeep,
    upstream_query::UpstreamQuery,
    waiting_client::WaitingClient,
};
use crate::telemetry::ForwardOutcome;

/// How long a client waits before it gets a stale answer, if there is one, while upstreams are
/// still queried (the client response timer: "RECOMMENDED … 1.8 seconds", RFC 8767 section 5).
const CLIENT_PATIENCE: Duration = Duration::from_millis(1800);

/// A query to resolve.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) query: UpstreamQuery,
    /// The client that waits for the answer; `None` for a prefetch.
    pub(super) client: Option<WaitingClient>,
}

impl Job {
    /// Replies without querying an upstream, because there is no room: a stale answer is better
    /// than none.
    pub(super) fn reject(self, shared: &Shared) {
        shared.reply_stale(self.client, Some(self.query.key()), ForwardOutcome::Dropped);
    }
}

/// The part of a [`Forwarder`](super::Forwarder) that runs as tasks.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Job>,
}

impl Engine {
    pub(super) fn new(shared: Arc<Shared>, inbox: mpsc::Receiver<Job>) -> Self {
        Self { shared, inbox }
    }

    /// Queries upstreams and watches over them, until dropped.
    pub async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        tokio::join!(upkeep::run(&shared), self.run_jobs());
    }

    async fn run_jobs(&mut self) {
        let mut fetches = JoinSet::new();
        loop {
            tokio::select! {
                Some(job) = self.inbox.recv() => {
                    if let Some(started) = admit(&self.shared, job) {
                        fetches.spawn(fetch(Arc::clone(&self.shared), started));
                    }
                }
                Some(_) = fetches.join_next() => {}
                else => return,
            }
        }
    }
}

/// Admits a job. Returns the fetch to start, unless the client has been answered or waits for an
/// equal fetch.
pub(super) fn admit(shared: &Shared, job: Job) -> Option<Started> {
    let Job { query, mut client } = job;
    // While the job was queued, an equal one may have been answered.
    if let Some(waiting) = client {
        let mut answer = Vec::with_capacity(512);
        if let Some(hit) = shared.cache.answer(&waiting.query(), query.key(), &mut answer) {
            shared.metrics.forward().client_query(ForwardOutcome::Answered);
            waiting.send(&answer, hit.summary);
            return None;
        }
        client = Some(waiting);
    }
    // Before the rule is found: its upstreams are then the configured ones at least until the epoch
    // changes.
    let epoch = shared.cache.epoch();
    let Some(rule) = shared.rules.load().find(query.name()).cloned() else {
        shared.reply_stale(client, None, ForwardOutcome::Failed);
        return None;
    };
    let fetch = Fetch { query, rule, epoch };
    match shared.in_flight.admit(fetch, client) {
        Admitted::First(started, gave_way) => {
            if let Some((query, clients)) = gave_way.map(|gave_way| *gave_way) {
                shared.reply_stale(clients, Some(query.key()), ForwardOutcome::Dropped);
            }
            Some(started)
        }
        Admitted::Coalesced => {
            shared.metrics.forward().coalesced();
            None
        }
        Admitted::Full(query, client) => {
            Job { query, client }.reject(shared);
            None
        }
    }
}

/// Resolves one query, answers all clients that wait for it, and stores the answer; or gives way to
/// another query.
pub(super) async fn fetch(shared: Arc<Shared>, started: Started) {
    let mut guard = shared.in_flight.guard(&started);
    let resolved = tokio::select! {
        answer = resolve_or_serve_stale(&shared, &started) => Some(answer),
        () = started.shed() => None,
    };
    // Its clients have been answered already.
    let Some(result) = resolved else { return };
    let was_queried = result.as_ref().err() != Some(&Unanswered::NotQueried);
    let answer = result.ok();
    let fetch = &started.fetch;
    let query = &fetch.query;
    let waiting = guard.finish();
    let is_conclusive = answer.as_ref().is_some_and(StoredAnswer::is_conclusive);
    let may_be_stored = was_queried && shared.cache.epoch() == fetch.epoch;
    if !is_conclusive && may_be_stored && shared.cache.mark_failed(query.key()) {
        return shared.reply_stale(waiting, Some(query.key()), ForwardOutcome::Failed);
    }
    let result = if answer.is_some() { ForwardOutcome::Answered } else { ForwardOutcome::Failed };
    let answer = answer.unwrap_or_else(|| StoredAnswer::failure(&query.key().question()));
    for client in waiting {
        shared.metrics.forward().client_query(result);
        client.answer(&answer);
    }
    if may_be_stored {
        let evicted = shared.cache.store(query.key(), answer, fetch.epoch);
        shared.report_cache(evicted);
    }
}

/// Queries upstreams. If they take long, waiting clients get a stale answer if there is one, and
/// the query goes on.
async fn resolve_or_serve_stale(shared: &Shared, started: &Started) -> Result<StoredAnswer, Unanswered> {
    let Fetch { query, rule, .. } = &started.fetch;
    let resolving = resolve(rule, query);
    tokio::pin!(resolving);
    tokio::select! {
        answer = &mut resolving => return answer,
        () = sleep(CLIENT_PATIENCE) => {}
    }
    if shared.cache.mark_failed(query.key()) {
        let waiting = shared.in_flight.take_waiters(started);
        shared.reply_stale(waiting, Some(query.key()), ForwardOutcome::Failed);
    }
    resolving.await
}
