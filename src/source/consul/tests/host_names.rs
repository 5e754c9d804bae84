//! Addresses in Consul that are names of our own services.

use super::*;
use crate::model::Target;

/// The target of the only instance of the next reset, as text.
async fn target(source: &mut Source) -> (String, String) {
    match source.next().await {
        Update::Reset { member, instances } => {
            let target = match &instances[0].target {
                Target::Addresses(addresses) => addresses[0].to_string(),
                Target::Host(name) => name.to_string(),
            };
            (member.service.to_string(), target)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_services_own_name_is_replaced_by_the_nodes_address() {
    for address in ["web.test", "w.web.test"] {
        let consul = FakeConsul::start().await;
        consul.set("web", vec![entry("w", address, "passing")]);
        let mut source = Source::start_web(&consul);
        assert_eq!(target(&mut source).await.1, "10.9.9.9", "{address}");
    }
}

#[tokio::test]
async fn of_two_services_that_name_each_other_one_has_an_address() {
    let consul = FakeConsul::start().await;
    consul.set("a", vec![entry("a", "b.test", "passing")]);
    consul.set("b", vec![entry("b", "a.test", "passing")]);
    let members = vec![followed(query("a")), followed(query("b"))];
    let mut source = start(settings(&consul.address), members, Vec::new());
    let targets: std::collections::BTreeMap<_, _> =
        [target(&mut source).await, target(&mut source).await].into();
    let by_node = targets.values().filter(|target| *target == "10.9.9.9").count();
    assert_eq!(by_node, 1, "{targets:?}");
}

#[tokio::test]
async fn a_name_that_leads_back_over_a_node_without_an_address_is_left_out() {
    let consul = FakeConsul::start().await;
    let mut own = entry("w", "web.test", "passing");
    own["Node"]["Address"] = json!("web.test");
    let mut by_node = entry("n", "", "passing");
    by_node["Node"]["Address"] = json!("web.test");
    consul.set("web", vec![own, by_node, entry("w2", "10.0.0.2", "passing")]);
    let mut source = Source::start_web(&consul);
    assert_eq!(source.reset().await, ["w2"]);
}

#[tokio::test]
async fn names_of_others_stay_host_names() {
    let consul = FakeConsul::start().await;
    consul.set("web", vec![entry("w", "db.example", "passing")]);
    let mut source = Source::start_web(&consul);
    assert_eq!(target(&mut source).await.1, "db.example");
}
