//! Configurations that are accepted, and their values.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use rstest::rstest;

use super::{super::*, *};
use crate::model::{Health, Instance, Labels, Name, Network, Protocol, SourceKind, Target};

fn name(text: &str) -> Name {
    text.parse().expect(text)
}

fn member(text: &str) -> MemberRule {
    let loaded = load_member(text).unwrap_or_else(|report| panic!("{text}: {report}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.config.namespaces[0].services[0].from[0].clone()
}

fn statics(text: &str) -> StaticMember {
    match member(text).query {
        SourceQuery::Static(statics) => statics,
        other => panic!("{other:?}"),
    }
}

fn check(text: &str) -> HealthCheck {
    statics(&format!("{{ static = \"10.0.0.5:80\", check = {text} }}")).check.expect("a check")
}

fn server(text: &str) -> Config {
    load_server(text).unwrap_or_else(|report| panic!("{text}: {report}")).config
}

fn namespace(text: &str) -> Namespace {
    load_zone(text).unwrap_or_else(|report| panic!("{text}: {report}")).config.namespaces.remove(0)
}

#[test]
fn an_empty_server_file_has_the_documented_defaults() {
    let config = server("");
    assert_eq!(config.listen, Listen::default());
    assert_eq!(config.listen.dns, ["127.0.0.1:5300".parse::<SocketAddr>().expect("an address")]);
    assert_eq!(config.listen.admin, None);
    assert_eq!(config.max_stale, Duration::from_secs(86_400));
    assert!(config.state.is_none() && config.consul.is_empty() && config.forward.is_empty());
}

#[test]
fn clients_are_networks_addresses_and_words() {
    assert_eq!(server("").access, AccessSettings::default());
    let access = server(
        "[access]\nallow = [\"private\", \"203.0.113.0/24\"]\nforward = \"10.0.0.1\"\ndeny = [\"fd00::/64\"]\n\
         queries_per_second = 50\n[access.responses]\nper_second = 0\nexempt = []\n[access.cookies]\nrequired = true",
    )
    .access;
    let network = |text: &str| text.parse::<Network>().expect(text);
    assert_eq!(access.allow.len(), AccessSettings::PRIVATE.len() + 1);
    assert!(access.allow.contains(&network("203.0.113.0/24")));
    assert_eq!(access.forward, [network("10.0.0.1/32")]);
    assert_eq!(access.deny, [network("fd00::/64")]);
    assert_eq!(access.queries_per_second, Some(50));
    assert_eq!(access.responses.per_second, None);
    assert!(access.responses.exempt.is_empty() && access.cookies.required && access.cookies.enabled);
}

#[test]
fn an_open_resolver_gets_a_warning() {
    for (text, expected) in [("[\"10.0.0.0/8\", \"any\"]", true), ("\"::/0\"", true), ("\"private\"", false)]
    {
        let loaded = load_server(&format!("access.forward = {text}")).expect(text);
        let warned = loaded.warnings.to_string().contains("this is an open resolver");
        assert_eq!(warned, expected, "{text}: {}", loaded.warnings);
    }
}

#[test]
fn a_source_without_keys_has_the_documented_defaults() {
    let config = server(SERVER);
    let consul = &config.consul[0];
    assert_eq!(consul.id.to_string(), "consul.vms");
    assert_eq!(consul.address, "http://127.0.0.1:8500");
    assert_eq!((consul.wait, consul.max_lag), (Duration::from_secs(300), Duration::from_secs(10)));
    assert_eq!((consul.max_connections, consul.stale), (128, true));
    assert_eq!((&consul.client_certificate, &consul.server_name), (&None, &None));
    assert_eq!((&config.kubernetes[0].kubeconfig, &config.kubernetes[0].context), (&None, &None));
}

#[test]
fn a_zone_with_a_name_only_has_the_documented_defaults() {
    let namespace = namespace("namespace = \"Shop.Internal.\"");
    assert_eq!(namespace.apex, name("shop.internal"));
    assert_eq!((namespace.ttl, namespace.negative_ttl), (0, 1));
    assert_eq!(namespace.hostmaster, name("hostmaster.shop.internal"));
    assert_eq!(namespace.truncate, Truncate { addresses: false, srv: true });
    assert!(namespace.ns.is_empty() && namespace.services.is_empty() && namespace.imports.is_empty());
}

#[rstest]
#[case("listen.dns = \"127.0.0.1:0\"", "127.0.0.1:0")]
#[case("listen.dns = [\"[::1]:53\"]", "[::1]:53")]
fn one_value_is_a_list_of_one(#[case] text: &str, #[case] address: &str) {
    assert_eq!(server(text).listen.dns, [address.parse::<SocketAddr>().expect("an address")]);
}

#[test]
fn sources_are_sorted_by_name() {
    let config = server("[consul.b]\n[consul.a]\n[kubernetes.d]\n[kubernetes.c]\n");
    let names: Vec<_> = config.consul.iter().map(|one| one.id.to_string()).collect();
    assert_eq!(names, ["consul.a", "consul.b"]);
    let names: Vec<_> = config.kubernetes.iter().map(|one| one.id.to_string()).collect();
    assert_eq!(names, ["kubernetes.c", "kubernetes.d"]);
}

#[rstest]
#[case("https://consul.example:8501/", "https://consul.example:8501")]
#[case("http://127.0.0.1:8500/consul/", "http://127.0.0.1:8500/consul")]
#[case("http://[::1]:8500", "http://[::1]:8500")]
#[case("unix:///run/consul/http.sock", "unix:///run/consul/http.sock")]
fn consul_addresses_end_without_a_slash(#[case] text: &str, #[case] address: &str) {
    assert_eq!(server(&format!("[consul.vms]\naddress = \"{text}\"")).consul[0].address, address);
}

#[test]
fn a_server_name_is_kept_in_lower_case() {
    let text = "[consul.vms]\naddress = \"https://10.0.0.1:8501\"\nserver_name = \"Server.dc1.consul\"";
    assert_eq!(server(text).consul[0].server_name.as_deref(), Some("server.dc1.consul"));
}

#[test]
fn relative_paths_are_relative_to_the_server_file() {
    let text = "[consul.vms]\naddress = \"https://c\"\nca_file = \"/abs/ca\"\ncert_file = \"c\"\nkey_file = \"../k\"\n";
    let loaded = load_from(&[("/etc/muster/muster.toml".into(), text.into())]).expect("good");
    let consul = &loaded.config.consul[0];
    assert_eq!(consul.ca_file.as_deref(), Some(Path::new("/abs/ca")));
    assert_eq!(consul.client_certificate, Some(("/etc/muster/c".into(), "/etc/muster/../k".into())));
}

#[rstest]
#[case("10.0.0.2", "10.0.0.2:53")]
#[case("10.0.0.2:5353", "10.0.0.2:5353")]
#[case("fd00::2", "[fd00::2]:53")]
#[case("[fd00::2]", "[fd00::2]:53")]
#[case("[fd00::2]:5353", "[fd00::2]:5353")]
#[case("tcp://10.0.0.2", "tcp://10.0.0.2:53")]
#[case("system", "system")]
#[case("/run/systemd/resolve/resolv.conf", "/run/systemd/resolve/resolv.conf")]
#[case("tls://1.1.1.1#one.one.one.one", "tls://1.1.1.1:853#one.one.one.one")]
#[case("tls://1.1.1.1:8853", "tls://1.1.1.1:8853#1.1.1.1")]
#[case("https://dns.example/dns-query", "https://dns.example/dns-query")]
#[case("https://dns.example/dns-query#192.0.2.1", "https://dns.example/dns-query#192.0.2.1")]
fn upstreams_have_a_port(#[case] text: &str, #[case] upstream: &str) {
    let config = server(&format!("[forward]\n\".\" = \"{text}\""));
    let [forward] = config.forward.as_slice() else { panic!("one suffix") };
    assert_eq!(forward.upstreams.iter().map(ToString::to_string).collect::<Vec<_>>(), [upstream]);
    assert_eq!(*forward, ForwardRule::new(Name::root(), forward.upstreams.clone()));
}

#[test]
fn a_suffix_can_have_settings_of_its_own() {
    let text = "[forward]\nconsul = { to = [\"10.0.0.2\", \"10.0.0.3\"], policy = \"fastest\", timeout = \"2s\", \
                tries = 2, mixed_case = true, ca_file = \"/etc/ca.pem\" }";
    let upstreams =
        ["10.0.0.2:53", "10.0.0.3:53"].map(|at| UpstreamSpec::Plain(at.parse().expect("an address")));
    let expected = ForwardRule {
        policy: ForwardPolicy::Fastest,
        timeout: Duration::from_secs(2),
        tries: 2,
        mixed_case: true,
        ca_file: Some("/etc/ca.pem".into()),
        ..ForwardRule::new("consul".parse().expect("a name"), upstreams.into())
    };
    assert_eq!(server(text).forward, [expected]);
}

#[test]
fn the_cache_has_defaults_and_settings() {
    assert_eq!(server("").cache, CacheSettings::default());
    let text = "[cache]\nsize = \"2MiB\"\nmax_ttl = \"1h\"\nmin_ttl = 5\nnegative_ttl = 60\nserve_stale = \
                \"0s\"\nprefetch = false";
    let expected = CacheSettings {
        size: 2 << 20,
        max_ttl: 3600,
        min_ttl: 5,
        negative_ttl: 60,
        serve_stale: Duration::ZERO,
        prefetch: false,
    };
    assert_eq!(server(text).cache, expected);
}

#[rstest]
#[case("ops@example.com", b"\x03ops\x07example\x03com\x00")]
#[case("first.last@example.com", b"\x0afirst.last\x07example\x03com\x00")]
#[case("hostmaster.example.com", b"\x0ahostmaster\x07example\x03com\x00")]
fn a_mail_address_becomes_a_mailbox(#[case] text: &str, #[case] wire: &[u8]) {
    let namespace = namespace(&format!("namespace = \"shop\"\nhostmaster = \"{text}\""));
    assert_eq!(namespace.hostmaster.as_wire(), wire);
}

#[rstest]
#[case("5", 5)]
#[case("0x10", 16)]
#[case("\"1m\"", 60)]
#[case("2147483647", 2_147_483_647)]
fn a_ttl_is_seconds_or_a_duration(#[case] text: &str, #[case] ttl: u32) {
    assert_eq!(namespace(&format!("namespace = \"shop\"\nttl = {text}")).ttl, ttl);
}

#[test]
fn services_and_imports_inherit_and_override_settings() {
    let text = r#"
namespace = "shop"
ttl = 5
accept = ["healthy", "unknown"]
when_all_unhealthy = "none"
max_answers = 3
services.a.from = { static = "10.0.0.5:80" }
services.b = { from = [{ static = "10.0.0.5:80" }], ttl = 7, accept = "healthy", max_answers = 1000, when_all_unhealthy = "all" }
import = [{ consul = "vms" }, { consul = "vms", include = ["a*"], exclude = "ab", ttl = 9 }]
"#;
    let namespace = namespace(text);
    let above = AnswerSettings {
        ttl: 5,
        accept: [Health::Healthy, Health::Unknown].into_iter().collect(),
        when_all_unhealthy: WhenAllUnhealthy::None,
        max_answers: 3,
        ..AnswerSettings::default()
    };
    assert_eq!(namespace.services[0].answers, above);
    let own = AnswerSettings {
        ttl: 7,
        accept: [Health::Healthy].into_iter().collect(),
        when_all_unhealthy: WhenAllUnhealthy::All,
        max_answers: 1000,
        ..AnswerSettings::default()
    };
    assert_eq!(namespace.services[1].answers, own);
    let [all, some] = namespace.imports.as_slice() else { panic!("{:?}", namespace.imports) };
    assert_eq!((all.include.as_slice(), all.exclude.len(), &all.answers), (&["*".to_owned()][..], 0, &above));
    assert_eq!(
        (some.include.as_slice(), some.exclude.as_slice()),
        (&["a*".to_owned()][..], &["ab".to_owned()][..])
    );
    assert_eq!(some.answers.ttl, 9);
}

#[rstest]
#[case("[]", false, false)]
#[case("[\"A\", \"AAAA\"]", true, false)]
#[case("[\"SRV\", \"AAAA\", \"A\"]", true, true)]
fn truncate_is_by_type(#[case] text: &str, #[case] addresses: bool, #[case] srv: bool) {
    let namespace = namespace(&format!("namespace = \"shop\"\ntruncate = {text}"));
    assert_eq!(namespace.truncate, Truncate { addresses, srv });
}

#[rstest]
#[case("web", "web.shop")]
#[case("WEB", "web.shop")]
#[case("ns", "ns.shop")]
#[case("_ldap._tcp", "_ldap._tcp.shop")]
fn a_service_has_the_name_of_its_table(#[case] text: &str, #[case] full: &str) {
    let text =
        format!("namespace = \"shop\"\n[services.\"{text}\"]\nfrom = [{{ static = \"10.0.0.5:80\" }}]");
    assert_eq!(namespace(&text).services[0].name, name(full));
}

#[test]
fn every_key_of_a_consul_member_is_read() {
    let rule = member(
        "{ consul = \"vms\", service = \"web\", tags = [\"a\", \"b\"], filter = \"x == y\", datacenter = \"dc2\", \
         port = 81, labels = { v = \"1\" }, port_name = \"HTTP\" }",
    );
    assert_eq!(rule.source.to_string(), "consul.vms");
    assert_eq!(rule.labels, [("v", "1")].into_iter().collect::<Labels>());
    assert_eq!(rule.port_name, Some(("http".into(), Protocol::Tcp)));
    let SourceQuery::Consul(query) = rule.query else { panic!("{:?}", rule.query) };
    let expected = ConsulQuery {
        service: "web".into(),
        tags: vec!["a".into(), "b".into()],
        filter: Some("x == y".into()),
        datacenter: Some("dc2".into()),
        port: Some(81),
    };
    assert_eq!(query, expected);
}

#[rstest]
#[case("selector = \"app=web\", port = 80", KubernetesObjects::Pods("app=web".parse().expect("good")), Some(PortRef::Number(80)))]
#[case("service = \"web\", port = \"http\"", KubernetesObjects::Service("web".into()), Some(PortRef::Name("http".into())))]
#[case("service = \"web\"", KubernetesObjects::Service("web".into()), None)]
fn a_kubernetes_member_has_pods_or_a_service(
    #[case] text: &str,
    #[case] objects: KubernetesObjects,
    #[case] port: Option<PortRef>,
) {
    let rule = member(&format!("{{ kubernetes = \"eks\", namespace = \"my-apps\", {text} }}"));
    assert_eq!(rule.source.to_string(), "kubernetes.eks");
    let SourceQuery::Kubernetes(query) = rule.query else { panic!("{:?}", rule.query) };
    assert_eq!(query, KubernetesQuery { namespace: "my-apps".into(), objects, port });
}

#[rstest]
#[case("10.0.0.5:80", "10.0.0.5", 80, "10.0.0.5:80")]
#[case("[::1]:80", "::1", 80, "[::1]:80")]
#[case("[FD00::5]:80", "fd00::5", 80, "[fd00::5]:80")]
#[case("10.0.0.5", "10.0.0.5", 0, "10.0.0.5")]
#[case("fd00::5", "fd00::5", 0, "fd00::5")]
fn static_addresses_are_read(#[case] text: &str, #[case] address: &str, #[case] port: u16, #[case] id: &str) {
    let instance = &statics(&format!("{{ static = [\"{text}\"] }}")).instances[0];
    let address: IpAddr = address.parse().expect("an address");
    assert_eq!(instance.target, Target::Addresses([address].into()));
    assert_eq!((instance.port, instance.id.as_ref()), (port, id));
}

#[test]
fn a_static_host_name_stays_a_name() {
    let instance = &statics("{ static = [\"VM-2.corp.example:9080\"] }").instances[0];
    assert_eq!(instance.target, Target::Host(name("vm-2.corp.example")));
    assert_eq!((instance.port, instance.id.as_ref()), (9080, "vm-2.corp.example:9080"));
}

#[test]
fn every_key_of_a_static_instance_is_read() {
    let text = "{ id = \"vm-1\", address = [\"10.0.0.5\", \"fd00::5\"], port = 80, weight = 0, \
                labels = { version = \"v1\" }, port_name = \"dns/udp\" }";
    let instance = &statics(&format!("{{ static = [{text}] }}")).instances[0];
    let addresses = ["10.0.0.5", "fd00::5"].map(|text| text.parse().expect("an address"));
    assert_eq!(instance.target, Target::Addresses(addresses.into()));
    assert_eq!((instance.id.as_ref(), instance.port, instance.weight), ("vm-1", 80, 0));
    assert_eq!(instance.labels.get("version"), Some("v1"));
    let port = &instance.named_ports[0];
    assert_eq!((port.name.as_ref(), port.protocol, port.port), ("dns", Protocol::Udp, 80));
}

#[test]
fn the_long_form_may_have_its_port_in_the_address() {
    let instance = &statics("{ static = [{ address = \"10.0.0.5:80\" }] }").instances[0];
    assert_eq!((instance.port, instance.weight), (80, Instance::DEFAULT_WEIGHT));
}

#[test]
fn a_static_instance_can_be_set_to_draining() {
    let text = "{ static = [{ address = \"10.0.0.5:80\", draining = true }, \"10.0.0.6:80\"]";
    for rest in [" }", ", check = { tcp = true } }"] {
        let instances = &statics(&format!("{text}{rest}")).instances;
        assert_eq!(instances[0].health, Health::Draining, "{rest}");
        assert_ne!(instances[1].health, Health::Draining, "{rest}");
    }
}

#[test]
fn only_a_check_makes_static_instances_unknown() {
    assert_eq!(statics("{ static = \"10.0.0.5:80\" }").instances[0].health, Health::Healthy);
    let checked = statics("{ static = \"10.0.0.5:80\", check = { tcp = true } }");
    assert_eq!(checked.instances[0].health, Health::Unknown);
}

#[test]
fn a_check_has_the_documented_defaults() {
    let check = check("{ tcp = true }");
    assert_eq!(check.kind, CheckKind::Tcp);
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(30), Duration::from_secs(4)));
    assert_eq!((check.rise, check.fall, check.port), (3, 3, None));
}

