use super::*;
use crate::model::{Import, Member, SourceKind};

fn source() -> Arc<SourceStatus> {
    StatusBoard::default().add(SourceId { kind: SourceKind::Consul, name: "vms".into() })
}

#[test]
fn a_source_is_ready_when_every_watch_has_data() {
    let source = source();
    let one = source.watch("service a");
    let two = source.watch("service b");
    one.synced();
    assert!(!source.report().is_ready());
    two.synced();
    assert!(source.report().is_ready());
    two.failed("http", "503".into());
    assert!(source.report().is_ready(), "stale data still answers");
    two.expired();
    assert!(!source.report().is_ready());
    drop(two);
    assert!(source.report().is_ready(), "a watch that is gone does not count");
}

#[test]
fn a_source_without_its_watches_is_not_ready() {
    let source = source();
    assert!(source.report().is_ready(), "it has nothing to watch");
    source.expect_watches(true);
    assert!(!source.report().is_ready());
    let watch = source.watch("service a");
    assert!(!source.report().is_ready());
    watch.synced();
    assert!(source.report().is_ready());
    let child = source.watch("service b");
    child.synced();
    drop(child);
    assert!(source.report().is_ready(), "one of two ended");
    drop(watch);
    assert!(!source.report().is_ready(), "the last one is gone");
}

#[test]
fn a_restarting_source_keeps_its_report_until_a_watch_starts() {
    let source = source();
    source.expect_watches(true);
    let watch = source.watch("service a");
    watch.synced();
    source.freeze();
    drop(watch);
    assert!(source.report().is_ready(), "its data is still answered");
    let watch = source.watch("service b");
    assert!(!source.report().is_ready(), "this watch has no data");
    watch.retained(Instant::now());
    assert!(source.report().is_ready());
}

#[test]
fn a_source_tells_since_when_its_data_is_stale() {
    let source = source();
    let [one, two] = ["service a", "service b"].map(|name| source.watch(name));
    let import = Import { apex: "test".parse().unwrap(), source: source.id().clone(), place: 0 };
    one.follow(WatchSubject::Import(import.clone()));
    assert!(source.freshness().is_empty(), "there is no data yet");
    let now = Instant::now();
    let before = now.checked_sub(Duration::from_secs(50)).unwrap();
    one.retained(before);
    two.lost(now);
    two.failed("http", "503".into());
    assert_eq!(source.report().stale.map(|stale| stale.since), Some(before), "the oldest");
    let subject = Arc::new(WatchSubject::Import(import));
    assert_eq!(source.freshness(), [(Arc::clone(&subject), Freshness::StaleSince(before))]);
    one.synced();
    assert_eq!(source.report().stale.map(|stale| stale.since), Some(now));
    assert_eq!(source.freshness(), [(subject, Freshness::Current)]);
    two.expired();
    assert_eq!(source.report().stale, None);
}

#[test]
fn errors_are_counted_by_kind_and_the_last_is_kept() {
    let source = source();
    let watch = source.watch("service a");
    watch.failed("connect", "refused".into());
    watch.failed("connect", "refused".into());
    watch.failed("http", "403".into());
    let report = source.report();
    assert_eq!(report.errors.get("connect"), Some(&2));
    assert_eq!(report.last_error.map(|e| e.message).as_deref(), Some("403"));
    assert_eq!(report.failing, 1);
}

#[test]
fn a_source_tells_when_its_stale_data_expires() {
    let source = source();
    let watch = source.watch("service a");
    let member = Member { service: "a.test".parse().unwrap(), source: source.id().clone(), place: 0 };
    watch.follow(WatchSubject::Members(vec![member.clone()]));
    watch.keep_stale_for(Duration::from_secs(60));
    let _ = watch.synced();
    let board = StatusBoard::default();
    board.replace(vec![Arc::clone(&source)]);
    assert!(board.stale_members().is_empty());
    let since = Instant::now();
    watch.lost(since);
    let expected = Staleness { since, until: Some(since + Duration::from_secs(60)) };
    assert_eq!(source.report().stale, Some(expected));
    assert_eq!(board.stale_members(), [(member, expected)].into());
}

#[test]
fn a_source_is_synced_when_its_last_watch_is() {
    let source = source();
    let [one, two] = ["service a", "service b"].map(|name| source.watch(name));
    assert_eq!(one.synced(), SyncNews::default());
    assert_eq!(two.synced(), SyncNews { back_after: None, all_synced: Some(2) });
    assert_eq!(two.failed("connect", "refused".into()), FailureNews::SourceLost);
    let news = two.synced();
    assert!(news.back_after.is_some());
    assert_eq!(news.all_synced, Some(2));
    let third = source.watch("service c");
    assert_eq!(third.synced(), SyncNews { back_after: None, all_synced: Some(3) });
}
