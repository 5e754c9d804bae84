//! The queries that follow from the configuration.

use std::path::PathBuf;

use super::*;

#[tokio::test]
async fn queries_carry_the_configured_parameters() {
    let consul = FakeConsul::start().await;
    let mut settings = settings(&format!("{}/", consul.address));
    settings.datacenter = Some("dc2".into());
    let wide = ConsulQuery {
        tags: vec!["a".into(), "b&c".into()],
        filter: Some("Node.Meta.x == \"1\"".into()),
        ..query("web")
    };
    let far = ConsulQuery { datacenter: Some("dc3".into()), ..query("far") };
    let mut source = start(settings, vec![followed(wide), followed(far)], Vec::new());
    source.reset().await;
    source.reset().await;
    let seen = consul.seen();
    let query_to =
        |path: &str| seen.iter().find(|seen| seen.path == path).unwrap_or_else(|| panic!("{seen:?}"));
    let web = query_to("/v1/health/service/web");
    assert_eq!(web.all("tag"), ["a", "b&c"]);
    assert_eq!((web.get("dc"), web.get("filter")), (Some("dc2"), Some("Node.Meta.x == \"1\"")));
    assert_eq!(query_to("/v1/health/service/far").get("dc"), Some("dc3"));
}

#[tokio::test]
async fn an_agent_is_queried_over_its_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let consul = FakeConsul::start_at(&folder.path().join("http.sock"));
    consul.set("web", many(2));
    let mut source = Source::start_web(&consul);
    assert_eq!(source.reset().await.len(), 2);
    consul.set("web", many(3));
    assert_eq!(source.reset().await.len(), 3);
}

#[tokio::test]
async fn a_service_name_is_escaped_in_the_path() {
    let consul = FakeConsul::start().await;
    let agent = Agent::new(settings(&format!("{}/prefix", consul.address)), ConsulTiming::default());
    let url = agent.url(&["v1", "health", "service", "a b/c?d"]).unwrap();
    assert_eq!(url.path(), "/prefix/v1/health/service/a%20b%2Fc%3Fd");
}

#[tokio::test]
async fn configured_labels_and_port_names_are_added() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    let mut member = followed(query("web"));
    member.rule.labels = [("version", "v9")].into_iter().collect();
    member.rule.port_name = Some(("http".into(), crate::model::Protocol::Tcp));
    let mut source = start(settings(&consul.address), vec![member], Vec::new());
    match source.next().await {
        Update::Reset { instances, .. } => {
            assert_eq!(instances[0].labels.get("version"), Some("v9"));
            assert_eq!(instances[0].named_ports[0].port, 80);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_token_is_read_for_each_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("token");
    let consul = FakeConsul::start().await;
    let mut settings = settings(&consul.address);
    settings.token_file = Some(file.clone());
    let mut source = start(settings, vec![followed(query("web"))], Vec::new());
    let message = source.error("setup").await;
    assert!(message.contains(file.to_str().unwrap()), "{message}");
    assert!(consul.seen().is_empty(), "no query without the token");
    std::fs::write(&file, " one\n").unwrap();
    source.reset().await;
    std::fs::write(&file, "two").unwrap();
    consul.behave(Behavior::Error(403, "ACL not found"));
    source.error("denied").await;
    consul.behave(Behavior::Normal);
    source.reset().await;
    let tokens: Vec<_> = consul.seen().into_iter().map(|seen| seen.token.unwrap()).collect();
    assert_eq!((tokens.first().unwrap().as_str(), tokens.last().unwrap().as_str()), ("one", "two"));
}

#[tokio::test]
async fn an_unusable_token_or_address_is_a_setup_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    for content in ["", " \n", "a\nb"] {
        std::fs::write(&file, content).unwrap();
        let mut settings = settings("http://127.0.0.1:9");
        settings.token_file = Some(file.clone());
        let mut source = start(settings, vec![followed(query("web"))], Vec::new());
        assert!(source.error("setup").await.contains("token"), "{content:?}");
    }
    let mut source = start(settings("127.0.0.1:8500"), vec![followed(query("web"))], Vec::new());
    assert!(source.error("setup").await.contains("not an HTTP URL"));
}