#[test]
fn the_default_timeout_is_at_most_the_interval() {
    assert_eq!(check("{ tcp = true, interval = \"1s\" }").timeout, Duration::from_secs(1));
}

#[rstest]
#[case("", (200, 399))]
#[case(", status = 204", (204, 204))]
#[case(", status = \"204\"", (204, 204))]
#[case(", status = \"200-299\"", (200, 299))]
fn a_status_is_a_code_or_a_range(#[case] text: &str, #[case] status: (u16, u16)) {
    let CheckKind::Http(http) = check(&format!("{{ http = \"/\"{text} }}")).kind else { panic!("not http") };
    assert_eq!(http.status, status);
}

#[test]
fn every_key_of_an_http_check_is_read() {
    let text = "{ http = \"/a?b=%20\", host = \"shop.example:81\", status = 200, body = \"ok then\", port = 81, \
                interval = \"10s\", timeout = \"10s\", rise = 1, fall = 10 }";
    let expected = HealthCheck {
        kind: CheckKind::Http(HttpCheck {
            path: "/a?b=%20".into(),
            tls: None,
            host: Some("shop.example:81".into()),
            status: (200, 200),
            body: Some("ok then".into()),
        }),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
        rise: 1,
        fall: 10,
        port: Some(81),
    };
    assert_eq!(check(text), expected);
}

