//! Refused routes, failover, nearness, aliases, subset names and localities.

use rstest::rstest;

use super::{
    SERVER, errors, load_from, load_server, load_texts, load_zone, refused::assert_error, routing::zone,
};

fn refused(keys: &str, more: &str) -> String {
    errors(load_zone(&zone(keys, more)))
}

#[rstest]
#[case("5", "\"routes\" must be a table")]
#[case("[{ }]", "a route needs \"split\"")]
#[case("[{ split = [] }]", "\"split\" must have at least one group")]
#[case("[{ split = [{ labels = {}, weight = 0 }] }]", "every weight is 0")]
#[case("[{ split = [{ labels = {}, weight = 65536 }] }]", "\"weight\" must be a number from 0 to 65535")]
#[case("[{ split = [{ weight = 65536 }, { weight = 0 }] }]", "\"weight\" must be a number from 0 to 65535")]
#[case("[{ split = [{ labels = {} }] }]", "a route's group needs \"weight\"")]
#[case(
    "[{ split = [{ labels = { v = 1 }, weight = 1 }, { weight = 1 }] }]",
    "\"v\" must be a string in quotes|quote numbers"
)]
#[case("[{ split = [{ weight = 1, strict = 1 }] }]", "\"strict\" must be true or false")]
#[case("[{ split = [{ weight = 1, wieght = 2 }] }]", "did you mean \"weight\"?")]
#[case(
    "[{ split = [{ weight = 1 }, { labels = { v = \"2\" }, weight = 1 }] }]",
    "3:22|one of several groups must say which|version notin (v1,v2)"
)]
#[case("[{ client = {}, split = [{ weight = 1 }] }]", "did you mean \"clients\"?")]
#[case(
    "[{ clients = {}, split = [{ weight = 1 }] }]",
    "\"clients\" must say which clients|leave \"clients\" out"
)]
#[case("[{ clients = { labels = {} }, split = [{ weight = 1 }] }]", "\"clients\" must say which clients")]
#[case(
    "[{ clients = { servce = \"web\" }, split = [{ weight = 1 }] }]",
    "unknown key \"servce\"|did you mean \"service\"?"
)]
#[case(
    "[{ clients = { service = 1 }, split = [{ weight = 1 }] }, { clients = { cidr = 1 }, split = [{ weight = 1 }] }]",
    "\"service\" must be the name of a service|\"cidr\" must be a network"
)]
#[case("[{ clients = { service = \"a b\" }, split = [{ weight = 1 }] }]", "the character ' ' is not allowed")]
#[case(
    "[{ clients = { service = \"wbe\" }, split = [{ weight = 1 }] }]",
    "unknown service \"wbe\" in the namespace \"shop\"; did you mean \"web\"?"
)]
#[case(
    "[{ clients = { service = \"api\" }, split = [{ weight = 1 }] }]",
    "unknown service \"api\" in the namespace \"shop\"|[services.NAME] or [[import]]"
)]
#[case(
    "[{ clients = { service = \"web.elsewhere\" }, split = [{ weight = 1 }] }]",
    "no namespace has the service \"web.elsewhere\"|as one label"
)]
#[case(
    "[{ clients = { service = \"www\" }, split = [{ weight = 1 }] }]",
    "\"www.shop\" is an alias|\"web.shop\""
)]
#[case(
    "[{ clients = { cidr = \"10.0.0.1/8\" }, split = [{ weight = 1 }] }]",
    "write \"10.0.0.0/8\" for the network"
)]
#[case("[{ clients = { cidr = [] }, split = [{ weight = 1 }] }]", "\"cidr\" must have at least one network")]
#[case("[{ clients = { kube_namespace = \"A\" }, split = [{ weight = 1 }] }]", "a Kubernetes name")]
#[case(
    "[{ split = [{ weight = 1 }] }, { split = [{ weight = 2 }] }]",
    "this route never matches|3:11: this route is for every client"
)]
#[case(
    "[{ split = [{ weight = 1 }] }, { clients = { locality = \"a\" }, split = [{ weight = 1 }] }]",
    "this route never matches"
)]
#[case(
    "[{ clients = { locality = \"a\" }, split = [{ weight = 1 }] }, { clients = { locality = \"a\" }, split = [{ weight = 1 }] }]",
    "this route never matches|the same clients"
)]
fn in_routes(#[case] routes: &str, #[case] words: &str) {
    let text = refused(&format!("routes = {routes}"), "[services.www]\nalias = \"web\"");
    // Two errors are two lines.
    assert_error(&format!("{}\n", text.trim_end().replace('\n', " ")), words);
}

