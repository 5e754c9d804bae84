//! `muster check`.

use std::{fmt::Write as _, process::ExitCode};

use super::{configuration::ConfigArgs, output::print};
use crate::{
    config::{
        AccessSettings, AliasTarget, Config, KubernetesObjects, Location, MemberRule, Namespace,
        ServiceDefinition, SourceQuery,
    },
    model::{Network, Target},
};

pub(super) fn run(configuration: &ConfigArgs) -> ExitCode {
    match configuration.load() {
        Ok((loaded, location)) => {
            print(&describe(&loaded.config, &location));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// Summarizes the configuration.
fn describe(config: &Config, location: &Location) -> String {
    let mut text = match location {
        Location::File(path) => format!("{}: valid\n", path.display()),
        Location::Demo => "no configuration found: using the bundled demo\n".to_owned(),
    };
    for address in &config.listen.dns {
        let _ = writeln!(text, "listens on {address} (UDP, TCP)");
    }
    if let Some(admin) = config.listen.admin {
        let _ = writeln!(text, "admin port {admin} (HTTP)");
    }
    let _ = writeln!(text, "allows {}", describe_clients(&config.access.allow));
    for source in &config.consul {
        let _ = writeln!(text, "source {}: {}", source.id, source.address);
    }
    for source in &config.kubernetes {
        let from = source
            .kubeconfig
            .as_ref()
            .map_or_else(|| "the cluster that muster runs in".to_owned(), |path| path.display().to_string());
        let clients = if source.identify_clients { ", identifies clients by pod" } else { "" };
        let _ = writeln!(text, "source {}: {from}{clients}", source.id);
    }
    for network in &config.reverse {
        let _ = writeln!(text, "reverse zone of {network}");
    }
    for forward in &config.forward {
        let upstreams: Vec<_> = forward.upstreams.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "forwards {}: {}", forward.suffix, upstreams.join(", "));
    }
    for namespace in &config.namespaces {
        describe_namespace(namespace, &mut text);
    }
    text
}

/// The networks that may query, by the configuration's words where one stands for several.
fn describe_clients(networks: &[Network]) -> String {
    let words: [(&str, &[Network]); 2] =
        [("any", &AccessSettings::ANY), ("private", &AccessSettings::PRIVATE)];
    let mut rest = networks.to_vec();
    let mut parts = Vec::new();
    for (word, stands_for) in words {
        if stands_for.iter().all(|network| rest.contains(network)) {
            rest.retain(|network| !stands_for.contains(network));
            parts.push(format!("{word} networks"));
        }
    }
    parts.extend(rest.iter().map(Network::to_string));
    if parts.is_empty() { "no client".to_owned() } else { parts.join(", ") }
}

fn describe_namespace(namespace: &Namespace, text: &mut String) {
    let _ = writeln!(
        text,
        "\nnamespace {} ({}), TTL {}",
        namespace.apex,
        namespace.file.display(),
        namespace.ttl
    );
    let width = namespace.services.iter().map(|s| s.name.to_string().len()).max().unwrap_or(0);
    for service in &namespace.services {
        for (index, line) in describe_service(service).iter().enumerate() {
            let name = if index == 0 { service.name.to_string() } else { String::new() };
            let _ = writeln!(text, "  {name:width$}  {line}");
        }
    }
    for import in &namespace.imports {
        let exclude = if import.exclude.is_empty() {
            String::new()
        } else {
            format!(" except {}", import.exclude.join(", "))
        };
        let _ = writeln!(
            text,
            "  *.{}: services of {} matching {}{exclude}",
            namespace.apex,
            import.source,
            import.include.join(", ")
        );
    }
}

/// A line for each member, route, failover list and subset name.
fn describe_service(service: &ServiceDefinition) -> Vec<String> {
    let mut lines = match &service.alias {
        Some(AliasTarget::Service(name)) => vec![format!("alias of {name}")],
        Some(AliasTarget::External(name)) => vec![format!("alias of {name} (CNAME)")],
        None => service.from.iter().map(describe_member).collect(),
    };
    for route in &service.routes {
        let clients =
            route.clients.as_ref().map_or_else(|| "every client".to_owned(), |clients| clients.to_string());
        let groups: Vec<_> = route
            .split
            .iter()
            .map(|group| {
                let strict = if group.strict { ", strict" } else { "" };
                format!("{} to {}{strict}", group.weight, group.filter)
            })
            .collect();
        lines.push(format!("route for {clients}: {}", groups.join("; ")));
    }
    if let Some(failover) = &service.failover {
        let tiers: Vec<_> = failover.tiers.iter().map(ToString::to_string).collect();
        lines.push(format!(
            "failover: {} (needs {} healthy, hold-down {:?})",
            tiers.join("; then "),
            failover.min_healthy,
            failover.hold_down
        ));
    }
    lines.extend(service.names.iter().map(|name| format!("subset name {}: {}", name.name, name.filter)));
    lines
}

fn describe_member(rule: &MemberRule) -> String {
    match &rule.query {
        SourceQuery::Consul(query) => {
            let tags = query.tags.iter().map(|tag| format!(", tag {tag}")).collect::<String>();
            format!("{}: service {}{tags}", rule.source, query.service)
        }
        SourceQuery::Kubernetes(query) => match &query.objects {
            KubernetesObjects::Pods(selector) => {
                format!("{}: pods of {} with {selector}", rule.source, query.namespace)
            }
            KubernetesObjects::Service(service) => {
                format!("{}: endpoints of {}/{service}", rule.source, query.namespace)
            }
        },
        SourceQuery::Static(member) => {
            let endpoints: Vec<String> = member
                .instances
                .iter()
                .map(|instance| match &instance.target {
                    Target::Addresses(addresses) => addresses
                        .iter()
                        .map(|a| format!("{a} port {}", instance.port))
                        .collect::<Vec<_>>()
                        .join(", "),
                    Target::Host(host) => format!("{host} port {}", instance.port),
                })
                .collect();
            let check = member.check.as_ref().map_or_else(
                || "not probed".to_owned(),
                |check| format!("probed every {:?}", check.interval),
            );
            format!("static: {} ({check})", endpoints.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_described_by_the_configurations_words() {
        let one: Network = "203.0.113.0/24".parse().unwrap();
        assert_eq!(describe_clients(&AccessSettings::PRIVATE), "private networks");
        assert_eq!(
            describe_clients(&[&AccessSettings::PRIVATE[..], &[one]].concat()),
            "private networks, 203.0.113.0/24"
        );
        assert_eq!(describe_clients(&AccessSettings::ANY), "any networks");
        assert_eq!(describe_clients(&[]), "no client");
    }

    const SERVER: &str =
        "reverse = \"10.0.0.0/8\"\n[consul.vms]\n[kubernetes.eks]\nidentify_clients = true\n";
    const ZONE: &str = r#"
namespace = "shop"
[services.web]
from = [{ kubernetes = "eks", namespace = "shop", selector = "app=web" }, { consul = "vms", service = "web" }]
failover = [{ source = "eks" }, { }]
names = { "v2.web" = { labels = { version = "v2" } } }
routes = [
  { clients = { service = "web" }, split = [
      { labels = { version = "v1" }, weight = 90 },
      { labels = { version = "v2" }, weight = 10, strict = true } ] },
  { split = [{ selector = "version!=v2", weight = 1 }] },
]
[services.www]
alias = "web"
[services.mail]
alias = "mail.example"
"#;

    #[test]
    fn the_summary_has_sources_routes_and_names() {
        let files = [("muster.toml".into(), SERVER.to_owned()), ("shop.toml".into(), ZONE.to_owned())];
        let loaded = crate::config::load_from(&files).unwrap_or_else(|report| panic!("{report}"));
        let text = describe(&loaded.config, &Location::File("muster.toml".into()));
        insta::assert_snapshot!(text);
    }
}
