//! Keeps watches alive: retries, status, expiry.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tracing::warn;

use super::{
    backoff::Backoff,
    outbox::Outbox,
    watch::{SyncState, Watch, WatchOutbox},
    watch_error::{WatchError, catch_panic},
};
use crate::{
    model::{Member, Retained, Retention, Update, WatchSubject},
    telemetry::{SourceStatus, WatchHandle},
};

/// What the watches of one source share.
#[derive(Clone, Debug)]
pub struct SourceContext {
    /// The source's way to the catalog.
    pub outbox: Outbox,
    /// The source's status.
    pub status: Arc<SourceStatus>,
    /// How long the last state of a lost source is served.
    pub max_stale: Duration,
    /// What is still answered of the source from before it started.
    pub retained: Arc<Mutex<Retained>>,
}

impl SourceContext {
    /// Retains what the current watches have delivered, for those that replace them.
    pub(super) fn retain_current(&self) {
        let now = std::time::Instant::now();
        let mut retained = self.retained();
        for (subject, freshness) in self.status.freshness() {
            let WatchSubject::Members(members) = &*subject else { continue };
            let stale_since = freshness.stale_since().unwrap_or(now);
            retained.members.extend(members.iter().map(|member| (member.clone(), stale_since)));
        }
    }

    /// Locks what is retained; hold the guard only to take something out.
    pub(super) fn retained(&self) -> MutexGuard<'_, Retained> {
        self.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `watch` until the program stops. Retries after every failure, keeps the watch's status, and
/// expires its state once the watch has been stale for `max_stale`.
///
/// `name` is the watch's name in logs and status, such as `service nginx`. The call itself adds the
/// watch to the status, before the future runs, so that a source with many watches is not ready
/// when only the first of them has synced. Dropping the future ends the watch.
pub fn supervise<W: Watch>(
    watch: W,
    name: String,
    subject: WatchSubject,
    context: SourceContext,
) -> impl Future<Output = ()> + Send {
    let handle = Arc::new(context.status.watch(name));
    handle.follow(subject.clone());
    handle.keep_stale_for(context.max_stale);
    let (unsynced, retention) = {
        let mut retained = context.retained();
        (retained.lacking(&subject), retained.take(&subject))
    };
    match retention {
        Retention::Nothing => {}
        Retention::Some(since) => handle.lost(since),
        Retention::All(since) => handle.retained(since),
    }
    run(watch, handle, retention, unsynced, subject, context)
}

async fn run<W: Watch>(
    watch: W,
    handle: Arc<WatchHandle>,
    retention: Retention,
    unsynced: Vec<Member>,
    subject: WatchSubject,
    context: SourceContext,
) {
    // Retained state expires like any other unless the watch syncs again: a restart of the watch
    // does not make it younger.
    let initial = match retention {
        Retention::Nothing => SyncState::Unsynced,
        Retention::Some(since) | Retention::All(since) => SyncState::Stale(Instant::from_std(since)),
    };
    let sync_state = watch::Sender::new(initial);
    let out = WatchOutbox {
        outbox: context.outbox.clone(),
        handle: Arc::clone(&handle),
        sync_state: sync_state.clone(),
    };
    // One task runs both: the watch cannot sync between the check that it is stale and the update
    // that expires it.
    tokio::select! {
        () = retry_forever(watch, out, unsynced) => {}
        () = expire_when_stale(&subject, &context, &handle, &sync_state) => {}
    }
}

/// Runs the watch again and again; returns when the program is stopping.
///
/// It tells the catalog of the first failure before the watch has synced, so that nothing waits any
/// more for the members that have no data.
async fn retry_forever<W: Watch>(mut watch: W, mut out: WatchOutbox, mut unsynced: Vec<Member>) {
    let mut backoff = Backoff::default();
    loop {
        let Err(error) = catch_panic(watch.run(&mut out)).await;
        if matches!(error, WatchError::Closed) {
            return;
        }
        let current = *out.sync_state.borrow();
        if let SyncState::Synced(since) = current {
            let lost = Instant::now();
            out.sync_state.send_replace(SyncState::Stale(lost));
            out.handle.lost(lost.into_std());
            backoff.lost_after(since.elapsed());
        }
        let wait = backoff.wait();
        out.failed(&error, wait);
        let failed = std::mem::take(&mut unsynced).into_iter().map(|member| Update::Failed { member });
        if !matches!(current, SyncState::Synced(_))
            && let Some(update) = Update::together(failed.collect())
            && out.outbox.send(update).await.is_err()
        {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

/// Expires the subject's state each time it has been stale for `max_stale`; returns when the
/// program is stopping.
async fn expire_when_stale(
    subject: &WatchSubject,
    context: &SourceContext,
    handle: &WatchHandle,
    sync_state: &watch::Sender<SyncState>,
) {
    let mut changes = sync_state.subscribe();
    loop {
        let current = *changes.borrow_and_update();
        let SyncState::Stale(since) = current else {
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        };
        if tokio::time::timeout_at(since + context.max_stale, changes.changed()).await.is_ok() {
            continue;
        }
        match context.outbox.send_if(subject.expired(), || *sync_state.borrow() == current).await {
            Err(_) => return,
            Ok(false) => continue, // the watch synced again while the channel was full
            Ok(true) => {}
        }
        warn!(
            source = %handle.source(), watch = handle.name(),
            "the last state is older than max_stale and is no longer answered",
        );
        // Retained names of the import never got a watch: it would have come with the import's
        // list.
        let rest = match subject {
            WatchSubject::Members(_) => Vec::new(),
            WatchSubject::Import(import) => context.retained().take_rest(import),
        };
        for member in rest {
            if context.outbox.send(Update::Expired { member }).await.is_err() {
                return;
            }
        }
        sync_state.send_replace(SyncState::Unsynced);
        handle.expired();
    }
}

#[cfg(test)]
mod tests;
