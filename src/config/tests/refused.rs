//! Configurations that are refused, and the words of the error.

use rstest::rstest;

use super::{
    super::{load::read_texts, toml::DiagnosticSink},
    errors, load_member, load_server, load_zone,
};

/// Asserts that there is one error, which has all of `words`, separated by `|`.
pub(super) fn assert_error(text: &str, words: &str) {
    assert_eq!(text.lines().count(), 1, "one error is expected:\n{text}");
    for word in words.split('|') {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
}

#[rstest]
#[case("[consul.vms]\ndamping = { flaps = 3 }", "2:13|\"flaps\" needs \"flap_hold\"")]
#[case("[consul.vms]\ndamping = { flap_hold = \"10s\", flaps = 1 }", "must be a number from 2 to 100")]
#[case("[kubernetes.eks]\ndamping = { setle = \"10s\" }", "did you mean \"settle\"?")]
#[case("listen.dns = \"127.0.0.1\"", "1:14|\"dns\" must be an IP address and a port|\"127.0.0.1:5300\"")]
#[case("listen.dns = \"::1\"", "add a port, such as \"[::1]:5300\"")]
#[case("listen.dns = \":53\"", "[\"0.0.0.0:53\", \"[::]:53\"]")]
#[case("listen.dns = \"localhost:53\"", "did you mean \"127.0.0.1:53\"?")]
#[case("listen.dns = \"127.0.0.1:66000\"", "must be an IP address and a port")]
#[case("listen.dns = 53", "found the number 53")]
#[case("listen.dns = []", "at least one address")]
#[case("listen.dns = [\"127.0.0.1:53\", \"127.0.0.1:53\"]", "already in use|1:15: first used here")]
#[case(
    "listen = { dns = \"127.0.0.1:53\", admin = \"127.0.0.1:53\" }",
    "the address \"127.0.0.1:53\" is already in use"
)]
#[case("listen.workers = 0", "\"workers\" must be a number from 1 to 1024")]
#[case("listen.workers = \"2\"", "write it without the quotes")]
#[case("listen.workers = 99999999999999999999", "must be a number from 1 to 1024")]
#[case("listen.tcp_idle = 10", "add a unit, such as \"10s\"")]
#[case("listen.tcp_connections = 0", "must be a number from 1 to 1000000")]
#[case("listen.version = \"\"", "found a blank string")]
#[case("listen.version = 1", "\"version\" must be a string in quotes; found the number 1")]
#[case("listen = 1", "\"listen\" must be a table")]
#[case("listen.allow = \"10.0.0.0/8\"", "unknown key \"allow\" in [listen]|\"allow\" belongs in [access]")]
#[case(
    "access.allow = \"10.0.0.1/8\"",
    "1:16|bits set after the prefix|write \"10.0.0.0/8\" for the network"
)]
#[case("access.allow = \"10.0.0.0/33\"", "the length behind the slash must be a number from 0 to 32")]
#[case("access.deny = [\"10.0.0.0/8\", \"privat\"]", "\"deny\" must be a network or an IP address")]
#[case("access.forward = 10", "\"forward\" must be a network or an IP address|found the number 10")]
#[case("access.longest_query = 10", "must be a number from 64 to 65535")]
#[case("access.queries_per_second = -1", "must be a number from 0 to 1000000")]
#[case("access.over_limit = \"refused\"", "did you mean \"refuse\"?")]
#[case("access.responses.slip = 101", "must be a number from 0 to 100")]
#[case("access.responses.v4_prefix = 33", "must be a number from 1 to 32")]
#[case("access.responses.rate = 5", "unknown key \"rate\" in [access.responses]")]
#[case("access.cookies = true", "\"cookies\" must be a table")]
#[case("access.cookies = { enabled = false, required = true }", "cannot be required unless they are enabled")]
#[case("lisen.dns = \"127.0.0.1:53\"", "unknown key \"lisen\" in muster.toml; did you mean \"listen\"?")]
#[case("namespace = \"shop\"", "\"namespace\" belongs in a zone file")]
#[case("max_stale = 0", "add a unit, such as \"0s\"")]
#[case("max_stale = \"0s\"", "a duration from \"1s\" to \"365d\"")]
#[case("max_stale = \"1.5h\"", "write a whole number and a unit")]
#[case("state = \"~bob/x\"", "write the whole path")]
#[case("zones = [1]", "\"zones\" must be a path; found the number 1")]
#[case("consul.\"a b\".address = \"http://c\"", "\"a b\" is not a name for a source")]
#[case("consul.address = \"http://c\"", "\"address\" must be a table|write [consul.vms] above its keys")]
#[case("consul = 5", "\"consul\" must be a table of sources, such as [consul.vms]")]
#[case("consul.vms.address = \"localhost:8500\"", "did you mean \"http://localhost:8500\"?")]
#[case("consul.vms.address = \"127.0.0.1:8500\"", "did you mean \"http://127.0.0.1:8500\"?")]
#[case("consul.vms.address = \"unix://run/consul\"", "write the socket's path")]
#[case("consul.vms = { address = \"unix:///run/consul\", ca_file = \"c\" }", "\"ca_file\" is for https only")]
#[case("consul.vms.address = \"ftp://c\"", "the scheme is http or https")]
#[case("consul.vms.address = \"http://me:pw@c\"", "has a user or password|token_file")]
#[case("consul.vms.address = \"http://c?dc=x\"", "leave out \"?\" and \"#\"")]
#[case("consul.vms.address = \"http://\"", "must be Consul's URL")]
#[case("consul.vms.datacenter = \"dc 1\"", "at most 63 letters, digits, \"-\" and \"_\"")]
#[case("consul.vms = { address = \"https://c\", cert_file = \"c\" }", "\"cert_file\" needs \"key_file\"")]
#[case("consul.vms = { address = \"https://c\", key_file = \"c\" }", "\"key_file\" needs \"cert_file\"")]
#[case("consul.vms = { ca_file = \"c\" }", "\"ca_file\" is for https only")]
#[case("consul.vms = { address = \"htps://c\", ca_file = \"c\" }", "the scheme is http or https")]
#[case("consul.vms.server_name = \"server.dc1.consul\"", "\"server_name\" is for https only")]
#[case(
    "consul.vms = { address = \"https://c\", server_name = \"10.0.0.1\" }",
    "must be a DNS name in Consul's certificate"
)]
#[case(
    "consul.vms = { address = \"https://c\", server_name = \"server.dc1.consul:8501\" }",
    "must be a DNS name in Consul's certificate"
)]
#[case(
    "consul.vms = { address = \"https://c\", server_name = \"\" }",
    "must be a DNS name in Consul's certificate"
)]
#[case("consul.vms.wait = \"11m\"", "a duration from \"1s\" to \"10m\"")]
#[case("consul.vms.max_connections = 0", "must be a number from 1 to 65535")]
#[case("consul.vms.stale = \"no\"", "must be true or false, without quotes; found the string \"no\"")]
#[case("consul.vms.max_lag = \"2h\"", "a duration from \"1ms\" to \"1h\"")]
#[case("kubernetes.eks.context = \"c\"", "\"context\" needs \"kubeconfig\"")]
#[case("kubernetes.eks.kubeconfig = \"\"", "\"kubeconfig\" must be a path")]
#[case("forward = []", "\"forward\" must be a table of suffixes")]
fn in_the_server_file(#[case] text: &str, #[case] words: &str) {
    let text: String = errors(load_server(text))
        .lines()
        .filter(|line| !line.contains(": warning: "))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_error(&text, words);
}

