use std::{fs, path::Path};

use rstest::rstest;

use super::*;
use crate::config;

fn config(server: &str, apexes: &[&str]) -> Config {
    let zones = apexes.iter().map(|apex| (format!("{apex}.toml").into(), format!("namespace = \"{apex}\"")));
    let files: Vec<_> = std::iter::once(("muster.toml".into(), server.to_owned())).chain(zones).collect();
    config::load_from(&files).unwrap_or_else(|report| panic!("{report}")).config
}

fn text(program: Program, server: &str, apexes: &[&str]) -> anyhow::Result<String> {
    program.text(&ServerFacts::new(&config(server, apexes), &[]))
}

/// The examples in `deploy/clients` are the command's output for `deploy/machine`.
#[rstest]
#[case(Program::ResolvConf, "resolv.conf")]
#[case(Program::SystemdResolved, "systemd-resolved.conf")]
#[case(Program::NetworkManager, "networkmanager.conf")]
#[case(Program::Dnsmasq, "dnsmasq.conf")]
#[case(Program::CoreDns, "Corefile")]
#[case(Program::Consul, "consul.hcl")]
#[case(Program::Unbound, "unbound.conf")]
#[case(Program::Terraform, "route53.tf")]
fn the_examples_are_the_output(#[case] program: Program, #[case] file: &str) {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let loaded =
        config::load(&deploy.join("machine/muster.toml")).unwrap_or_else(|report| panic!("{report}"));
    let printed = program.text(&ServerFacts::new(&loaded.config, &[])).unwrap();
    let path = deploy.join("clients").join(file);
    let command = format!("muster resolv-conf --config deploy/machine/muster.toml --for {program}");
    assert_eq!(
        fs::read_to_string(&path).unwrap_or_default(),
        printed,
        "{} is not what {command} prints",
        path.display()
    );
}

/// The configuration inside `deploy/kubernetes/muster.yaml` loads.
#[test]
fn the_kubernetes_example_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/muster.yaml");
    let yaml = fs::read_to_string(path).unwrap();
    let file = |name: &str| {
        let begin = format!("  {name}: |\n");
        let (_, rest) = yaml.split_once(&begin).unwrap();
        let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
        (name.into(), lines.map(|line| format!("{}\n", line.trim_start_matches("    "))).collect())
    };
    let loaded = config::load_from(&[file("muster.toml"), file("shop.toml")]);
    let config = loaded.unwrap_or_else(|report| panic!("{report}")).config;
    assert_eq!(config.namespaces[0].services.len(), 1);
    assert_eq!((config.listen.dns[0].port(), config.listen.admin.unwrap().port()), (5300, 5380));
    let policy = yaml.split("---").find(|document| document.contains("kind: NetworkPolicy")).unwrap();
    assert!(policy.contains("port: admin"), "not every pod may ask the admin port");
}

#[test]
fn reverse_networks_are_queried_as_namespaces_are() {
    let server = "reverse = \"10.20.0.0/16\"\n[listen]\ndns = \"10.1.2.3:53\"";
    for program in [Program::SystemdResolved, Program::Dnsmasq, Program::CoreDns, Program::Unbound] {
        let text = text(program, server, &["shop.internal"]).unwrap();
        assert!(text.contains("20.10.in-addr.arpa") && text.contains("shop.internal"), "{program}: {text}");
    }
}

