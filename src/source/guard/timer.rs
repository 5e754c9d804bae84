//! The guard's task: lets through what has been held for long enough, and gets second opinions.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{doubt::Opinion, guarded_member::OpinionRequest, memory::SecondOpinion, shared::Guard};
use crate::{
    config::{CheckKind, HealthCheck},
    model::Member,
    source::{
        outbox::Outbox,
        probe::{ProbeResult, Prober},
        watch_error::WatchError,
    },
};

/// How long a probe for a second opinion may take.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// Releases what the guard holds when it is due, and probes what the guard asks about; returns when the
/// source or the program is stopping.
pub async fn attend(guard: Arc<Guard>, outbox: Outbox, prober: Arc<Prober>) {
    let mut probes = JoinSet::new();
    loop {
        for (member, request) in guard.take_requests() {
            probes.spawn(second_opinion(member, request, Arc::clone(&prober)));
        }
        let due = guard.deadline();
        let sent = tokio::select! {
            () = guard.changed.notified() => Ok(()),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => outbox.release().await,
            Some(first) = probes.join_next() => {
                // Those that came at the same time become visible together.
                let others = std::iter::from_fn(|| probes.try_join_next());
                let opinions = std::iter::once(first).chain(others).filter_map(Result::ok).collect();
                outbox.hear_opinions(opinions).await
            }
        };
        if matches!(sent, Err(WatchError::Closed)) {
            return;
        }
    }
}

async fn second_opinion(member: Member, request: OpinionRequest, prober: Arc<Prober>) -> SecondOpinion {
    let OpinionRequest { instance, doubt } = request;
    let opinion = if instance.port == 0 {
        Opinion::Unknown
    } else {
        let check = HealthCheck {
            kind: CheckKind::Tcp,
            interval: PROBE_TIMEOUT,
            timeout: PROBE_TIMEOUT,
            rise: 1,
            fall: 1,
            port: None,
        };
        match prober.probe(&instance, &check).await {
            ProbeResult::Passed(_) => Opinion::Open,
            ProbeResult::Failed(_) => Opinion::Closed,
            ProbeResult::Untried(_) | ProbeResult::NoRoute(_) => Opinion::Unknown,
        }
    };
    SecondOpinion { member, id: instance.id, doubt, opinion }
}