#[rstest]
#[case("\"a..b\" = \"10.0.0.2\"", "\"a..b\" is not a suffix to forward; a label is empty")]
#[case("\"a\" = \"10.0.0.2\"\n\"A.\" = \"10.0.0.2\"", "3:1|duplicate suffix \"a\"|2:1: first defined here")]
#[case("\".\" = []", "\".\" must have at least one upstream")]
#[case("\".\" = \"resolver\"", "\".\" must be a resolver, such as \"10.0.0.2\"")]
#[case("\".\" = \"10.0.0.2:0\"", "must be a resolver")]
#[case("\".\" = \"tls://\"", "must be a resolver")]
#[case("\".\" = \"tls://1.1.1.1#\"", "must be a resolver")]
#[case("\".\" = \"ftp://1.1.1.1\"", "must be a resolver")]
#[case("\".\" = \"https://dns.example/#nowhere\"", "must be a resolver")]
#[case("\".\" = \"127.0.0.1:5300\"", "\"127.0.0.1:5300\" is an address that this server listens on")]
#[case("\".\" = { }", "a suffix to forward needs \"to\"")]
#[case("\".\" = { to = \"10.0.0.2\", polcy = \"fastest\" }", "did you mean \"policy\"?")]
#[case("\".\" = { to = \"10.0.0.2\", policy = \"quick\" }", "\"sequential\", \"round_robin\" or \"fastest\"")]
#[case("\".\" = { to = \"10.0.0.2\", tries = 0 }", "must be a number from 1 to 20")]
#[case("\".\" = { to = \"10.0.0.2\", timeout = \"1m\" }", "a duration from \"100ms\" to \"30s\"")]
fn in_forward(#[case] text: &str, #[case] words: &str) {
    assert_error(&errors(load_server(&format!("[forward]\n{text}"))), words);
}

