use std::convert::Infallible;

use tokio::sync::mpsc;

use super::*;
use crate::model::{Import, Member, Name, RetainedImport, SourceId, SourceKind};
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

/// A watch that stays synced for these times, last one first, and then never syncs again.
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
    start_retaining(Retained::default(), WatchSubject::Members(vec![member()]), watch, max_stale)
}

fn start_retaining(
    retained: Retained,
    subject: WatchSubject,
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
async fn a_lost_watch_expires_once_and_after_max_stale() {
    let (mut inbox, status) = start(2, Duration::from_secs(60));
    assert!(matches!(inbox.recv().await, Some(Update::Reset { .. })));
    assert!(matches!(inbox.recv().await, Some(Update::Reset { .. })));
    let lost = Instant::now();
    assert_eq!(inbox.recv().await, Some(Update::Expired { member: member() }));
    assert!((60..62).contains(&lost.elapsed().as_secs()), "{:?}", lost.elapsed());
    assert!(!status.report().is_ready());
    let more = tokio::time::timeout(Duration::from_secs(600), inbox.recv()).await;
    assert!(more.is_err(), "expected no more updates, got {more:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_with_more_members_than_the_channel_has_room_for_expires() {
    let members: Vec<_> =
        (0..5000).map(|i| Member { service: format!("s{i}.test").parse().unwrap(), ..member() }).collect();
    let lost = Instant::now().into_std();
    let retained = Retained {
        members: members.iter().map(|member| (member.clone(), lost)).collect(),
        ..Retained::default()
    };
    let watch = Flaky { member: member(), syncs: 0 };
    let subject = WatchSubject::Members(members.clone());
    let (mut inbox, status) = start_retaining(retained, subject, watch, Duration::from_secs(60));
    let expired = members.into_iter().map(|member| Update::Expired { member }).collect();
    assert_eq!(inbox.recv().await, Some(Update::Changes(expired)));
    let more = tokio::time::timeout(Duration::from_secs(600), inbox.recv()).await;
    assert!(more.is_err(), "expected no more updates, got {more:?}");
    let report = status.report();
    assert_eq!((report.failing, report.is_ready()), (1, false), "the watch goes on");
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_new_member_of_a_watch_that_fails() {
    let new = Member { service: "new.test".parse().unwrap(), ..member() };
    let lost = Instant::now().into_std();
    let retained = Retained { members: [(member(), lost)].into(), ..Retained::default() };
    let subject = WatchSubject::Members(vec![member(), new.clone()]);
    let watch = Flaky { member: member(), syncs: 0 };
    let (mut inbox, _status) = start_retaining(retained, subject, watch, Duration::from_secs(60));
    assert_eq!(inbox.recv().await, Some(Update::Failed { member: new }), "only of the new one");
    assert!(matches!(inbox.recv().await, Some(Update::Changes(_))), "both expire");
}

#[tokio::test(start_paused = true)]
async fn an_unsynced_watch_retries_and_expires_nothing() {
    let (mut inbox, status) = start(0, Duration::from_secs(1));
    assert_eq!(inbox.recv().await, Some(Update::Failed { member: member() }), "told once");
    let nothing = tokio::time::timeout(Duration::from_secs(600), inbox.recv()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    let attempts = status.report().errors.get("refused").copied().unwrap_or_default();
    assert!((40..120).contains(&attempts), "about one every 7.5 to 15 s, got {attempts}");
}

#[tokio::test(start_paused = true)]
async fn retained_state_is_served_and_expires_without_a_sync() {
    let max_stale = Duration::from_secs(60);
    let start = Instant::now();
    let retained = Retained { members: [(member(), start.into_std())].into(), ..Retained::default() };
    let watch = Flaky { member: member(), syncs: 0 };
    let (mut inbox, status) =
        start_retaining(retained, WatchSubject::Members(vec![member()]), watch, max_stale);
    assert!(status.report().is_ready(), "retained state is served");
    assert_eq!(inbox.recv().await, Some(Update::Expired { member: member() }));
    assert!((60..62).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert!(!status.report().is_ready());
}

#[tokio::test(start_paused = true)]
async fn max_stale_does_not_begin_again_for_retained_state() {
    let start = Instant::now();
    let lost = start.into_std().checked_sub(Duration::from_secs(50)).unwrap();
    let retained = Retained { members: [(member(), lost)].into(), ..Retained::default() };
    let watch = Flaky { member: member(), syncs: 0 };
    let subject = WatchSubject::Members(vec![member()]);
    let (mut inbox, status) = start_retaining(retained, subject, watch, Duration::from_secs(60));
    assert_eq!(status.report().stale.map(|stale| stale.since), Some(lost));
    assert_eq!(inbox.recv().await, Some(Update::Expired { member: member() }));
    assert!((10..12).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(status.report().stale, None);
}

#[tokio::test(start_paused = true)]
async fn retained_names_of_an_import_expire_with_its_list() {
    let import = Import { apex: "test".parse().unwrap(), source: member().source, place: 0 };
    let imported = Member { place: Member::IMPORTED, ..member() };
    let stale_since = Instant::now().into_std();
    let retained = Retained {
        members: [(imported.clone(), stale_since), (member(), stale_since)].into(),
        imports: [(import.clone(), RetainedImport { is_complete: true, stale_since })].into(),
        ..Retained::default()
    };
    let watch = Flaky { member: member(), syncs: 0 };
    let (mut inbox, _status) =
        start_retaining(retained, WatchSubject::Import(import.clone()), watch, Duration::from_secs(60));
    assert_eq!(inbox.recv().await, Some(Update::ImportExpired { import }));
    assert_eq!(inbox.recv().await, Some(Update::Expired { member: imported }));
    let more = tokio::time::timeout(Duration::from_secs(600), inbox.recv()).await;
    assert!(more.is_err(), "the other member has its own watch, got {more:?}");
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
async fn a_panic_is_a_failure_and_the_watch_runs_again() {
    let (mut inbox, status) = start_watch(Panicking(2), Duration::from_secs(3600));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let report = status.report();
    assert_eq!((report.errors.get("panic"), report.failing), (Some(&1), 1));
    assert!(!report.is_ready());
    assert_eq!(inbox.recv().await, Some(Update::Failed { member: member() }));
    assert!(matches!(inbox.recv().await, Some(Update::Reset { .. })));
    let report = status.report();
    assert_eq!((report.errors.get("panic"), report.synced), (Some(&2), 1));
    assert_eq!(report.last_error.unwrap().message, "internal error (panic): 0 more to come");
}

#[tokio::test(start_paused = true)]
async fn short_syncs_do_not_reset_the_backoff() {
    let (mut inbox, status) = start(usize::MAX, Duration::from_secs(60));
    let mut resets = 0;
    let all = async {
        while let Some(update) = inbox.recv().await {
            assert!(matches!(update, Update::Reset { .. }), "each attempt syncs, got {update:?}");
            resets += 1;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(600), all).await;
    assert!((40..120).contains(&resets), "about one every 7.5 to 15 s, got {resets}");
    assert_eq!(status.report().errors.get("refused"), Some(&resets));
}

#[tokio::test(start_paused = true)]
async fn a_long_sync_resets_the_backoff() {
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