#[rstest]
#[case("", TlsCheck::AnyCertificate)]
#[case(", verify = false", TlsCheck::AnyCertificate)]
#[case(", verify = true", TlsCheck::Verified { ca_file: None, valid_for: Duration::ZERO })]
#[case(", ca_file = \"ca.pem\"", TlsCheck::Verified { ca_file: Some("ca.pem".into()), valid_for: Duration::ZERO })]
#[case(", valid_for = \"14d\"", TlsCheck::Verified { ca_file: None, valid_for: Duration::from_secs(14 * 86_400) })]
fn an_https_check_verifies_the_certificate_if_told(#[case] text: &str, #[case] tls: TlsCheck) {
    let CheckKind::Http(http) = check(&format!("{{ https = \"/\"{text} }}")).kind else { panic!("not http") };
    assert_eq!(http.tls, Some(tls));
}

#[test]
fn state_is_a_folder() {
    let loaded = load_texts("state = \"last\"\n", "namespace = \"shop\"").expect("good");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.config.state, Some(PathBuf::from("last")));
}

#[test]
fn a_namespace_that_hides_a_service_gets_a_warning() {
    let outer = "namespace = \"shop\"\n[services.a]\nfrom = [{ static = \"10.0.0.5:80\" }]\n".to_owned();
    let inner = "namespace = \"a.shop\"\n".to_owned();
    let files = [("muster.toml".into(), String::new()), ("b.toml".into(), outer), ("c.toml".into(), inner)];
    let warnings = load_from(&files).expect("good").warnings;
    assert_eq!(warnings.diagnostics().len(), 1, "{warnings}");
    assert_eq!(
        warnings.diagnostics()[0].message(),
        "the namespace \"a.shop\" hides the service of that name"
    );
}

