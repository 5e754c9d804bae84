//! Which clients get which instances: routes, failover, nearness, aliases, subset names,
//! localities.

use std::time::Duration;

use rstest::rstest;

use super::{super::*, errors, load_from, load_server, load_texts, load_zone, refused::assert_error};
use crate::model::{Labels, Name, Network};

fn name(text: &str) -> Name {
    text.parse().expect(text)
}

fn network(text: &str) -> Network {
    text.parse().expect(text)
}

/// A zone file `shop` with the service `web`, which is from every source and has `keys`, and with
/// `more`.
pub(super) fn zone(keys: &str, more: &str) -> String {
    format!(
        "namespace = \"shop\"\n[services.web]\n{keys}\nfrom = [{{ static = \"10.0.0.5:80\" }}, {{ consul = \"vms\", \
         service = \"web\" }}, {{ kubernetes = \"eks\", namespace = \"a\", service = \"web\" }}]\n{more}\n"
    )
}

/// Loads such a zone file, which must be accepted without a warning, and returns `web`.
fn web(keys: &str, more: &str) -> ServiceDefinition {
    let loaded = load_zone(&zone(keys, more)).unwrap_or_else(|report| panic!("{keys}: {report}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let mut services = loaded.config.namespaces[0].services.clone();
    services.retain(|service| service.name == name("web.shop"));
    services.remove(0)
}

/// The only filter of `web`, as a failover tier.
fn filter(text: &str) -> InstanceFilter {
    web(&format!("failover = [{text}]"), "").failover.expect("failover").tiers.remove(0)
}

fn clients(text: &str) -> ClientFilter {
    let keys = format!("routes = [{{ clients = {text}, split = [{{ weight = 1 }}] }}]");
    let mut routes = web(&keys, "[services.api]\nfrom = [{ static = \"10.0.0.6\" }]").routes;
    routes.remove(0).clients.expect("clients")
}

#[test]
fn routing_is_optional() {
    let service = web("", "");
    assert!(service.alias.is_none() && service.routes.is_empty());
    assert!(service.failover.is_none() && service.names.is_empty());
    assert_eq!(service.answers, AnswerSettings::default());
}

#[rstest]
#[case("{ labels = { v = \"1\" } }", "v=1")]
#[case("{ labels = { v = \"1\", track = \"a b\" } }", "track=a b, v=1")]
#[case("{ selector = \"v in (v1, v2)\" }", "v in (v1,v2)")]
#[case("{ source = \"eks\" }", "from kubernetes.eks")]
#[case("{ source = \"vms\" }", "from consul.vms")]
#[case("{ source = \"static\" }", "from static")]
#[case("{ consul = \"vms\", datacenter = \"dc2\" }", "from consul.vms, datacenter dc2")]
#[case("{ kubernetes = \"eks\", locality = \"eu-west-1a\" }", "from kubernetes.eks, zone eu-west-1a")]
#[case("{ }", "all instances")]
#[case("{ labels = { } }", "all instances")]
fn every_key_of_a_filter_is_read(#[case] text: &str, #[case] shown: &str) {
    assert_eq!(filter(text).to_string(), shown);
}

#[test]
fn routes_and_groups_keep_their_order() {
    let routes = web(
        "routes = [{ clients = { labels = { app = \"a\" } }, split = [{ labels = { v = \"1\" }, weight = 90 }, \
         { selector = \"v!=1\", weight = 0, strict = true }] }, { split = [{ weight = 65535 }] }]",
        "",
    )
    .routes;
    let group = |filter: &str, weight, strict| (filter.to_owned(), weight, strict);
    let shown: Vec<Vec<_>> = routes
        .iter()
        .map(|route| route.split.iter().map(|one| (one.filter.to_string(), one.weight, one.strict)).collect())
        .collect();
    let expected =
        [vec![group("v=1", 90, false), group("v!=1", 0, true)], vec![group("all instances", 65_535, false)]];
    assert_eq!(shown, expected);
    assert_eq!(routes[0].clients.as_ref().map(ToString::to_string).as_deref(), Some("app=a"));
    assert_eq!(routes[1].clients, None);
}

#[test]
fn every_key_of_clients_is_read() {
    let read = clients(
        "{ service = \"api\", labels = { v = \"1\" }, cidr = [\"10.0.0.0/8\", \"fd00::1\"], locality = \"a\", \
         kube_namespace = \"shop\" }",
    );
    let expected = ClientFilter {
        service: Some(name("api.shop")),
        labels: [("v", "1")].into_iter().collect::<Labels>(),
        networks: vec![network("10.0.0.0/8"), network("fd00::1")],
        locality: Some("a".into()),
        kube_namespace: Some("shop".into()),
    };
    assert_eq!(read, expected);
    assert_eq!(
        read.to_string(),
        "api.shop, v=1, in 10.0.0.0/8 or fd00::1/128, zone a, Kubernetes namespace shop"
    );
}

#[rstest]
#[case("API", "api.shop")]
#[case("api.shop", "api.shop")]
#[case("api.shop.", "api.shop")]
#[case("web", "web.shop")]
fn a_label_is_a_service_of_the_namespace(#[case] text: &str, #[case] full: &str) {
    assert_eq!(clients(&format!("{{ service = \"{text}\" }}")).service, Some(name(full)));
}

#[test]
fn clients_may_be_of_other_files_and_of_imports() {
    let split = "split = [{ weight = 1 }]";
    let routes = format!(
        "routes = [{{ clients = {{ service = \"a.other\" }}, {split} }}, {{ clients = {{ service = \"shop-b\" }}, {split} }}]"
    );
    let import = "[[import]]\nconsul = \"vms\"\ninclude = \"Shop-*\"\nexclude = \"shop-x\"";
    let other = "namespace = \"other\"\n[services.a]\nfrom = [{ static = \"10.0.0.6\" }]\n";
    let files = |routes: &str| {
        let server = ("muster.toml".into(), super::SERVER.to_owned());
        [server, ("a.toml".into(), zone(routes, import)), ("b.toml".into(), other.to_owned())]
    };
    let loaded = load_from(&files(&routes)).unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_error(
        &errors(load_from(&files(&routes.replace("shop-b", "shop-x")))),
        "unknown service \"shop-x\"",
    );
    let words = "unknown service \"aa.other\" in the namespace \"other\"; did you mean \"a.other\"?";
    assert_error(&errors(load_from(&files(&routes.replace("a.other", "aa.other")))), words);
}

#[test]
fn services_that_a_broken_file_may_have_are_not_unknown() {
    let routes = "routes = [{ clients = { service = \"a.other\" }, split = [{ weight = 1 }] }]";
    let files = [
        ("muster.toml".into(), super::SERVER.to_owned()),
        ("a.toml".into(), zone(routes, "")),
        ("b.toml".into(), "namespace = \"other\"\n[services.a\n".to_owned()),
    ];
    assert_error(&errors(load_from(&files)), "b.toml:2:12: error: not TOML");
    let bad = "[services.api]\nfrom = [{ consul = \"vm\", service = \"a\" }]";
    assert_error(&errors(load_zone(&zone(&routes.replace("a.other", "api"), bad))), "did you mean \"vms\"?");
}

#[rstest]
#[case("", Amount::Count(1), 30)]
#[case("min_healthy = 2\nhold_down = \"0s\"", Amount::Count(2), 0)]
#[case("min_healthy = \"50%\"\nhold_down = \"24h\"", Amount::Percent(50), 86_400)]
fn failover_has_amounts_and_defaults(#[case] keys: &str, #[case] min_healthy: Amount, #[case] seconds: u64) {
    let keys = format!("failover = [{{ source = \"eks\" }}, {{ }}]\n{keys}");
    let failover = web(&keys, "").failover.expect("failover");
    assert_eq!((failover.min_healthy, failover.hold_down), (min_healthy, Duration::from_secs(seconds)));
    assert_eq!(failover.tiers, [filter("{ source = \"eks\" }"), InstanceFilter::default()]);
}

#[test]
fn answer_settings_are_inherited_and_overridden() {
    let text = r#"
namespace = "shop"
order = "random"
panic_threshold = "50%"
prefer = "region"
spill_below = 40
txt = true
services.a.from = { static = "10.0.0.5:80" }
services.b = { from = { static = "10.0.0.5:80" }, order = "weighted", panic_threshold = 0, prefer = "zone", txt = false }
services.c = { from = { static = "10.0.0.5:80" }, order = "rotate", prefer = "none" }
services.d = { from = { static = "10.0.0.5:80" }, spill_below = "100%" }
import = [{ consul = "vms", prefer = "zone", spill_below = 1 }]
"#;
    let loaded = load_zone(text).unwrap_or_else(|report| panic!("{report}"));
    let namespace = &loaded.config.namespaces[0];
    let all: Vec<_> = namespace
        .services
        .iter()
        .map(|service| &service.answers)
        .chain([&namespace.imports[0].answers])
        .collect();
    let near = |prefer, spill_below| Some(Nearness { prefer, spill_below });
    let nearness: Vec<_> = all.iter().map(|answers| answers.nearness).collect();
    let expected =
        [near(Near::Region, 40), near(Near::Zone, 40), None, near(Near::Region, 100), near(Near::Zone, 1)];
    assert_eq!(nearness, expected);
    let orders: Vec<_> = all.iter().map(|answers| answers.order).collect();
    assert_eq!(
        orders,
        [
            AnswerOrder::Random,
            AnswerOrder::Weighted,
            AnswerOrder::Rotate,
            AnswerOrder::Random,
            AnswerOrder::Random
        ]
    );
    let rest: Vec<_> = all.iter().map(|answers| (answers.panic_threshold, answers.txt)).collect();
    assert_eq!(rest, [(50, true), (0, false), (50, true), (50, true), (50, true)]);
}

#[rstest]
#[case("web", AliasTarget::Service(name("web.shop")))]
#[case("Web.Shop.", AliasTarget::Service(name("web.shop")))]
#[case("mail.provider.example", AliasTarget::External(name("mail.provider.example")))]
#[case("web.", AliasTarget::External(name("web")))]
fn an_alias_is_of_a_service_or_external(#[case] text: &str, #[case] alias: AliasTarget) {
    let text = zone("", &format!("[services.www]\nalias = \"{text}\"\nttl = 9"));
    let loaded = load_zone(&text).unwrap_or_else(|report| panic!("{report}"));
    let www = &loaded.config.namespaces[0].services[1];
    assert_eq!((www.alias.as_ref(), www.answers.ttl, www.from.len()), (Some(&alias), 9, 0));
}

#[test]
fn subset_names_are_sorted() {
    let names = web(
        "names = { \"V2.web\" = { labels = { v = \"2\" } }, \"all-dc2\" = { datacenter = \"dc2\" } }",
        "",
    )
    .names;
    let shown: Vec<_> = names.iter().map(|one| (one.name.to_string(), one.filter.to_string())).collect();
    let pair = |name: &str, filter: &str| (name.to_owned(), filter.to_owned());
    assert_eq!(shown, [pair("all-dc2.shop", "datacenter dc2"), pair("v2.web.shop", "v=2")]);
}

#[test]
fn localities_get_the_region_of_their_zone() {
    let text = r#"
reverse = ["10.0.0.0/8", "fd00:1:2::/48"]
listen.trusted_forwarders = ["127.0.0.1", "10.0.0.0/24"]
kubernetes.eks.identify_clients = true
locality = [
  { cidr = ["10.1.0.0/16", "10.2.0.0/16"], zone = "rack7" },
  { cidr = "10.3.0.0/16", zone = "eu-west-1a" },
  { zone = "rack7", region = "berlin" },
]
"#;
    let config = load_server(text).unwrap_or_else(|report| panic!("{report}")).config;
    assert_eq!(config.reverse, ["10.0.0.0/8", "fd00:1:2::/48"].map(network));
    assert_eq!(config.listen.trusted_forwarders, ["127.0.0.1", "10.0.0.0/24"].map(network));
    assert!(config.kubernetes[0].identify_clients);
    let rule = |cidr: Option<&str>, zone: &str, region: Option<&str>| LocalityRule {
        network: cidr.map(network),
        zone: zone.into(),
        region: region.map(Into::into),
    };
    let expected = [
        rule(Some("10.1.0.0/16"), "rack7", Some("berlin")),
        rule(Some("10.2.0.0/16"), "rack7", Some("berlin")),
        rule(Some("10.3.0.0/16"), "eu-west-1a", None),
        rule(None, "rack7", Some("berlin")),
    ];
    assert_eq!(config.localities, expected);
    let config = load_server("[kubernetes.eks]").expect("good").config;
    assert!(
        !config.kubernetes[0].identify_clients && config.localities.is_empty() && config.reverse.is_empty()
    );
    assert!(load_zone("namespace = \"shop\"\ndns_sd = true").expect("good").config.namespaces[0].dns_sd);
}

#[rstest]
#[case(
    "routes = [{ split = [{ locality = \"a\", weight = 1 }, { locality = \"a\", weight = 2 }] }]",
    "two groups of one split have the same instances"
)]
#[case("names = { v2 = { consul = \"other\" } }", "this service has no instances from consul.other")]
fn rules_without_effect_get_a_warning(#[case] keys: &str, #[case] words: &str) {
    let loaded =
        load_texts("[consul.vms]\n[consul.other]\n[kubernetes.eks]", &zone(keys, "")).expect("a warning");
    assert_eq!(loaded.warnings.diagnostics().len(), 1, "{}", loaded.warnings);
    assert_eq!(loaded.warnings.diagnostics()[0].message(), words);
}

#[test]
fn a_namespace_that_hides_a_subset_name_gets_a_warning() {
    let inner = ("b.toml".into(), "namespace = \"v2.shop\"\n".to_owned());
    let outer = ("a.toml".into(), zone("names = { v2 = { locality = \"a\" } }", ""));
    let warnings =
        load_from(&[("muster.toml".into(), super::SERVER.to_owned()), outer, inner]).expect("good").warnings;
    assert_eq!(
        warnings.diagnostics()[0].message(),
        "the namespace \"v2.shop\" hides the service of that name"
    );
}