#[rstest]
#[case("size = \"64MB\"", "\"size\" must be an amount of memory|units are KiB, MiB, GiB and TiB")]
#[case("size = -1", "must be an amount of memory")]
#[case("max_ttl = \"soon\"", "\"max_ttl\" must be seconds")]
#[case("max_ttl = 5\nmin_ttl = 6", "\"min_ttl\" must be at most \"max_ttl\", which is 5")]
#[case("serve_stale = \"8d\"", "a duration from \"0s\" to \"7d\"")]
#[case("prefetch = 1", "must be true or false")]
fn in_cache(#[case] text: &str, #[case] words: &str) {
    assert_error(&errors(load_server(&format!("[cache]\n{text}"))), words);
}

#[rstest]
#[case("", "1:1|a zone file needs \"namespace\"|namespace = \"shop.internal\"")]
#[case("namspace = \"shop\"", "unknown key \"namspace\" in a zone file; did you mean \"namespace\"?")]
#[case("namespace = \"\"", "\"namespace\" must be a domain name")]
#[case("namespace = \".\"", "must be a name below the root")]
#[case("namespace = \"a b\"", "the character ' ' is not allowed")]
#[case("namespace = 5", "found the number 5")]
#[case("namespace = \"shop\"\nttl = -1", "seconds from 0 to 2147483647")]
#[case("namespace = \"shop\"\nttl = 2147483648", "seconds from 0 to 2147483647")]
#[case("namespace = \"shop\"\nttl = \"1500ms\"", "a TTL is in whole seconds")]
#[case("namespace = \"shop\"\nttl = 1.5", "found the number 1.5")]
#[case("namespace = \"shop\"\nnegative_ttl = true", "\"negative_ttl\" must be seconds|found true")]
#[case("namespace = \"shop\"\nns = [\"a..b\"]", "\"ns\" must be a domain name|a label is empty")]
#[case("namespace = \"shop\"\nhostmaster = \"a@b@c\"", "\"hostmaster\" must be a mail address")]
#[case("namespace = \"shop\"\nhostmaster = \"@c\"", "a label is empty")]
#[case("namespace = \"shop\"\ntruncate = [\"srv\"]", "\"A\", \"AAAA\" or \"SRV\"|did you mean \"SRV\"?")]
#[case("namespace = \"shop\"\ntruncate = [\"A\"]", "must have both \"A\" and \"AAAA\"")]
#[case("namespace = \"shop\"\naccept = [\"helthy\"]", "did you mean \"healthy\"?")]
#[case("namespace = \"shop\"\naccept = []", "\"accept\" must have at least one health state")]
#[case(
    "namespace = \"shop\"\nwhen_all_unhealthy = \"some\"",
    "must be \"all\" or \"none\"; found the string \"some\""
)]
#[case("namespace = \"shop\"\nmax_answers = 0", "must be a number from 1 to 1000")]
#[case("namespace = \"shop\"\nmax_answers = 1001", "must be a number from 1 to 1000")]
#[case("namespace = \"shop\"\nlisten.dns = \"127.0.0.1:53\"", "\"listen\" belongs in muster.toml")]
#[case("namespace = \"shop\"\nservices = []", "\"services\" must be a table of services")]
#[case("namespace = \"shop\"\nimport = [{ }]", "[[import]] needs \"consul\"")]
#[case(
    "namespace = \"shop\"\nimport = [{ consul = \"vm\" }]",
    "unknown consul source \"vm\"; did you mean \"vms\"?"
)]
#[case(
    "namespace = \"shop\"\nimport = [{ consul = \"eks\" }]",
    "the consul sources in muster.toml are \"vms\"; add [consul.eks]"
)]
#[case("namespace = \"shop\"\nimport = [{ consul = \"vms\", include = [] }]", "at least one pattern")]
#[case(
    "namespace = \"shop\"\nimport = [{ consul = \"vms\", exclude = [\"\"] }]",
    "\"exclude\" must be a string"
)]
#[case("namespace = \"shop\"\nimport = [\"vms\"]", "\"import\" must be a table")]
fn in_a_zone_file(#[case] text: &str, #[case] words: &str) {
    assert_error(&errors(load_zone(text)), words);
}