#[test]
fn suffixes_below_our_own_names_get_a_warning() {
    let server =
        |reverse: &str, suffix: &str| format!("reverse = {reverse}\n[forward]\n{suffix:?} = \"10.0.0.2\"\n");
    for (suffix, owner) in [
        ("shop", Some("the namespace \"shop\"")),
        ("eu.Shop", Some("the namespace \"shop\"")),
        ("2.10.in-addr.arpa", Some("the network \"10.2.0.0/16\" in \"reverse\"")),
        ("3.2.10.in-addr.arpa", Some("the network \"10.2.0.0/16\" in \"reverse\"")),
        ("d.f.ip6.arpa", Some("the network \"fd00::/8\" in \"reverse\"")),
        (".", None),
        ("workshop", None),
        ("10.in-addr.arpa", None),
    ] {
        let text = server("[\"10.2.0.0/16\", \"fd00::/8\"]", suffix);
        let warnings = load_texts(&text, "namespace = \"shop\"").expect("good").warnings;
        let told = warnings.to_string();
        assert_eq!(warnings.diagnostics().len(), usize::from(owner.is_some()), "{suffix}: {told}");
        if let Some(owner) = owner {
            assert!(told.contains("is ever forwarded") && told.contains(owner), "{told}");
            assert_eq!(warnings.diagnostics()[0].position().line, 3);
        }
    }
}

