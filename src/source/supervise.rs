//! Keeps watches alive: tries, status, staleness.

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
    watch::{Freshness, Watch, WatchOutbox},
    watch_error::{WatchError, caught},
};
use crate::model::{Import, Member, Retained, Retention, Update};
use crate::telemetry::{SourceStatus, WatchHandle};

/// What every watch of one source needs.
#[derive(Clone, Debug)]
pub struct SourceContext {
    /// Where updates go.
    pub outbox: Outbox,
    /// Where the source's status is kept.
    pub status: Arc<SourceStatus>,
    /// How long a lost source's last word is answered from.
    pub max_stale: Duration,
    /// What is answered already of what the source is to follow; empty unless it starts anew.
    pub retained: Arc<Mutex<Retained>>,
}

impl SourceContext {
    /// What is answered already; only for as long as it takes to take something out.
    pub(super) fn retained(&self) -> MutexGuard<'_, Retained> {
        self.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose updates a watch sends; said to be expired when the watch has failed for too long.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Members: usually one; several where one watch feeds them all.
    Members(Vec<Member>),
    /// The list of an import.
    Import(Import),
}

impl Subject {
    /// The updates that say that its last word no longer counts.
    fn expired(&self) -> Vec<Update> {
        match self {
            Self::Members(members) => {
                members.iter().map(|member| Update::Expired { member: member.clone() }).collect()
            }
            Self::Import(import) => vec![Update::ImportExpired { import: import.clone() }],
        }
    }

    /// Takes what is retained of it.
    fn take(&self, retained: &mut Retained) -> Retention {
        match self {
            Self::Members(members) => retained.take_members(members),
            Self::Import(import) => retained.take_import(import),
        }
    }
}

/// Runs `watch` until the program stops: tries again after every failure, notes the status, and says that the last
/// word has expired once the watch has been without the source for longer than `max_stale`.
///
/// `name` says in logs and status what is watched, such as `service nginx`. The watch is in the status from the call on,
/// before the future runs, so that a source with many watches is not ready when the first of them is. Dropping the
/// future ends the watch.
pub fn supervise<W: Watch>(
    watch: W,
    name: String,
    subject: Subject,
    context: SourceContext,
) -> impl Future<Output = ()> + Send {
    let handle = Arc::new(context.status.watch(name));
    let retention = subject.take(&mut context.retained());
    if retention == Retention::All {
        handle.carried();
    }
    run(watch, handle, retention, subject, context)
}

async fn run<W: Watch>(
    watch: W,
    handle: Arc<WatchHandle>,
    retention: Retention,
    subject: Subject,
    context: SourceContext,
) {
    // What was carried over expires as anything else does that is not heard again.
    let before =
        if retention == Retention::Nothing { Freshness::Unsynced } else { Freshness::Stale(Instant::now()) };
    let freshness = watch::Sender::new(before);
    let output = WatchOutbox {
        outbox: context.outbox.clone(),
        handle: Arc::clone(&handle),
        freshness: freshness.clone(),
    };
    // Both run in this one task, so that nothing comes between looking at the word and sending that it has expired.
    tokio::select! {
        () = keep_trying(watch, output) => {}
        () = expire(&subject, &context, &handle, &freshness) => {}
    }
}

/// Runs the watch again and again; returns when the program is stopping.
async fn keep_trying<W: Watch>(mut watch: W, mut output: WatchOutbox) {
    let mut backoff = Backoff::default();
    loop {
        let Err(error) = caught(watch.run(&mut output)).await;
        if matches!(error, WatchError::Closed) {
            return;
        }
        let current = *output.freshness.borrow();
        if let Freshness::Synced(since) = current {
            output.freshness.send_replace(Freshness::Stale(Instant::now()));
            backoff.lost_after(since.elapsed());
        }
        let wait = backoff.wait();
        let message = error.chain();
        warn!(
            source = %output.handle.source(), watch = output.handle.name(), kind = error.kind(),
            retry_in = ?wait, "watch failed: {message}",
        );
        output.handle.failed(error.kind(), message);
        tokio::time::sleep(wait).await;
    }
}