#[test]
fn a_namespace_must_leave_room_for_its_hostmaster() {
    let long = ["abcdefg"; 31].join(".");
    assert_error(
        &errors(load_zone(&format!("namespace = \"{long}\""))),
        "is too long to have names below it",
    );
}

#[rstest]
#[case(
    "[services.\"a.b\"]\nfrom = [{ static = \"10.0.0.5:80\" }]",
    "2:11|\"a.b\" is not a name for a service; has a dot"
)]
#[case("[services.\"_a._b.c\"]\nfrom = [{ static = \"10.0.0.5:80\" }]", "has a dot")]
#[case("[services.\"*\"]\nfrom = [{ static = \"10.0.0.5:80\" }]", "the character '*' is not allowed")]
#[case("[services.\"\"]\nfrom = [{ static = \"10.0.0.5:80\" }]", "a label is empty")]
#[case(
    "[services._ldap._tcp]\nfrom = [{ static = \"10.0.0.5:80\" }]",
    "must be in quotes|write [services.\"_ldap._tcp\"]"
)]
#[case("[services.web]", "[services.NAME] needs \"from\"")]
#[case("[services.web]\nform = []", "unknown key \"form\" in [services.NAME]; did you mean \"from\"?")]
#[case("[services.web]\nfrom = []", "\"from\" must have at least one member")]
#[case(
    "[services.web]\nfrom = [\"10.0.0.5:80\"]",
    "3:9|a member must be a table|{ static = [\"10.0.0.5:80\"] }"
)]
#[case("[services]\nweb = \"10.0.0.5:80\"", "\"web\" must be a table")]
fn in_a_service(#[case] text: &str, #[case] words: &str) {
    assert_error(&errors(load_zone(&format!("namespace = \"shop\"\n{text}"))), words);
}

#[rstest]
#[case(
    "{ }",
    "\"consul\", \"kubernetes\" or \"static\"; has none of them|{ consul = \"vms\", service = \"web\" }|{ kubernetes = \"eks\"|{ static = ["
)]
#[case("{ consull = \"vms\", service = \"web\" }", "3:11|did you mean \"consul\"?")]
#[case(
    "{ consul = \"vms\", static = \"10.0.0.5:80\" }",
    "one source, not both \"consul\" and \"static\"|make them two members"
)]
#[case("{ consul = \"vm\", service = \"web\" }", "3:20|unknown consul source \"vm\"; did you mean \"vms\"?")]
#[case("{ consul = \"eks\", service = \"web\" }", "unknown consul source \"eks\"|add [consul.eks]")]
#[case("{ consul = 1, service = \"web\" }", "\"consul\" must be the name of a consul source")]
#[case("{ consul = \"vms\" }", "a consul member needs \"service\"")]
#[case("{ consul = \"vms\", service = \"\" }", "\"service\" must be a string")]
#[case("{ consul = \"vms\", service = \"web\", tags = [1] }", "\"tags\" must be a string")]
#[case("{ consul = \"vms\", service = \"web\", port = 0 }", "\"port\" must be a number from 1 to 65535")]
#[case(
    "{ consul = \"vms\", service = \"web\", selector = \"a=b\" }",
    "unknown key \"selector\" in a consul member; valid keys are"
)]
#[case("{ consul = \"vms\", service = \"web\", labels = \"a=b\" }", "\"labels\" must be a table of strings")]
#[case("{ consul = \"vms\", service = \"web\", port_name = \"_http\" }", "drop the underscore: \"http\"")]
#[case(
    "{ consul = \"vms\", service = \"web\", port_name = \"http/sctp\" }",
    "the protocol is \"tcp\" or \"udp\""
)]
#[case("{ consul = \"vms\", service = \"web\", port_name = \"a.b\" }", "at most 62 letters")]
#[case("{ kubernetes = \"vms\", namespace = \"a\", service = \"b\" }", "unknown kubernetes source \"vms\"")]
#[case("{ kubernetes = \"eks\", service = \"b\" }", "a kubernetes member needs \"namespace\"")]
#[case(
    "{ kubernetes = \"eks\", namespace = \"My\", service = \"b\" }",
    "\"namespace\" must be a Kubernetes name"
)]
#[case(
    "{ kubernetes = \"eks\", namespace = \"a\" }",
    "needs \"selector\" or \"service\"|selector = \"app=web\""
)]
#[case("{ kubernetes = \"eks\", namespace = \"a\", selectr = \"a=b\" }", "did you mean \"selector\"?")]
#[case(
    "{ kubernetes = \"eks\", namespace = \"a\", selector = \"a=b\", service = \"c\" }",
    "either \"selector\" or \"service\""
)]
#[case("{ kubernetes = \"eks\", namespace = \"a\", selector = \"a=b,\" }", "3:64|a label selector")]
#[case("{ kubernetes = \"eks\", namespace = \"a\", selector = 'app in x' }", "3:67|before the values")]
#[case("{ kubernetes = \"eks\", namespace = \"a\", selector = \"a\\u003D-b\" }", "3:59|a label value")]
#[case("{ kubernetes = \"eks\", namespace = \"a\", selector = \"\" }", "would match every pod")]
#[case(
    "{ kubernetes = \"eks\", namespace = \"a\", service = \"b\", port = \"80\" }",
    "write the number without the quotes"
)]
#[case(
    "{ kubernetes = \"eks\", namespace = \"a\", service = \"b\", port = \"Http\" }",
    "a port number, such as 80, or a port name"
)]
#[case(
    "{ kubernetes = \"eks\", namespace = \"a\", service = \"b\", port = 70000 }",
    "must be a number from 1 to 65535"
)]
fn in_a_member(#[case] member: &str, #[case] words: &str) {
    assert_error(&errors(load_member(member)), words);
}

