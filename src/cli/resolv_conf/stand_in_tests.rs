use std::{fs, path::Path};

use rstest::rstest;

use super::*;
use crate::config;

fn config(server: &str, apexes: &[&str]) -> Config {
    let zones = apexes.iter().map(|apex| (format!("{apex}.toml").into(), format!("namespace = \"{apex}\"")));
    let files: Vec<_> = std::iter::once(("muster.toml".into(), server.to_owned())).chain(zones).collect();
    config::load_from(&files).unwrap_or_else(|report| panic!("{report}")).config
}

fn text(kind: Kind, server: &str, apexes: &[&str]) -> anyhow::Result<String> {
    kind.text(&Facts::of(&config(server, apexes), &[]))
}

/// The examples in `deploy/stand-in` are what the command prints for `deploy/machine`.
#[rstest]
#[case(Kind::ResolvConf, "resolv.conf")]
#[case(Kind::SystemdResolved, "systemd-resolved.conf")]
#[case(Kind::NetworkManager, "networkmanager.conf")]
#[case(Kind::Dnsmasq, "dnsmasq.conf")]
#[case(Kind::CoreDns, "Corefile")]
#[case(Kind::Consul, "consul.hcl")]
#[case(Kind::Unbound, "unbound.conf")]
#[case(Kind::Terraform, "route53.tf")]
fn the_examples_are_what_is_printed(#[case] kind: Kind, #[case] file: &str) {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let loaded =
        config::load(&deploy.join("machine/muster.toml")).unwrap_or_else(|report| panic!("{report}"));
    let printed = kind.text(&Facts::of(&loaded.config, &[])).unwrap();
    let path = deploy.join("stand-in").join(file);
    let command = format!("muster resolv-conf --config deploy/machine/muster.toml --for {kind}");
    assert_eq!(
        fs::read_to_string(&path).unwrap_or_default(),
        printed,
        "{} is not what {command} prints",
        path.display()
    );
}

/// The configuration of `deploy/kubernetes/muster.yaml` loads as it stands there.
#[test]
fn the_configuration_for_kubernetes_loads() {
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
}

#[test]
fn a_wildcard_address_is_asked_on_loopback_by_this_machine_and_unknown_to_others() {
    let server = "listen.dns = [\"0.0.0.0:53\", \"[::]:53\"]\nforward.\".\" = \"10.0.0.2\"";
    let resolv_conf = text(Kind::ResolvConf, server, &["shop"]).unwrap();
    assert!(resolv_conf.ends_with("nameserver 127.0.0.1\nnameserver ::1\n"), "{resolv_conf}");
    let error = text(Kind::CoreDns, server, &["shop"]).unwrap_err().to_string();
    assert!(error.contains("--address"), "{error}");
    let given = [address("10.0.0.53").unwrap(), address("[fd00::53]:5300").unwrap()];
    let facts = Facts::of(&config(server, &["shop"]), &given);
    let corefile = Kind::CoreDns.text(&facts).unwrap();
    assert!(corefile.contains("forward . 10.0.0.53:53 [fd00::53]:5300 {"), "{corefile}");
    let rule = Kind::Terraform.text(&facts).unwrap();
    assert!(rule.contains("ip   = \"10.0.0.53\"") && rule.contains("ipv6 = \"fd00::53\""), "{rule}");
}

#[rstest]
#[case("listen.dns = \"127.0.0.1:5300\"", "does not listen on port 53")]
#[case("", "does not listen on port 53")]
fn resolv_conf_needs_port_53(#[case] server: &str, #[case] words: &str) {
    let error = text(Kind::ResolvConf, server, &["shop"]).unwrap_err().to_string();
    assert!(error.contains(words) && error.contains("[listen]"), "{error}");
}

#[test]
fn other_ports_are_written_as_each_program_has_them() {
    let server = "listen.dns = [\"127.0.0.1:5300\", \"[::1]:5300\"]";
    for (kind, line) in [
        (Kind::SystemdResolved, "DNS=127.0.0.1:5300 [::1]:5300\n"),
        (Kind::Dnsmasq, "server=/shop/127.0.0.1#5300\nserver=/shop/::1#5300\n"),
        (Kind::NetworkManager, "server=/shop/127.0.0.1#5300\n"),
        (Kind::Unbound, "    stub-addr: ::1@5300\n"),
        (Kind::Consul, "recursors = [\"127.0.0.1:5300\", \"[::1]:5300\"]\n"),
    ] {
        let printed = text(kind, server, &["shop"]).unwrap();
        assert!(printed.contains(line), "{kind}: {printed}");
    }
}

/// A server under `[Resolve]` would be asked for all names.
#[test]
fn systemd_resolved_has_a_link_for_a_muster_that_forwards_nothing() {
    let forwards = "forward.\".\" = \"10.0.0.2\"";
    let all = text(Kind::SystemdResolved, forwards, &["shop"]).unwrap();
    assert!(all.contains("[Resolve]\nDNS=") && all.contains("For other names both"), "{all}");
    for server in ["", "forward.example = \"10.0.0.2\""] {
        let own = text(Kind::SystemdResolved, server, &["shop", "web"]).unwrap();
        assert!(!own.contains("[Resolve]") && own.contains("Kind=dummy\n"), "{own}");
        assert!(own.contains("DNSDefaultRoute=no\n") && own.contains("Domains=~shop ~web\n"), "{own}");
    }
}

#[test]
fn without_a_namespace_there_is_nothing_to_ask_for() {
    for kind in [Kind::SystemdResolved, Kind::Dnsmasq, Kind::Unbound] {
        assert!(text(kind, "", &[]).unwrap_err().to_string().contains("no namespace"), "{kind}");
    }
}

#[test]
fn a_resolv_conf_that_cuts_other_names_off_says_so() {
    let server = "listen.dns = \"127.0.0.1:53\"";
    assert!(text(Kind::ResolvConf, server, &["shop"]).unwrap().contains("REFUSED"));
    let forwards = format!("{server}\nforward.\".\" = \"10.0.0.2\"");
    assert!(!text(Kind::ResolvConf, &forwards, &["shop"]).unwrap().contains("REFUSED"));
}

#[rstest]
#[case("10.0.0.53", Some("10.0.0.53:53"))]
#[case("fd00::53", Some("[fd00::53]:53"))]
#[case("10.0.0.53:5300", Some("10.0.0.53:5300"))]
#[case("muster.internal", None)]
fn an_address_may_have_a_port(#[case] text: &str, #[case] expected: Option<&str>) {
    assert_eq!(address(text).ok().map(|address| address.to_string()).as_deref(), expected);
}
