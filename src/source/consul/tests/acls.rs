//! ACLs: denied queries, lists that Consul has filtered, a missing token.

use super::*;

#[tokio::test]
async fn a_missing_permission_is_an_error_not_an_empty_service() {
    let consul = FakeConsul::start().await;
    consul
        .behave(Behavior::Error(403, "Permission denied: token lacks permission 'service:read' on \"web\""));
    let mut source = Source::start_web(&consul);
    assert!(source.error("denied").await.contains("'service:read'"));
    source.assert_silent();
}

#[tokio::test]
async fn a_response_emptied_by_acls_is_a_missing_permission() {
    let consul = FakeConsul::start().await;
    consul.set("web", Vec::new());
    consul.change(|state| state.filtered = true);
    let mut source = Source::start_web(&consul);
    source.error("denied").await;
    source.assert_silent();
    consul.set("web", many(1));
    assert_eq!(source.reset().await, ["w0"], "entries that the token may read are reported");
}

#[tokio::test]
async fn a_list_emptied_by_acls_is_a_missing_permission() {
    let consul = FakeConsul::start().await;
    consul.change(|state| state.filtered = true);
    let mut source = imports::start_import(&consul, &["*"], &[]);
    source.error("denied").await;
    source.assert_silent();
}

#[tokio::test]
async fn a_filtered_list_may_become_empty() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(2));
    consul.change(|state| state.filtered = true);
    let mut source = Source::start_web(&consul);
    assert_eq!(source.reset().await.len(), 2);
    consul.set("web", Vec::new());
    assert!(source.reset().await.is_empty(), "it was filtered before, and then not empty");
    consul.behave(Behavior::Error(500, "no"));
    source.error("refused").await;
    consul.behave(Behavior::Normal);
    assert!(source.reset().await.is_empty(), "also after a reconnection");
    assert_eq!(source.report().errors.get("denied"), None);
}

#[tokio::test]
async fn a_list_filtered_to_nothing_at_once_is_denied() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(2));
    let mut source = Source::start_web(&consul);
    assert_eq!(source.reset().await.len(), 2);
    consul.change(|state| state.filtered = true);
    consul.set("web", Vec::new());
    source.error("denied").await;
    source.assert_silent();
}

#[tokio::test]
async fn a_filtered_list_of_services_may_become_empty() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    consul.change(|state| state.filtered = true);
    let mut source = imports::start_import(&consul, &["*"], &[]);
    assert_eq!(imports::listed(&mut source).await, ["web.test"]);
    imports::reset_of(&mut source).await;
    consul.unset("web");
    loop {
        match source.next().await {
            Update::Imported { services, .. } => {
                assert!(services.is_empty());
                break;
            }
            Update::Reset { instances, .. } => assert!(instances.is_empty()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(source.report().errors.get("denied"), None);
}

#[tokio::test]
async fn without_a_token_an_empty_answer_under_deny_is_denied() {
    let consul = FakeConsul::start().await;
    consul.change(|state| state.default_deny = true);
    let mut source = Source::start_web(&consul);
    let message = source.error("denied").await;
    assert!(message.contains("set token_file in [consul.vms]"), "{message}");
    source.assert_silent();
    let mut source = imports::start_import(&consul, &["*"], &[]);
    let message = source.error("denied").await;
    assert!(message.contains("set token_file in [consul.vms]"), "{message}");
    source.assert_silent();
}

#[tokio::test]
async fn with_a_token_an_empty_answer_under_deny_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let consul = FakeConsul::start().await;
    consul.change(|state| state.default_deny = true);
    let mut settings = settings(&consul.address);
    settings.token_file = Some(folder.path().join("token"));
    std::fs::write(folder.path().join("token"), "t").unwrap();
    let mut source = start(settings, vec![followed(query("web"))], Vec::new());
    assert!(source.reset().await.is_empty());
}

#[tokio::test]
async fn the_anonymous_token_may_have_permissions() {
    let consul = FakeConsul::start().await;
    consul.change(|state| state.default_deny = true);
    consul.set("web", many(1));
    let mut source = Source::start_web(&consul);
    assert_eq!(source.reset().await.len(), 1);
    consul.set("web", Vec::new());
    assert!(source.reset().await.is_empty(), "muster could read instances without a token");
}
