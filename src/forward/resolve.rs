//! Resolving one query: trying the upstreams of a rule until one answers.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep_until};

use super::{
    rules::Rule,
    stored_answer::StoredAnswer,
    upstream::{UpstreamClient, UpstreamError},
    upstream_query::UpstreamQuery,
};

/// Queries the rule's upstreams until one gives a conclusive answer.
///
/// The first in order is queried. If its answer takes longer than usual, the next one is queried as
/// well, while the first may still answer; if it fails, the next one is queried at once. After the
/// last one the first gets another try; in each round, every upstream gets twice the time. An
/// inconclusive answer (such as SERVFAIL) or a truncated one is returned only if there is no better
/// one.
///
/// # Errors
/// When no upstream answered within the rule's timeout.
pub(super) async fn resolve(rule: &Rule, query: &UpstreamQuery) -> Result<StoredAnswer, Unanswered> {
    let upstreams = rule.order();
    let deadline = Instant::now() + rule.settings.timeout;
    let most = if upstreams.is_empty() { 0 } else { rule.settings.tries };
    let mut next = upstreams.iter().cycle().take(most);
    let mut running = FuturesUnordered::new();
    let mut resolution = Resolution::new(upstreams.len(), most);
    loop {
        let late = match next.next() {
            Some(upstream) => {
                let now = Instant::now();
                let number = resolution.tries.len();
                let late = resolution.begin(upstream, now, deadline);
                running.push(attempt(number, upstream, query, deadline.saturating_duration_since(now)));
                late
            }
            None if running.is_empty() => return resolution.result(),
            None => deadline,
        };
        loop {
            let (number, result) = tokio::select! {
                Some(done) = running.next() => done,
                () = sleep_until(late) => break,
            };
            match resolution.end(number, result, running.is_empty()) {
                AfterTry::Finish => return resolution.result(),
                AfterTry::TryNext => break,
                AfterTry::Wait => {}
            }
        }
        if Instant::now() >= deadline {
            return resolution.result();
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The upstreams gave none.
    ByUpstreams,
    /// No upstream was queried, for want of something of ours. It says nothing of the name.
    NotQueried,
}

async fn attempt(
    number: usize,
    upstream: &UpstreamClient,
    query: &UpstreamQuery,
    limit: Duration,
) -> (usize, Result<StoredAnswer, UpstreamError>) {
    (number, upstream.query(query, limit, number > 0).await)
}

/// All tries of one query, and the best answer so far.
///
/// Tries that are late when it is dropped count as unanswered: their queries are given up with it.
struct Resolution {
    /// How many upstreams a round has.
    upstreams: usize,
    /// How many tries are made at most.
    most: usize,
    tries: Vec<Try>,
    /// An answer that is inconclusive or truncated.
    best: Option<StoredAnswer>,
    /// How many such answers there were.
    inconclusive: usize,
}

/// One query to one upstream.
struct Try {
    upstream: Arc<UpstreamClient>,
    /// When its answer is later than usual.
    late: Instant,
    state: TryState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TryState {
    InFlight,
    Answered,
    Failed,
    /// Not sent, for want of something of ours.
    NotSent,
}

/// What to do after a try has ended.
enum AfterTry {
    /// Return the best answer.
    Finish,
    /// Start the next try now.
    TryNext,
    /// Start the next try when the last one is late, unless another one ends before.
    Wait,
}

impl Resolution {
    fn new(upstreams: usize, most: usize) -> Self {
        Self { upstreams, most, tries: Vec::new(), best: None, inconclusive: 0 }
    }

    /// The best answer.
    fn result(&mut self) -> Result<StoredAnswer, Unanswered> {
        let none = match self.tries.iter().all(|one| one.state == TryState::NotSent) {
            true if !self.tries.is_empty() => Unanswered::NotQueried,
            _ => Unanswered::ByUpstreams,
        };
        self.best.take().ok_or(none)
    }

    /// Notes that a try starts. Returns when the next one is due.
    fn begin(&mut self, upstream: &Arc<UpstreamClient>, now: Instant, deadline: Instant) -> Instant {
        debug_assert!(self.upstreams > 0, "a try has an upstream");
        let round = self.tries.len().checked_div(self.upstreams).unwrap_or(0);
        let wait = upstream.health.wait() * (1 << round.min(6));
        let late = (now + wait).min(deadline);
        self.tries.push(Try { upstream: Arc::clone(upstream), late, state: TryState::InFlight });
        late
    }

    /// Notes how a try ended. `was_last`: no other try is in flight.
    fn end(
        &mut self,
        number: usize,
        result: Result<StoredAnswer, UpstreamError>,
        was_last: bool,
    ) -> AfterTry {
        debug_assert!(number < self.tries.len(), "a try is noted when it starts");
        if let Some(ended) = self.tries.get_mut(number) {
            ended.state = match &result {
                Ok(_) => TryState::Answered,
                Err(error) if error.is_ours() => TryState::NotSent,
                Err(_) => TryState::Failed,
            };
        }
        let Ok(answer) = result else {
            // After a whole round, all upstreams get a moment to recover.
            let round_is_over = self.tries.len().is_multiple_of(self.upstreams);
            let may_wait = self.tries.len() < self.most || !was_last;
            return if round_is_over && may_wait { AfterTry::Wait } else { AfterTry::TryNext };
        };
        if answer.is_conclusive() && !answer.is_truncated() {
            self.best = Some(answer);
            return AfterTry::Finish;
        }
        // A client can use part of a truncated answer.
        if self.best.as_ref().is_none_or(|best| !best.is_truncated()) {
            self.best = Some(answer);
        }
        self.inconclusive += 1;
        if self.inconclusive < self.upstreams { AfterTry::TryNext } else { AfterTry::Finish }
    }
}

impl Drop for Resolution {
    fn drop(&mut self) {
        let now = Instant::now();
        for late in self.tries.iter().filter(|one| one.state == TryState::InFlight && one.late <= now) {
            late.upstream.overtaken();
            let has_answered =
                |one: &Try| one.state == TryState::Answered && Arc::ptr_eq(&one.upstream, &late.upstream);
            if !self.tries.iter().any(has_answered) {
                late.upstream.missed(&"no answer in its usual time, nor until the query was given up");
            }
        }
    }
}
