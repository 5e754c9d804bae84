//! Asking for one question until somebody answers.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep_until};

use super::{
    rules::Rule,
    stored_answer::StoredAnswer,
    upstream::{UpstreamClient, UpstreamError},
    upstream_query::UpstreamQuery,
};

/// One try.
struct Try {
    upstream: Arc<UpstreamClient>,
    /// When its answer is later than usual.
    late: Instant,
    state: TryState,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TryState {
    Open,
    Answered,
    Failed,
}

/// Every try of one query, as long as it is worked on. Those that are late when it ends count as not answered: what they ask is
/// given up with it.
#[derive(Default)]
struct Tries(Vec<Try>);

/// Asks the rule's upstreams until one answers.
///
/// The first in order is asked, and when its answer takes longer than usual the next one as well, while the first may
/// still answer; with a failure the next is asked at once. After all of them the first gets another try, each round with twice the
/// patience. `None`: nobody answered within the rule's time. An answer that settles nothing, such as SERVFAIL or one that was cut,
/// is only given when nobody had a better one.
pub(super) async fn resolve(rule: &Rule, query: &UpstreamQuery) -> Option<StoredAnswer> {
    let upstreams = rule.order();
    let deadline = Instant::now() + rule.settings.timeout;
    let Tries(tries) = &mut Tries::default();
    let mut running = FuturesUnordered::new();
    let mut best: Option<StoredAnswer> = None;
    let mut unsettled = 0;
    let most = if upstreams.is_empty() { 0 } else { rule.settings.tries };
    let mut next = upstreams.iter().cycle().take(most);
    loop {
        let number = tries.len();
        let late = match next.next() {
            Some(upstream) => {
                let now = Instant::now();
                let round = number.checked_div(upstreams.len()).unwrap_or(0);
                let wait = upstream.health.wait() * (1 << round.min(6));
                let late = (now + wait).min(deadline);
                tries.push(Try { upstream: Arc::clone(upstream), late, state: TryState::Open });
                running.push(attempt(number, upstream, query, deadline.saturating_duration_since(now)));
                late
            }
            None if running.is_empty() => return best,
            None => deadline,
        };
        // Whoever has failed in this round may be better in a moment, not at once.
        let round_is_over = tries.len().is_multiple_of(upstreams.len());
        loop {
            let (number, result) = tokio::select! {
                Some(done) = running.next() => done,
                () = sleep_until(late) => break,
            };
            if let Some(one) = tries.get_mut(number) {
                one.state = if result.is_ok() { TryState::Answered } else { TryState::Failed };
            }
            match result {
                Ok(answer) if settles(&answer) => return Some(answer),
                Ok(answer) => {
                    // Of one that was cut something can be used.
                    if best.as_ref().is_none_or(|best| !best.is_truncated()) {
                        best = Some(answer);
                    }
                    unsettled += 1;
                    if unsettled >= upstreams.len() {
                        return best;
                    }
                    break;
                }
                Err(_) if round_is_over && (tries.len() < most || !running.is_empty()) => {}
                Err(_) => break,
            }
        }
        if Instant::now() >= deadline {
            return best;
        }
    }
}

async fn attempt(
    number: usize,
    upstream: &UpstreamClient,
    query: &UpstreamQuery,
    limit: Duration,
) -> (usize, Result<StoredAnswer, UpstreamError>) {
    (number, upstream.ask(query, limit).await)
}

/// Whether an answer says what is, and all of it, and not only that the upstream cannot: NOERROR, NXDOMAIN, YXDOMAIN (RFC 6672).
fn settles(answer: &StoredAnswer) -> bool {
    answer.is_conclusive() && !answer.is_truncated()
}

impl Drop for Tries {
    fn drop(&mut self) {
        let now = Instant::now();
        for late in self.0.iter().filter(|one| one.state == TryState::Open && one.late <= now) {
            late.upstream.overtaken();
            let answered =
                |one: &Try| one.state == TryState::Answered && Arc::ptr_eq(&one.upstream, &late.upstream);
            if !self.0.iter().any(answered) {
                late.upstream
                    .missed(&"it did not answer in its usual time, nor until the question was given up");
            }
        }
    }
}
