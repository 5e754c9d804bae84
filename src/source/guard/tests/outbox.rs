//! An outbox with a guard, and its timer.

use std::net::SocketAddr;

use tokio::sync::mpsc;

use super::{super::*, *};
use crate::{
    source::{
        Outbox, WatchError,
        probe::{
            Prober,
            fake::{DEADLINE, FakeServer},
        },
    },
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
    tokio::spawn(attend(guard, outbox.clone(), Arc::new(Prober::new())));
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

#[tokio::test]
async fn probes_decide_on_instances_that_go_in_bulk() {
    let server = FakeServer::silent().await;
    let at = |id: &str, address: SocketAddr| Instance {
        health: Health::Healthy,
        ..Instance::at(id, address.ip(), address.port())
    };
    let all = vec![at("open", server.address), at("closed", server.refused())];
    let rule = GuardRule { second_opinion: Some(true), ..GuardRule::default() };
    let Guarded { outbox, mut inbox, status } = guarded(rule.clone()).await;
    outbox.send(reset(all)).await.unwrap();
    let mut bed = Bed::new(rule);
    bed.apply(inbox.recv().await);
    outbox.send(reset(Vec::new())).await.unwrap();
    bed.apply(inbox.recv().await);
    assert_eq!(bed.good(), 2, "the old answer stands until the probes end");
    let why = |bed: &Bed| {
        let held = |instance: &Instance| (instance.id.to_string(), instance.held.as_ref().unwrap().why);
        bed.catalog.values().map(held).collect::<Vec<_>>()
    };
    while why(&bed) != [("open".to_owned(), HoldReason::Contradicted)] {
        let update = tokio::time::timeout(DEADLINE, inbox.recv()).await;
        bed.apply(update.unwrap_or_else(|_| panic!("{:?}", bed.catalog)));
    }
    assert_eq!(status.report().held_instances, BTreeMap::from([("contradicted", 1)]));
}