/// Says that the last word has expired, whenever it has been stale for `max_stale`; returns when the program is stopping.
async fn expire(
    subject: &Subject,
    context: &SourceContext,
    handle: &WatchHandle,
    freshness: &watch::Sender<Freshness>,
) {
    let mut heard = freshness.subscribe();
    loop {
        let current = *heard.borrow_and_update();
        let Freshness::Stale(since) = current else {
            if heard.changed().await.is_err() {
                return;
            }
            continue;
        };
        if tokio::time::timeout_at(since + context.max_stale, heard.changed()).await.is_ok() {
            continue;
        }
        match context.outbox.send_if(subject.expired(), || *freshness.borrow() == current).await {
            Err(_) => return,
            Ok(false) => continue, // it came back while the catalog was busy
            Ok(true) => {}
        }
        warn!(source = %handle.source(), watch = handle.name(), "older than max_stale: no longer answered");
        // Names that were carried over and whose own watches were to come with the list.
        let rest = match subject {
            Subject::Members(_) => Vec::new(),
            Subject::Import(import) => context.retained().take_rest(import),
        };
        for member in rest {
            if context.outbox.send(Update::Expired { member }).await.is_err() {
                return;
            }
        }
        freshness.send_replace(Freshness::Unsynced);
        handle.expired();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::sync::mpsc;

    use super::*;
    use crate::model::{Name, SourceId, SourceKind};
    use crate::telemetry::StatusBoard;

    /// A watch that syncs `syncs` times in a row and then never again.
    struct Flaky {
        member: Member,
        syncs: usize,
    }

    impl Watch for Flaky {
        async fn run(&mut self, out: &mut WatchOutbox) -> Result<Infallible, WatchError> {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if self.syncs > 0 {
                self.syncs -= 1;
                out.send(Update::Reset { member: self.member.clone(), instances: Vec::new() }).await?;
            }
            Err(WatchError::Refused("no".into()))
        }
    }

    fn member() -> Member {
        let source = SourceId { kind: SourceKind::Consul, name: "vms".into() };
        Member { service: "nginx.test".parse::<Name>().unwrap(), source, place: 0 }
    }

    /// A watch that stays synced for these times, the last one first, and then never syncs again.
    struct Staying {
        stays: Vec<Duration>,
    }

    impl Watch for Staying {
        async fn run(&mut self, out: &mut WatchOutbox) -> Result<Infallible, WatchError> {
            let Some(stay) = self.stays.pop() else { return Err(WatchError::Refused("no".into())) };
            out.send(Update::Reset { member: member(), instances: Vec::new() }).await?;
            tokio::time::sleep(stay).await;
            Err(WatchError::Refused("no".into()))
        }
    }

    fn start(syncs: usize, max_stale: Duration) -> (mpsc::Receiver<Update>, Arc<SourceStatus>) {
        start_watch(Flaky { member: member(), syncs }, max_stale)
    }

    fn start_watch(
        watch: impl Watch + 'static,
        max_stale: Duration,
    ) -> (mpsc::Receiver<Update>, Arc<SourceStatus>) {
        start_retaining(Retained::default(), Subject::Members(vec![member()]), watch, max_stale)
    }

    fn start_retaining(
        retained: Retained,
        subject: Subject,
        watch: impl Watch + 'static,
        max_stale: Duration,
    ) -> (mpsc::Receiver<Update>, Arc<SourceStatus>) {
        let (updates, inbox) = mpsc::channel(8);
        let status = StatusBoard::default().add(member().source);
        let retained = Arc::new(Mutex::new(retained));
        let context =
            SourceContext { outbox: Outbox::new(updates), status: Arc::clone(&status), max_stale, retained };
        tokio::spawn(supervise(watch, "service nginx".into(), subject, context));
        (inbox, status)
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_stays_away_expires_once_and_not_before_max_stale() {
        let (mut inbox, status) = start(2, Duration::from_secs(60));
        assert!(matches!(inbox.recv().await, Some(Update::Reset { .. })));
        assert!(matches!(inbox.recv().await, Some(Update::Reset { .. })));
        let lost = Instant::now();
        assert_eq!(inbox.recv().await, Some(Update::Expired { member: member() }));
        assert!((60..62).contains(&lost.elapsed().as_secs()), "{:?}", lost.elapsed());
        assert!(!status.report().is_ready());
        let more = tokio::time::timeout(Duration::from_secs(600), inbox.recv()).await;
        assert!(more.is_err(), "nothing more to say, got {more:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_never_synced_has_nothing_to_expire_and_keeps_trying() {
        let (mut inbox, status) = start(0, Duration::from_secs(1));
        let nothing = tokio::time::timeout(Duration::from_secs(600), inbox.recv()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        let tries = status.report().errors.get("refused").copied().unwrap_or_default();
        assert!((40..120).contains(&tries), "about one in 7.5 to 15 s, got {tries}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_carried_over_counts_as_data_and_expires_if_it_is_not_heard_again() {
        let max_stale = Duration::from_secs(60);
        let retained = Retained { members: [member()].into(), ..Retained::default() };
        let watch = Flaky { member: member(), syncs: 0 };
        let begun = Instant::now();
        let (mut inbox, status) =
            start_retaining(retained, Subject::Members(vec![member()]), watch, max_stale);
        assert!(status.report().is_ready(), "it is answered from");
        assert_eq!(inbox.recv().await, Some(Update::Expired { member: member() }));
        assert!((60..62).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        assert!(!status.report().is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_an_import_carried_over_expire_with_its_list() {
        let import = Import { apex: "test".parse().unwrap(), source: member().source, place: 0 };
        let imported = Member { place: Member::IMPORTED, ..member() };
        let retained = Retained {
            members: [imported.clone(), member()].into(),
            imports: [(import.clone(), true)].into(),
            ..Retained::default()
        };
        let watch = Flaky { member: member(), syncs: 0 };
        let (mut inbox, _status) =
            start_retaining(retained, Subject::Import(import.clone()), watch, Duration::from_secs(60));
        assert_eq!(inbox.recv().await, Some(Update::ImportExpired { import }));
        assert_eq!(inbox.recv().await, Some(Update::Expired { member: imported }));
        let more = tokio::time::timeout(Duration::from_secs(600), inbox.recv()).await;
        assert!(more.is_err(), "the other member has a watch of its own, got {more:?}");
    }

    /// A watch that panics this many times and then syncs.
    struct Panicking(usize);

    impl Watch for Panicking {
        async fn run(&mut self, out: &mut WatchOutbox) -> Result<Infallible, WatchError> {
            if self.0 > 0 {
                self.0 -= 1;
                panic!("{} more to come", self.0);
            }
            out.send(Update::Reset { member: member(), instances: Vec::new() }).await?;
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_panics_has_failed_and_is_run_again() {
        let (mut inbox, status) = start_watch(Panicking(2), Duration::from_secs(3600));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let report = status.report();
        assert_eq!((report.errors.get("panic"), report.failing), (Some(&1), 1));
        assert!(!report.is_ready());
        assert!(matches!(inbox.recv().await, Some(Update::Reset { .. })));
        let report = status.report();
        assert_eq!((report.errors.get("panic"), report.synced), (Some(&2), 1));
        assert_eq!(report.last_error.unwrap().message, "a bug in muster: panicked: 0 more to come");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_syncs_and_fails_at_once_is_not_run_again_at_once_for_ever() {
        let (mut inbox, status) = start(usize::MAX, Duration::from_secs(60));
        let mut resets = 0;
        let all = async {
            while let Some(update) = inbox.recv().await {
                assert!(matches!(update, Update::Reset { .. }), "each try brings fresh data, got {update:?}");
                resets += 1;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(600), all).await;
        assert!((40..120).contains(&resets), "about one in 7.5 to 15 s, got {resets}");
        assert_eq!(status.report().errors.get("refused"), Some(&resets));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_fails_after_a_calm_time_is_run_again_soon() {
        let calm = Backoff::MAX;
        let moments = Duration::from_millis(10);
        let mut stays = vec![moments; 10];
        stays.insert(1, calm);
        let (mut inbox, _status) = start_watch(Staying { stays }, Duration::from_secs(3600));
        for _ in 0..10 {
            inbox.recv().await.unwrap();
        }
        let synced = Instant::now();
        inbox.recv().await.unwrap();
        assert!(synced.elapsed() <= calm + Backoff::FIRST + moments, "{:?}", synced.elapsed());
    }
}