#[rstest]
#[case("[]", "\"static\" must have at least one instance")]
#[case("80", "\"static\" must be an address and a port|found the number 80")]
#[case("\"10.0.0.5:0\"", "a port is a number from 1 to 65535")]
#[case("\"10.0.0.5:x\"", "a port is a number from 1 to 65535")]
#[case("\"10.0.0.5:65536\"", "a port is a number from 1 to 65535")]
#[case("\"10.0.0.256:80\"", "neither an IP address nor a host name")]
#[case("\"::1:80000\"", "a port is a number")]
#[case("\"a b:80\"", "the character ' ' is not allowed")]
#[case("\"http://a:80\"", "leave out scheme and path")]
#[case("\"0.0.0.0:80\"", "an instance cannot have the address 0.0.0.0")]
#[case("\"[ff02::1]:80\"", "an instance cannot have the address ff02::1")]
#[case("\"255.255.255.255:80\"", "an instance cannot have the address 255.255.255.255")]
#[case("\"vm.shop:80\"", "must be outside the namespace \"shop\"")]
#[case("[\"10.0.0.5:80\", \"10.0.0.5:80\"]", "the same address and port|first defined here")]
#[case("[\"a.example:80\", \"A.example.:80\"]", "the same address and port")]
#[case(
    "[{ id = \"a\", address = \"10.0.0.5:80\" }, { id = \"a\", address = \"10.0.0.6:80\" }]",
    "have the id \"a\""
)]
#[case("{ port = 80 }", "a static instance needs \"address\"")]
#[case("{ address = \"10.0.0.5:80\", port = 81 }", "its port in \"address\" or in \"port\"")]
#[case("{ address = [\"10.0.0.5\", \"10.0.0.6\"] }", "two addresses of one family are two instances")]
#[case("{ address = [\"10.0.0.5:80\", \"fd00::5\"] }", "an IP address without a port")]
#[case("{ address = [] }", "found an empty list")]
#[case("{ address = \"10.0.0.5\", port = \"80\" }", "write it without the quotes")]
#[case("{ address = \"10.0.0.5\", weight = -1 }", "\"weight\" must be a number from 0 to 65535")]
#[case("{ address = \"10.0.0.5\", port_name = \"http\" }", "\"port_name\" needs \"port\"")]
#[case("{ address = \"10.0.0.5\", adress = \"\" }", "did you mean \"address\"?")]
#[case("{ address = \"10.0.0.5\", id = \"\" }", "\"id\" must be a string")]
fn in_static_instances(#[case] instances: &str, #[case] words: &str) {
    assert_error(&errors(load_member(&format!("{{ static = {instances} }}"))), words);
}

