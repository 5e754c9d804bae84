use super::*;
use crate::model::{Import, SourceKind};

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
    assert_eq!(source.report().stale_since, Some(before), "the oldest");
    let subject = Arc::new(WatchSubject::Import(import));
    assert_eq!(source.freshness(), [(Arc::clone(&subject), Freshness::StaleSince(before))]);
    one.synced();
    assert_eq!(source.report().stale_since, Some(now));
    assert_eq!(source.freshness(), [(subject, Freshness::Current)]);
    two.expired();
    assert_eq!(source.report().stale_since, None);
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
