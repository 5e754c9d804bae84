//! `muster check`.

use std::{fmt::Write as _, process::ExitCode};

use super::{Configuration, load, print};
use crate::{
    config::{Access, Config, KubernetesObjects, Location, MemberRule, Namespace, Query},
    model::{Network, Target},
};

pub(super) fn run(configuration: &Configuration) -> ExitCode {
    match load(configuration) {
        Ok((loaded, location)) => {
            print(&describe(&loaded.config, &location));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// What would be served, for people.
fn describe(config: &Config, location: &Location) -> String {
    let mut text = match location {
        Location::File(path) => format!("{}: valid\n", path.display()),
        Location::Demo => "no configuration found: the bundled demo\n".to_owned(),
    };
    for address in &config.listen.dns {
        let _ = writeln!(text, "answers on {address} (UDP, TCP)");
    }
    if let Some(admin) = config.listen.admin {
        let _ = writeln!(text, "admin on {admin} (HTTP)");
    }
    let _ = writeln!(text, "for {}", describe_clients(&config.access.allow));
    for source in &config.consul {
        let _ = writeln!(text, "source {}: {}", source.id, source.address);
    }
    for source in &config.kubernetes {
        let from = source
            .kubeconfig
            .as_ref()
            .map_or_else(|| "the cluster that it runs in".to_owned(), |path| path.display().to_string());
        let _ = writeln!(text, "source {}: {from}", source.id);
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

/// Who may ask, with the words that stand for several networks.
fn describe_clients(networks: &[Network]) -> String {
    let words: [(&str, &[Network]); 2] = [("any", &Access::ANY), ("private", &Access::PRIVATE)];
    let mut rest = networks.to_vec();
    let mut parts = Vec::new();
    for (word, stands_for) in words {
        if stands_for.iter().all(|network| rest.contains(network)) {
            rest.retain(|network| !stands_for.contains(network));
            parts.push(format!("{word} networks"));
        }
    }
    parts.extend(rest.iter().map(Network::to_string));
    if parts.is_empty() { "nobody".to_owned() } else { parts.join(", ") }
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
        for (place, rule) in service.from.iter().enumerate() {
            let name = if place == 0 { service.name.to_string() } else { String::new() };
            let _ = writeln!(text, "  {name:width$}  {}", describe_member(rule));
        }
    }
    for import in &namespace.imports {
        let exclude = if import.exclude.is_empty() {
            String::new()
        } else {
            format!(" but {}", import.exclude.join(", "))
        };
        let _ = writeln!(
            text,
            "  *.{}: services of {} named {}{exclude}",
            namespace.apex,
            import.source,
            import.include.join(", ")
        );
    }
}

fn describe_member(rule: &MemberRule) -> String {
    match &rule.query {
        Query::Consul(query) => {
            let tags = query.tags.iter().map(|tag| format!(", tag {tag}")).collect::<String>();
            format!("{}: service {}{tags}", rule.source, query.service)
        }
        Query::Kubernetes(query) => match &query.objects {
            KubernetesObjects::Pods(selector) => {
                format!("{}: pods of {} with {selector}", rule.source, query.namespace)
            }
            KubernetesObjects::Service(service) => {
                format!("{}: endpoints of {}/{service}", rule.source, query.namespace)
            }
        },
        Query::Static(member) => {
            let places: Vec<String> = member
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
            format!("static: {} ({check})", places.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_described_by_the_words_that_stand_for_them() {
        let one: Network = "203.0.113.0/24".parse().unwrap();
        assert_eq!(describe_clients(&Access::PRIVATE), "private networks");
        assert_eq!(
            describe_clients(&[&Access::PRIVATE[..], &[one]].concat()),
            "private networks, 203.0.113.0/24"
        );
        assert_eq!(describe_clients(&Access::ANY), "any networks");
        assert_eq!(describe_clients(&[]), "nobody");
    }
}