#[rstest]
#[case("{ }", "a check needs \"tcp\", \"http\" or \"https\"")]
#[case("{ tcp = true, http = \"/\" }", "either tcp or http, not both")]
#[case("{ tcp = false }", "\"tcp\" must be true")]
#[case("{ tcp = 1 }", "\"tcp\" must be true or false")]
#[case("{ tcp = true, status = 200 }", "\"status\" is for http and https checks only")]
#[case("{ http = \"/\", https = \"/\" }", "either http or https, not both")]
#[case("{ http = \"/\", ca_file = \"ca.pem\" }", "\"ca_file\" is for https checks only")]
#[case("{ tcp = true, valid_for = \"7d\" }", "\"valid_for\" is for https checks only")]
#[case(
    "{ https = \"/\", verify = false, valid_for = \"7d\" }",
    "\"valid_for\" needs a certificate that is verified"
)]
#[case("{ https = \"/\", valid_for = \"400d\" }", "\"valid_for\" must be a duration from \"0s\" to \"365d\"")]
#[case("{ https = \"x\" }", "start it with a slash: \"/x\"")]
#[case("{ http = \"healthz\" }", "start it with a slash: \"/healthz\"")]
#[case("{ http = \"http://a/b\" }", "write the path alone")]
#[case("{ http = \"/a b\" }", "as %XX")]
#[case("{ http = \"/\", status = 99 }", "a status code from 100 to 599")]
#[case("{ http = \"/\", status = \"399-200\" }", "a status code from 100 to 599")]
#[case("{ http = \"/\", status = \"2xx\" }", "a status code from 100 to 599")]
#[case("{ http = \"/\", host = \"a b\" }", "\"host\" must be a Host header")]
#[case("{ http = \"/\", body = \"\" }", "\"body\" must be a string")]
#[case("{ tcp = true, interval = 5 }", "add a unit, such as \"5s\"")]
#[case("{ tcp = true, interval = \"99ms\" }", "a duration from \"100ms\" to \"1h\"")]
#[case(
    "{ tcp = true, interval = \"1s\", timeout = \"2s\" }",
    "\"timeout\" must not be longer than \"interval\"; the interval is 1s"
)]
#[case("{ tcp = true, timeout = \"0s\" }", "a duration from \"1ms\" to \"1h\"")]
#[case("{ tcp = true, rise = 0 }", "\"rise\" must be a number from 1 to 10")]
#[case("{ tcp = true, fall = 11 }", "\"fall\" must be a number from 1 to 10")]
#[case("{ tcp = true, port = 0 }", "\"port\" must be a number from 1 to 65535")]
#[case(
    "{ tcp = true, intervall = \"5s\" }",
    "unknown key \"intervall\" in a check; did you mean \"interval\"?"
)]
#[case("\"/healthz\"", "\"check\" must be a table")]
fn in_a_check(#[case] check: &str, #[case] words: &str) {
    assert_error(&errors(load_member(&format!("{{ static = \"10.0.0.5:80\", check = {check} }}"))), words);
}

#[test]
fn an_instance_with_a_check_needs_a_port() {
    let text = errors(load_member("{ static = \"10.0.0.5\", check = { tcp = true } }"));
    assert_error(&text, "an instance with a check needs a port");
    assert!(load_member("{ static = \"10.0.0.5\", check = { tcp = true, port = 80 } }").is_ok());
}

#[test]
fn without_a_home_folder_a_tilde_is_an_error() {
    let sink = DiagnosticSink::default();
    read_texts(&[("muster.toml".into(), "[kubernetes.eks]\nkubeconfig = \"~/x\"".into())], None, &sink);
    let report = sink.into_diagnostics();
    assert_eq!(report.errors(), 1, "{report}");
    assert_eq!(report.diagnostics()[0].label(), "cannot resolve ~: HOME is not set");
}

#[rstest]
#[case("remove_at_most = \"30%\"", "write a slash and the time behind the number")]
#[case("remove_at_most = \"0/10s\"", "the number is 1 to 1000000, or 1% to 100%")]
#[case("remove_at_most = \"101%/10s\"", "the number is 1 to 1000000, or 1% to 100%")]
#[case("remove_at_most = \"1/2h\"", "the time is 1s to 1h")]
#[case("remove_at_most = \"1/10\"", "add a unit, such as \"10s\"")]
#[case("remove_at_most = 3", "\"remove_at_most\" must be how many in which time")]
#[case("second_opinion = true", "\"second_opinion\" must be a table")]
#[case("second_opinion = { }", "needs \"tcp\"")]
#[case("second_opinion = { tcp = true, http = \"/\" }", "unknown key \"http\"")]
fn in_a_limit_of_removals(#[case] key: &str, #[case] words: &str) {
    assert_error(&errors(load_member(&format!("{{ consul = \"vms\", service = \"web\", {key} }}"))), words);
}