#[test]
fn a_wildcard_is_loopback_here_and_unknown_to_others() {
    let server = "listen.dns = [\"0.0.0.0:53\", \"[::]:53\"]\nforward.\".\" = \"10.0.0.2\"";
    let resolv_conf = text(Program::ResolvConf, server, &["shop"]).unwrap();
    assert!(resolv_conf.ends_with("nameserver 127.0.0.1\nnameserver ::1\n"), "{resolv_conf}");
    let error = text(Program::CoreDns, server, &["shop"]).unwrap_err().to_string();
    assert!(error.contains("--address"), "{error}");
    let given = [parse_address("10.0.0.53").unwrap(), parse_address("[fd00::53]:5300").unwrap()];
    let facts = ServerFacts::new(&config(server, &["shop"]), &given);
    let corefile = Program::CoreDns.text(&facts).unwrap();
    assert!(corefile.contains("forward . 10.0.0.53:53 [fd00::53]:5300 {"), "{corefile}");
    let rule = Program::Terraform.text(&facts).unwrap();
    assert!(rule.contains("ip   = \"10.0.0.53\"") && rule.contains("ipv6 = \"fd00::53\""), "{rule}");
}

#[rstest]
#[case("listen.dns = \"127.0.0.1:5300\"", "does not listen on port 53")]
#[case("", "does not listen on port 53")]
fn resolv_conf_needs_port_53(#[case] server: &str, #[case] words: &str) {
    let error = text(Program::ResolvConf, server, &["shop"]).unwrap_err().to_string();
    assert!(error.contains(words) && error.contains("[listen]"), "{error}");
}

#[test]
fn other_ports_are_written_in_each_programs_syntax() {
    let server = "listen.dns = [\"127.0.0.1:5300\", \"[::1]:5300\"]";
    for (program, line) in [
        (Program::SystemdResolved, "DNS=127.0.0.1:5300 [::1]:5300\n"),
        (Program::Dnsmasq, "server=/shop/127.0.0.1#5300\nserver=/shop/::1#5300\n"),
        (Program::NetworkManager, "server=/shop/127.0.0.1#5300\n"),
        (Program::Unbound, "    stub-addr: ::1@5300\n"),
        (Program::Consul, "recursors = [\"127.0.0.1:5300\", \"[::1]:5300\"]\n"),
    ] {
        let printed = text(program, server, &["shop"]).unwrap();
        assert!(printed.contains(line), "{program}: {printed}");
    }
}

/// systemd-resolved sends all names to a server under `[Resolve]`.
#[test]
fn systemd_resolved_gets_a_link_if_nothing_is_forwarded() {
    let forwards = "forward.\".\" = \"10.0.0.2\"";
    let all = text(Program::SystemdResolved, forwards, &["shop"]).unwrap();
    assert!(all.contains("[Resolve]\nDNS=") && all.contains("External names go both to muster"), "{all}");
    for server in ["", "forward.example = \"10.0.0.2\""] {
        let own = text(Program::SystemdResolved, server, &["shop", "web"]).unwrap();
        assert!(!own.contains("[Resolve]") && own.contains("Kind=dummy\n"), "{own}");
        assert!(own.contains("DNSDefaultRoute=no\n") && own.contains("Domains=~shop ~web\n"), "{own}");
    }
}

#[test]
fn a_namespace_is_required() {
    for program in [Program::SystemdResolved, Program::Dnsmasq, Program::Unbound] {
        assert!(text(program, "", &[]).unwrap_err().to_string().contains("no namespace"), "{program}");
    }
}

#[test]
fn a_resolv_conf_without_forwarding_warns() {
    let server = "listen.dns = \"127.0.0.1:53\"";
    assert!(text(Program::ResolvConf, server, &["shop"]).unwrap().contains("REFUSED"));
    let forwards = format!("{server}\nforward.\".\" = \"10.0.0.2\"");
    assert!(!text(Program::ResolvConf, &forwards, &["shop"]).unwrap().contains("REFUSED"));
}

#[rstest]
#[case("10.0.0.53", Some("10.0.0.53:53"))]
#[case("fd00::53", Some("[fd00::53]:53"))]
#[case("10.0.0.53:5300", Some("10.0.0.53:5300"))]
#[case("muster.internal", None)]
fn an_address_may_have_a_port(#[case] text: &str, #[case] expected: Option<&str>) {
    assert_eq!(parse_address(text).ok().map(|address| address.to_string()).as_deref(), expected);
}
