//! Servers that are behind the leader.

use super::*;

fn stale_settings(consul: &FakeConsul) -> ConsulSource {
    ConsulSource { stale: true, ..settings(&consul.address) }
}

#[tokio::test]
async fn an_empty_answer_of_a_server_that_is_behind_is_not_trusted() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(2));
    let mut source = start(stale_settings(&consul), vec![followed(query("web"))], Vec::new());
    source.reset().await;
    consul.behave(Behavior::Error(500, "restarting"));
    source.error("refused").await;
    consul.behave(Behavior::Behind);
    assert_eq!(source.reset().await.len(), 2, "the leader was queried");
    consul.set("web", many(3));
    consul.behave(Behavior::Normal);
    assert_eq!(source.reset().await.len(), 3);
}

#[tokio::test]
async fn a_list_of_a_server_that_is_behind_is_not_trusted() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    let imports = vec![(imports::import(), imports::rule(&["*"], &[]))];
    let mut source = start(stale_settings(&consul), Vec::new(), imports);
    imports::listed(&mut source).await;
    imports::reset_of(&mut source).await;
    consul.behave(Behavior::Error(500, "restarting"));
    source.error("refused").await;
    consul.behave(Behavior::Behind);
    source.synced_without_a_loss(2).await;
}

#[tokio::test]
async fn an_older_answer_after_a_reconnection_is_not_trusted() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(2));
    let mut source = start(stale_settings(&consul), vec![followed(query("web"))], Vec::new());
    source.reset().await;
    consul.behave(Behavior::Error(500, "restarting"));
    source.error("refused").await;
    // The server is behind, but not empty.
    consul.change(|state| {
        state.behavior = Behavior::Normal;
        let web = state.services.get_mut("web").unwrap();
        web.index = 30;
        web.entries = many(1);
    });
    let queries = consul.seen().len();
    assert_eq!(source.reset().await.len(), 1, "the leader confirms it");
    let asked_leader = consul.seen().iter().skip(queries).any(|seen| seen.get("stale").is_none());
    assert!(asked_leader, "{:?}", consul.seen());
}

#[tokio::test]
async fn an_empty_service_costs_one_query_to_the_leader() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    let mut source = start(stale_settings(&consul), vec![followed(query("web"))], Vec::new());
    source.reset().await;
    consul.set("web", Vec::new());
    assert!(source.reset().await.is_empty());
    consul.until("the next query waits", |state| state.is_open(1)).await;
    let leader = |seen: &fake::SeenRequest| seen.get("stale").is_none();
    assert_eq!(consul.seen().iter().filter(|seen| leader(seen)).count(), 1, "{:?}", consul.seen());
}