#[rstest]
#[case("{ source = \"ek\" }", "unknown source \"ek\"; did you mean \"eks\"?")]
#[case("{ source = \"other\" }", "unknown source \"other\"; the sources are \"vms\", \"eks\" and \"static\"")]
#[case("{ source = 1 }", "\"source\" must be the name of a source")]
#[case("{ consul = \"eks\" }", "unknown consul source \"eks\"")]
#[case("{ kubernetes = \"vms\" }", "unknown kubernetes source \"vms\"")]
#[case("{ consul = \"vms\", kubernetes = \"eks\" }", "one source, not both \"consul\" and \"kubernetes\"")]
#[case(
    "{ source = \"vms\", consul = \"vms\" }",
    "one source, not both \"source\" and \"consul\"|use one of the keys"
)]
#[case("{ selector = \"\" }", "would match every instance")]
#[case("{ selector = \"a in b\" }", "3:32|before the values")]
#[case("{ datacenter = \"a b\" }", "\"datacenter\" must be the name of a datacenter")]
#[case("{ locality = 1 }", "\"locality\" must be a string")]
#[case("{ label = { v = \"1\" } }", "unknown key \"label\" in a failover tier; did you mean \"labels\"?")]
#[case("\"eks\"", "\"failover\" must be a table")]
fn in_a_filter(#[case] filter: &str, #[case] words: &str) {
    assert_error(&refused(&format!("failover = [{filter}]"), ""), words);
}

#[rstest]
#[case(
    "kubernetes.vms",
    "vms",
    "\"vms\" is the name of two sources, consul.vms and kubernetes.vms|write consul = \"vms\" or kubernetes = \"vms\""
)]
#[case("consul.static", "static", "\"static\" is the name of two sources|rename the other one")]
fn a_name_of_two_sources_is_ambiguous(#[case] table: &str, #[case] name: &str, #[case] words: &str) {
    let server = format!("[consul.vms]\n[kubernetes.eks]\n[{table}]\n");
    assert_error(
        &errors(load_texts(&server, &zone(&format!("failover = [{{ source = \"{name}\" }}]"), ""))),
        words,
    );
}

#[rstest]
#[case("failover = []", "\"failover\" must have at least one tier")]
#[case(
    "failover = [{ }, { source = \"eks\" }]",
    "3:18|this tier never has an instance|3:13: this tier takes them all"
)]
#[case("failover = [{ locality = \"a\" }, { locality = \"a\" }]", "this tier never has an instance")]
#[case("min_healthy = 2", "\"min_healthy\" needs \"failover\"")]
#[case("hold_down = \"1s\"", "\"hold_down\" needs \"failover\"")]
#[case(
    "failover = [{ }]\nmin_healthy = 0",
    "\"min_healthy\" must be a number from 1 to 65535, or a share from \"1%\" to \"100%\"; found the number 0"
)]
#[case("failover = [{ }]\nmin_healthy = \"0%\"", "found the string \"0%\"")]
#[case("failover = [{ }]\nmin_healthy = \"101%\"", "found the string \"101%\"")]
#[case("failover = [{ }]\nmin_healthy = \"2\"", "write 2 for a count, or \"2%\" for a share")]
#[case("failover = [{ }]\nhold_down = 30", "add a unit, such as \"30s\"")]
#[case("failover = [{ }]\nhold_down = \"25h\"", "a duration from \"0s\" to \"1d\"")]
#[case("panic_threshold = 101", "\"panic_threshold\" must be a percentage from 0 to 100")]
#[case("panic_threshold = \"50\"", "write \"50%\" or 50")]
#[case("panic_threshold = 0.5", "found the number 0.5")]
#[case("order = \"rotating\"", "\"rotate\", \"random\" or \"weighted\"")]
#[case("prefer = \"zones\"", "did you mean \"zone\"?")]
#[case("prefer = \"zone\"\nspill_below = 0", "\"spill_below\" must be a percentage from 1 to 100")]
#[case("spill_below = 50", "\"spill_below\" needs \"prefer\"")]
#[case("prefer = \"none\"\nspill_below = 50", "\"spill_below\" needs \"prefer\"")]
#[case("prefer = \"zones\"\nspill_below = 50", "did you mean \"zone\"?")]
#[case("txt = 1", "\"txt\" must be true or false")]
#[case("alias = \"a.example\"", "a service with \"alias\" cannot have \"from\"")]
#[case("names = []", "\"names\" must be a table of names")]
#[case("names = { v2 = { } }", "a subset name must say which instances it has")]
#[case("names = { v2 = { labels = { } } }", "a subset name must say which instances it has")]
#[case("names = { v2 = { lables = { } } }", "did you mean \"labels\"?")]
#[case("names = { \"a.b.c\" = { locality = \"a\" } }", "3:11|is not a subset name; has more than two labels")]
#[case("names = { \"_http._tcp\" = { locality = \"a\" } }", "a label begins with \"_\"")]
#[case("names = { \"a b\" = { locality = \"a\" } }", "the character ' ' is not allowed")]
#[case("names = { \"Web\" = { locality = \"a\" } }", "the subset name \"Web\" is also the name of a service")]
#[case(
    "names = { \"v2\" = { locality = \"a\" }, \"V2\" = { locality = \"a\" } }",
    "duplicate subset name \"V2\"|3:11: first defined here"
)]
fn in_a_service(#[case] keys: &str, #[case] words: &str) {
    assert_error(&refused(keys, ""), words);
}

