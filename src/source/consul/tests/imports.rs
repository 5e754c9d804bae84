//! Imports: names that follow Consul's list of services.

use super::*;
use crate::config::AnswerSettings;

pub(super) fn import() -> Import {
    Import { apex: "test".parse().unwrap(), source: id(), place: 0 }
}

pub(super) fn rule(include: &[&str], exclude: &[&str]) -> ImportRule {
    let texts = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    ImportRule {
        source: id(),
        include: texts(include),
        exclude: texts(exclude),
        answers: AnswerSettings::default(),
    }
}

pub(super) fn start_import(consul: &FakeConsul, include: &[&str], exclude: &[&str]) -> Source {
    start(settings(&consul.address), Vec::new(), vec![(import(), rule(include, exclude))])
}

/// The next update, which must be a list: its names.
pub(super) async fn listed(source: &mut Source) -> Vec<String> {
    match source.next().await {
        Update::Imported { import: from, services } => {
            assert_eq!(from, import());
            services.iter().map(Name::to_string).collect()
        }
        other => panic!("expected a list, got {other:?}"),
    }
}

/// The next update, which must be a reset of an imported member: its service.
pub(super) async fn reset_of(source: &mut Source) -> String {
    match source.next().await {
        Update::Reset { member, .. } => {
            assert_eq!(member.place, Member::IMPORTED);
            member.service.to_string()
        }
        other => panic!("expected a reset, got {other:?}"),
    }
}

#[tokio::test]
async fn an_imported_name_precedes_its_instances() {
    let consul = FakeConsul::start().await;
    for service in ["consul", "web", "web-proxy", "db"] {
        consul.set(service, many(1));
    }
    let mut source = start_import(&consul, &["w*", "consul"], &["consul", "*-proxy"]);
    assert_eq!(listed(&mut source).await, ["web.test"]);
    assert_eq!(reset_of(&mut source).await, "web.test");
    consul.set("web", many(2));
    assert_eq!(reset_of(&mut source).await, "web.test");
    consul.set("wiki", many(1));
    assert_eq!(listed(&mut source).await, ["web.test", "wiki.test"]);
    assert_eq!(reset_of(&mut source).await, "wiki.test");
}

#[tokio::test]
async fn imported_services_are_in_the_status_before_the_list() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    consul.set("db", many(1));
    let (outbox, inbox) = mpsc::channel(1);
    outbox.send(Update::ImportExpired { import: import() }).await.unwrap(); // the channel is full
    let imports = vec![(import(), rule(&["*"], &[]))];
    let mut source = start_into((outbox, inbox), settings(&consul.address), generous(), Vec::new(), imports);
    let all = async {
        while source.report().connecting < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("the import and its two services");
    assert!(matches!(source.next().await, Update::ImportExpired { .. }));
    assert_eq!(listed(&mut source).await.len(), 2, "before any of their instances");
}

#[tokio::test]
async fn a_name_that_leaves_the_list_is_no_longer_followed() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    consul.set("db", many(1));
    let mut source = start_import(&consul, &["*"], &[]);
    assert_eq!(listed(&mut source).await.len(), 2);
    reset_of(&mut source).await;
    reset_of(&mut source).await;
    consul.until("three queries wait", |state| state.is_open(3)).await;
    consul.unset("db");
    // The list may come before or after the service's last reset, which is empty.
    loop {
        match source.next().await {
            Update::Imported { services, .. } => {
                assert_eq!(services, ["web.test".parse().unwrap()]);
                break;
            }
            Update::Reset { member, .. } => assert_eq!(member.service.to_string(), "db.test"),
            other => panic!("{other:?}"),
        }
    }
    consul.until("two queries wait", |state| state.is_open(2)).await;
    assert_eq!(source.report().synced, 2);
    source.assert_silent();
}

#[tokio::test]
async fn only_a_reconnection_repeats_an_unchanged_list() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    let mut source = start_import(&consul, &["web"], &[]);
    listed(&mut source).await;
    reset_of(&mut source).await;
    let lists = |state: &fake::FakeState| {
        state.seen.iter().filter(|seen| seen.path == "/v1/catalog/services").count()
    };
    consul.until("the list waits", |state| lists(state) == 2).await;
    consul.set("other", many(1));
    consul.until("the list was read", |state| lists(state) == 3).await;
    source.assert_silent();
    consul.behave(Behavior::Error(500, "no"));
    source.error("refused").await;
    consul.behave(Behavior::Normal);
    let again = [source.next().await, source.next().await];
    assert!(
        again.iter().any(|update| matches!(update, Update::Imported { services, .. } if services.len() == 1))
    );
    assert!(
        again.iter().any(|update| matches!(update, Update::Reset { instances, .. } if instances.len() == 1))
    );
}

#[tokio::test]
async fn names_that_are_no_label_are_not_imported() {
    let consul = FakeConsul::start().await;
    let long = "x".repeat(64);
    for service in ["a.b", "a b", "-a", "ä", &long, "ok", "_under"] {
        consul.set(service, Vec::new());
    }
    let mut source = start_import(&consul, &["*"], &[]);
    let mut names = listed(&mut source).await;
    names.sort();
    assert_eq!(names, ["_under.test", "ok.test"]);
}

#[tokio::test]
async fn of_two_services_with_one_name_the_first_is_imported() {
    let consul = FakeConsul::start().await;
    consul.set("Web", vec![entry("upper", "10.0.0.1", "passing")]);
    consul.set("web", vec![entry("lower", "10.0.0.2", "passing")]);
    let mut source = start_import(&consul, &["*"], &[]);
    assert_eq!(listed(&mut source).await, ["web.test"]);
    assert_eq!(source.reset().await, ["upper"]);
    consul.until("two queries wait", |state| state.is_open(2)).await;
    consul.unset("Web");
    loop {
        match source.next().await {
            Update::Imported { services, .. } => assert_eq!(services.len(), 1),
            Update::Reset { instances, .. } if instances.is_empty() => {}
            Update::Reset { instances, .. } => {
                assert_eq!(&*instances[0].id, "lower");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}