#[test]
fn the_demo_loads_without_a_warning() {
    let loaded = demo().unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!((&loaded.config.path, loaded.files.len()), (&None, 0));
    assert_eq!(loaded.config.listen.dns, ["127.0.0.1:5300".parse::<SocketAddr>().expect("an address")]);
    assert_eq!(loaded.config.listen.admin, Some("127.0.0.1:5380".parse().expect("an address")));
    let [namespace] = loaded.config.namespaces.as_slice() else { panic!("{:?}", loaded.config.namespaces) };
    assert_eq!(namespace.services[0].name, name("web.demo"));
    let SourceQuery::Static(statics) = &namespace.services[0].from[0].query else { panic!("not static") };
    let ids: Vec<_> = statics.instances.iter().map(|one| one.id.as_ref()).collect();
    assert_eq!(ids, ["127.0.0.1:5380", "127.0.0.2:8080"]);
    assert_eq!(namespace.services[0].from[0].source.kind, SourceKind::Static);
}

#[test]
fn a_member_replaces_its_sources_damping() {
    let text = "[consul.vms]\ndamping = { settle = \"2s\", flap_hold = \"10s\" }";
    let source = &server(text).consul[0].guard;
    let flapping = Flapping { hold: Duration::from_secs(10), changes: 5, window: Duration::from_secs(30) };
    let damping = Damping { settle: Duration::from_secs(2), flapping: Some(flapping) };
    assert_eq!(source.damping, Some(damping));
    let consul = |keys: &str| member(&format!("{{ consul = \"vms\", service = \"web\"{keys} }}")).guard;
    assert_eq!(consul("").over(source), *source);
    let off = consul(", damping = { settle = \"0s\" }").over(source);
    assert_eq!(off.damping, Some(Damping::default()));
    assert!(source.is_on() && !off.is_on() && !GuardRule::default().is_on());
    assert!(member("{ static = \"10.0.0.5:80\", damping = { settle = \"1s\" } }").guard.is_on());
}

#[test]
fn a_limit_of_removals_is_a_number_or_a_share_in_a_time() {
    let limit = |text: &str| {
        let member =
            member(&format!("{{ consul = \"vms\", service = \"web\", remove_at_most = \"{text}\" }}"));
        member.guard.removal_limit().map(|limit| (limit.amount, limit.window.as_secs()))
    };
    assert_eq!(limit("30%/10s"), Some((Amount::Percent(30), 10)));
    assert_eq!(limit("2 / 1m"), Some((Amount::Count(2), 60)));
    let source = &server("[consul.vms]\nsecond_opinion = { tcp = true }").consul[0].guard;
    assert_eq!(source.removal_limit(), Some(RemovalLimit::DEFAULT));
    let member = member("{ consul = \"vms\", service = \"web\", second_opinion = { tcp = false } }").guard;
    assert!(source.is_on() && !member.over(source).is_on());
}