#[rstest]
#[case("alias = \"wbe\"", "unknown service \"wbe\" in the namespace \"shop\"; did you mean \"web\"?")]
#[case("alias = \"www\"", "the alias leads to itself")]
#[case("alias = \"www2\"", "\"www2.shop\" is itself an alias|write that alias's target: \"web.shop\"")]
#[case("alias = \"shop-a\"", "\"shop-a.shop\" can only come from an import|from = [{ consul = ... }]")]
#[case(
    "alias = \"a.other\"",
    "must lead to a service of its own namespace|\"a.other\" is in the namespace \"other\""
)]
#[case("alias = \"x.a.other\"", "must lead to a service of its own namespace")]
#[case("alias = \"v2.shop\"", "unknown service \"v2.shop\" in the namespace \"shop\"")]
#[case("alias = \"shop.\"", "unknown service \"shop\" in the namespace \"shop\"")]
#[case("alias = \".\"", "\"alias\" must be the name of another service")]
#[case("alias = \"a b.example\"", "the character ' ' is not allowed")]
#[case("alias = 1", "\"alias\" must be the name of another service")]
#[case("alias = \"web\"\nroutes = []", "a service with \"alias\" cannot have \"routes\"")]
#[case("alias = \"web\"\nfailover = []", "a service with \"alias\" cannot have \"failover\"")]
#[case("alias = \"web\"\nnames = {}", "a service with \"alias\" cannot have \"names\"")]
#[case("ailas = \"web\"", "unknown key \"ailas\" in [services.NAME]; did you mean \"alias\"?")]
fn in_an_alias(#[case] keys: &str, #[case] words: &str) {
    let more = format!(
        "[services.www2]\nalias = \"web\"\n[services.www]\n{keys}\n[[import]]\nconsul = \"vms\"\ninclude = \"shop-*\""
    );
    let names = "names = { v2 = { locality = \"a\" } }";
    let files = [
        ("muster.toml".into(), SERVER.to_owned()),
        ("zones/shop.toml".into(), zone(names, &more)),
        ("zones/other.toml".into(), "namespace = \"other\"\n".to_owned()),
    ];
    assert_error(&errors(load_from(&files)), words);
}

#[rstest]
#[case("locality = [{ cidr = \"10.0.0.0/8\" }]", "[[locality]] needs \"zone\"")]
#[case("locality = [{ zone = \"a\" }]", "[[locality]] needs \"cidr\" or \"region\"")]
#[case("locality = [{ zone = \"a\", cidrs = \"10.0.0.0/8\" }]", "did you mean \"cidr\"?")]
#[case("locality = [{ zone = \"a\", cidr = \"10.0.0.0/33\" }]", "\"cidr\" must be a network")]
#[case("locality = [{ zone = \"a\", cidr = [] }]", "\"cidr\" must have at least one network")]
#[case(
    "locality = [{ zone = \"a\", cidr = \"10.0.0.0/8\" }, { zone = \"b\", cidr = \"10.0.0.0/8\" }]",
    "duplicate network \"10.0.0.0/8\""
)]
#[case(
    "locality = [{ zone = \"a\", region = \"x\" }, { zone = \"a\", region = \"y\" }]",
    "the zone \"a\" is in two regions"
)]
#[case("locality = 1", "\"locality\" must be a table")]
#[case("reverse = \"10.0.0.0/12\"", "a prefix length of 8, 16, 24 or 32; has 12")]
#[case("reverse = \"0.0.0.0/0\"", "has 0")]
#[case("reverse = \"fd00::/13\"", "a multiple of 4, from 4 to 128; has 13")]
#[case("reverse = [\"10.0.0.0/8\", \"10.1.0.0/16\"]", "\"10.0.0.0/8\" and \"10.1.0.0/16\" overlap")]
#[case(
    "listen.trusted_forwarders = \"localhost\"",
    "\"trusted_forwarders\" must be a network or an IP address"
)]
#[case("kubernetes.eks.identify_clients = \"yes\"", "\"identify_clients\" must be true or false")]
#[case("namespace = \"a\"", "belongs in a zone file")]
fn in_the_server_file(#[case] text: &str, #[case] words: &str) {
    assert_error(&errors(load_server(text)), words);
}
