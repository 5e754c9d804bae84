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
use crate::config::ForwardPolicy;

/// Queries of one question to one upstream: "a resolver MUST NOT retry a given query to a server
/// address over a given DNS transport more than twice (i.e., three queries in total)" (RFC 9520
/// section 3.1).
const MAX_TRIES_OF_UPSTREAM: usize = 3;

/// How long an upstream has for its first try before it gets a second one. A resolver that must ask
/// others itself often takes as long.
const FIRST_RETRY: Duration = Duration::from_millis(400);

/// How long a negative answer waits for that of an upstream earlier in order, which may know names
/// that others do not.
const PREFERRED_PATIENCE: Duration = Duration::from_secs(2);

/// Queries the rule's upstreams until one gives a conclusive answer.
///
/// The first in order is queried. If its answer takes longer than usual, the next one is queried as
/// well, while the first may still answer; if it fails, the next one is queried at once. After the
/// last one the first gets another try; in each round, every upstream gets twice the time. An
/// inconclusive answer (such as SERVFAIL) or a truncated one is returned only if there is no better
/// one. If the policy is an order of preference, so is a negative answer while an earlier upstream
/// may still answer.
///
/// # Errors
/// When no upstream answered within the rule's timeout.
pub(super) async fn resolve(rule: &Rule, query: &UpstreamQuery) -> Result<StoredAnswer, Unanswered> {
    let upstreams = rule.order();
    let mut next = upstreams.iter().enumerate().cycle();
    let mut running = FuturesUnordered::new();
    let mut resolution = Resolution::new(rule, &upstreams);
    loop {
        let late = match resolution.choose(&mut next) {
            Some((position, upstream)) => {
                let left = resolution.deadline().saturating_duration_since(Instant::now());
                running.push(attempt(resolution.tries.len(), upstream, query, left));
                let usual = resolution.begin(position, upstream);
                let following = resolution.choose(&mut next.clone());
                following.map_or(usual, |(position, _)| usual.max(resolution.may_repeat_at(position)))
            }
            None if running.is_empty() => return resolution.result(),
            None => resolution.deadline(),
        };
        loop {
            let (number, result) = tokio::select! {
                Some(done) = running.next() => done,
                () = sleep_until(late.min(resolution.deadline())) => break,
            };
            match resolution.end(number, result, running.is_empty()) {
                AfterTry::Finish => return resolution.result(),
                AfterTry::TryNext => break,
                AfterTry::Wait => {}
            }
        }
        if Instant::now() >= resolution.deadline() {
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
    began: Instant,
    timeout: Duration,
    /// How many tries are made at most.
    most: usize,
    /// Whether a negative answer waits for upstreams earlier in order.
    by_preference: bool,
    /// For each upstream in order, how many answers it had given before.
    answers_before: Vec<u32>,
    tries: Vec<Try>,
    /// An answer that is inconclusive, truncated, or negative and not from the first in order.
    best: Option<StoredAnswer>,
    /// The position of the upstream that gave the negative answer in `best`.
    negative_from: Option<usize>,
}

/// One query to one upstream.
struct Try {
    /// The upstream's position in order.
    position: usize,
    upstream: Arc<UpstreamClient>,
    began: Instant,
    /// When its answer is later than usual.
    late: Instant,
    state: TryState,
}

#[derive(Debug)]
enum TryState {
    InFlight,
    Answered,
    Failed(UpstreamError),
    /// Not sent, for want of something of ours.
    NotSent,
}

impl TryState {
    fn is_in_flight(&self) -> bool {
        matches!(self, Self::InFlight)
    }

    fn is_answered(&self) -> bool {
        matches!(self, Self::Answered)
    }
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
    fn new(rule: &Rule, upstreams: &[Arc<UpstreamClient>]) -> Self {
        Self {
            began: Instant::now(),
            timeout: rule.settings.timeout,
            most: rule.settings.tries,
            by_preference: rule.settings.policy == ForwardPolicy::Sequential,
            answers_before: upstreams.iter().map(|upstream| upstream.health.answers()).collect(),
            tries: Vec::new(),
            best: None,
            negative_from: None,
        }
    }

    /// When the best answer is returned at the latest.
    fn deadline(&self) -> Instant {
        let patience = if self.negative_from.is_some() { PREFERRED_PATIENCE } else { self.timeout };
        self.began + patience.min(self.timeout)
    }

    /// The best answer.
    fn result(&mut self) -> Result<StoredAnswer, Unanswered> {
        let none = match self.tries.iter().all(|one| matches!(one.state, TryState::NotSent)) {
            true if !self.tries.is_empty() => Unanswered::NotQueried,
            _ => Unanswered::ByUpstreams,
        };
        self.best.take().ok_or(none)
    }

    fn tries_of(&self, position: usize) -> impl Iterator<Item = &Try> {
        self.tries.iter().filter(move |one| one.position == position)
    }

    fn has_answered(&self, position: usize) -> bool {
        self.tries_of(position).any(|one| one.state.is_answered())
    }

    /// Whether another try of an upstream could change the result.
    fn may_try(&self, position: usize) -> bool {
        !self.has_answered(position)
            && self.tries_of(position).count() < MAX_TRIES_OF_UPSTREAM
            && self.negative_from.is_none_or(|from| position < from)
    }

    /// The upstream for the next try, from upstreams in turn.
    fn choose<'u>(
        &self,
        turns: &mut impl Iterator<Item = (usize, &'u Arc<UpstreamClient>)>,
    ) -> Option<(usize, &'u Arc<UpstreamClient>)> {
        let upstreams = if self.tries.len() < self.most { self.answers_before.len() } else { 0 };
        turns.take(upstreams).find(|(position, _)| self.may_try(*position))
    }

    /// When an upstream may get another try.
    fn may_repeat_at(&self, position: usize) -> Instant {
        let last = self.tries_of(position).last();
        let doubled = self.tries_of(position).count().saturating_sub(1).min(6);
        last.map_or(self.began, |last| last.began + FIRST_RETRY * (1 << doubled))
    }

    /// Notes that a try starts. Returns when its answer is later than usual.
    fn begin(&mut self, position: usize, upstream: &Arc<UpstreamClient>) -> Instant {
        let began = Instant::now();
        let wait = upstream.health.wait() * (1 << self.tries_of(position).count().min(6));
        let late = (began + wait).min(self.deadline());
        let upstream = Arc::clone(upstream);
        self.tries.push(Try { position, upstream, began, late, state: TryState::InFlight });
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
        let Some(ended) = self.tries.get_mut(number) else { return AfterTry::TryNext };
        let position = ended.position;
        let (state, answer) = match result {
            Ok(answer) => (TryState::Answered, Some(answer)),
            Err(error) if error.is_ours() => (TryState::NotSent, None),
            Err(error) => (TryState::Failed(error), None),
        };
        ended.state = state;
        if answer.is_some_and(|answer| self.take(position, answer)) {
            return AfterTry::Finish;
        }
        if self.negative_from.is_some_and(|from| !self.awaits_before(from)) {
            return AfterTry::Finish;
        }
        let upstreams = self.answers_before.len();
        if (0..upstreams).all(|position| self.has_answered(position)) {
            return AfterTry::Finish;
        }
        let may_try_more =
            self.tries.len() < self.most && (0..upstreams).any(|position| self.may_try(position));
        // After a whole round, all upstreams get a moment to recover.
        let is_first_round = self.tries.len() < upstreams;
        if is_first_round || was_last && !may_try_more { AfterTry::TryNext } else { AfterTry::Wait }
    }

    /// Takes an answer, if it is the best so far. Returns whether it settles the question.
    fn take(&mut self, position: usize, answer: StoredAnswer) -> bool {
        let is_whole = answer.is_conclusive() && !answer.is_truncated();
        if is_whole && !(self.by_preference && answer.is_negative() && self.awaits_before(position)) {
            self.best = Some(answer);
            return true;
        }
        let is_better = if is_whole {
            self.negative_from.is_none_or(|from| position < from)
        } else {
            // A client can use part of a truncated answer.
            self.negative_from.is_none() && self.best.as_ref().is_none_or(|best| !best.is_truncated())
        };
        if is_better {
            self.best = Some(answer);
            self.negative_from = is_whole.then_some(position);
        }
        false
    }

    /// Whether an upstream before `position` may still answer.
    fn awaits_before(&self, position: usize) -> bool {
        let is_awaited = |one: &&Try| one.position < position && one.state.is_in_flight();
        self.tries.iter().filter(is_awaited).any(|one| !self.has_answered(one.position))
    }

    /// Why an upstream counts as not answering, if it does: no try of it was answered, nor was any
    /// other query since this one began.
    fn miss_of(&self, position: usize, now: Instant) -> Option<(&UpstreamClient, &dyn std::fmt::Display)> {
        const LATE: &str = "no answer in its usual time, nor until the query was given up";
        if self.has_answered(position) {
            return None;
        }
        let upstream = &*self.tries_of(position).next()?.upstream;
        if self.answers_before.get(position) != Some(&upstream.health.answers()) {
            return None;
        }
        self.tries_of(position).find_map(|one| match &one.state {
            TryState::Failed(error) => Some((upstream, error as &dyn std::fmt::Display)),
            TryState::InFlight if one.late <= now => Some((upstream, &LATE as &dyn std::fmt::Display)),
            TryState::InFlight | TryState::Answered | TryState::NotSent => None,
        })
    }
}

impl Drop for Resolution {
    fn drop(&mut self) {
        let now = Instant::now();
        for late in self.tries.iter().filter(|one| one.state.is_in_flight() && one.late <= now) {
            late.upstream.overtaken();
        }
        for position in 0..self.answers_before.len() {
            if let Some((upstream, why)) = self.miss_of(position, now) {
                upstream.missed(why);
            }
        }
    }
}
