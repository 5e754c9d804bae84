//! An outbox with a guard, and its timer.

use tokio::sync::mpsc;

use super::{super::*, *};
use crate::{
    source::{Outbox, WatchError},
    telemetry::SourceStatus,
};

struct Guarded {
    outbox: Outbox,
    inbox: mpsc::Receiver<Update>,
    status: Arc<SourceStatus>,
}

async fn guarded(rule: GuardRule) -> Guarded {
    let status = Arc::new(SourceStatus::new(web().source));
    let rules = GuardRules { source: rule, members: Default::default() };
    let guard = Guard::new(rules, &mut CarriedMemory::new(), &status).unwrap();
    let (updates, inbox) = mpsc::channel(1);
    let outbox = Outbox::guarded(updates, Some(Arc::clone(&guard)));
    tokio::spawn(release_when_due(guard, outbox.clone()));
    // The timer waits before there is a deadline.
    tokio::task::yield_now().await;
    Guarded { outbox, inbox, status }
}

#[tokio::test(start_paused = true)]
async fn what_has_settled_is_sent_by_the_timer() {
    let Guarded { outbox, mut inbox, status } = guarded(damping(5, None)).await;
    outbox.send(reset(vec![instance(1, Health::Unhealthy)])).await.unwrap();
    assert!(matches!(inbox.recv().await, Some(Update::Reset { .. })));
    let before = tokio::time::Instant::now();
    outbox.send(upsert(1, Health::Healthy)).await.unwrap();
    let Some(Update::Upsert { instance: held, .. }) = inbox.recv().await else { panic!() };
    assert_eq!(held.health, Health::Unhealthy);
    assert_eq!(status.report().held_instances, BTreeMap::from([("settling", 1)]));
    let released = tokio::time::timeout(Duration::from_secs(600), inbox.recv()).await;
    assert_eq!(released.expect("the timer sends it"), Some(upsert(1, Health::Healthy)));
    assert_eq!(before.elapsed().as_secs(), 5);
    assert!(status.report().held_instances.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_released_through_a_shut_gate() {
    let Guarded { outbox, mut inbox, .. } = guarded(damping(5, None)).await;
    outbox.send(reset(vec![instance(1, Health::Unhealthy)])).await.unwrap();
    inbox.recv().await;
    outbox.send(upsert(1, Health::Healthy)).await.unwrap();
    inbox.recv().await;
    outbox.shut();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(inbox.try_recv().is_err());
    assert!(matches!(outbox.send(upsert(1, Health::Healthy)).await, Err(WatchError::Closed)));
}

#[test]
fn without_rules_there_is_no_guard() {
    let status = Arc::new(SourceStatus::new(web().source));
    let off = GuardRules { source: damping(0, None), members: Default::default() };
    assert!(Guard::new(off, &mut CarriedMemory::new(), &status).is_none());
    assert!(Guard::new(GuardRules::default(), &mut CarriedMemory::new(), &status).is_none());
}
