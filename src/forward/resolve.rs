//! Asking for one question until somebody answers.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep_until};

use super::{
    ask::Question,
    image::Image,
    rules::Rule,
    upstream::{Failure, Upstream},
};

/// One try.
struct Try {
    upstream: Arc<Upstream>,
    /// When its answer is later than usual.
    late: Instant,
    open: bool,
}

/// Asks the rule's upstreams until one answers.
///
/// The first in order is asked, and when its answer takes longer than usual the next one as well, while the first may
/// still answer; with a failure the next is asked at once. After all of them the first gets another try, each round with twice the
/// patience. `None`: nobody answered within the rule's time. An answer that settles nothing, such as SERVFAIL, is only given when
/// nobody had a better one.
pub(super) async fn resolve(rule: &Rule, question: &Question) -> Option<Image> {
    let upstreams = rule.order();
    let deadline = Instant::now() + rule.settings.timeout;
    let mut tries: Vec<Try> = Vec::new();
    let mut running = FuturesUnordered::new();
    let mut best: Option<Image> = None;
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
                tries.push(Try { upstream: Arc::clone(upstream), late, open: true });
                running.push(attempt(number, upstream, question, deadline.saturating_duration_since(now)));
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
                one.open = false;
            }
            match result {
                Ok(image) if settles(&image) => {
                    note_the_late(&tries, number);
                    return Some(image);
                }
                Ok(image) => {
                    best = Some(image);
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
    upstream: &Upstream,
    question: &Question,
    limit: Duration,
) -> (usize, Result<Image, Failure>) {
    (number, upstream.ask(question, limit).await)
}

/// Whether an answer says what is, and not only that the upstream cannot: NOERROR, NXDOMAIN, YXDOMAIN (RFC 6672).
fn settles(image: &Image) -> bool {
    matches!(image.code(), 0 | 3 | 6)
}

/// Those who were later than usual when another one answered have not answered.
fn note_the_late(tries: &[Try], winner: usize) {
    let now = Instant::now();
    let answered = tries.get(winner).map(|one| &one.upstream);
    for one in tries.iter().filter(|one| one.open && one.late <= now) {
        if answered.is_none_or(|answered| !Arc::ptr_eq(answered, &one.upstream)) {
            one.upstream.missed(&"it did not answer while another one did");
        }
    }
}
