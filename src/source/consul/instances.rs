//! Consul's entries as instances: health, addresses, labels, weight.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::{
    decode::{ConsulCheck, ConsulNode, ConsulService, HealthEntry, TaggedAddresses, Text, entries},
    notices::node_key,
};
use crate::{
    config::ConsulQuery,
    model::{Health, Instance, Labels, Name, Target, one_line},
    source::{WatchError, interner::Interner},
};

/// The instances of one response.
#[derive(Debug, Default)]
pub(super) struct ServiceInstances {
    /// The instances with an address or a host name.
    pub(super) instances: Vec<Instance>,
    /// Those of the instances that have a host name.
    pub(super) hosts: Vec<HostInstance>,
    /// The nodes of all entries ([`node_key`]).
    pub(super) nodes: BTreeSet<u64>,
    /// Ids of the others: neither their service nor their node has an address or a host name.
    pub(super) unusable: Vec<String>,
}

/// An instance with a host name.
#[derive(Debug)]
pub(super) struct HostInstance {
    /// The position in [`ServiceInstances::instances`].
    pub(super) position: usize,
    /// The host name.
    pub(super) host: Name,
    /// The target that the node's address gives, unless the host name is that address already.
    pub(super) node: Option<Target>,
}

/// Parses the body of `/v1/health/service/<name>`.
///
/// # Errors
/// [`WatchError::Malformed`] when the body has another shape.
pub(super) fn parse(body: &[u8], query: &ConsulQuery) -> Result<ServiceInstances, WatchError> {
    let entries = entries(body).map_err(|error| WatchError::Malformed(error.to_string()))?;
    let mut nodes_of_id: HashMap<&str, usize> = HashMap::new();
    for entry in &entries {
        *nodes_of_id.entry(&entry.service.id).or_default() += 1;
    }
    let mut parsed = ServiceInstances::default();
    parsed.nodes.extend(entries.iter().map(|entry| node_key(&entry.node.node)));
    let mut texts = Interner::default();
    for entry in entries.iter().filter(|entry| has_tags(&entry.service, &query.tags)) {
        // An id is unique only on its node. Operators chose the id and know it, so the node is put
        // in front only where two nodes use the same id for this service.
        let id = match nodes_of_id.get(&*entry.service.id) {
            Some(1) if !entry.service.id.is_empty() => entry.service.id.to_string(),
            _ => format!("{}/{}", &*entry.node.node, &*entry.service.id),
        };
        match target(entry) {
            Some(target) => {
                if let Target::Host(host) = &target {
                    let by_service = !entry.service.address.is_empty();
                    parsed.hosts.push(HostInstance {
                        position: parsed.instances.len(),
                        host: host.clone(),
                        node: if by_service { node_target(&entry.node) } else { None },
                    });
                }
                parsed.instances.push(instance(entry, &id, target, query, &mut texts));
            }
            None => parsed.unusable.push(id),
        }
    }
    Ok(parsed)
}

fn instance(
    entry: &HealthEntry<'_>,
    id: &str,
    target: Target,
    query: &ConsulQuery,
    texts: &mut Interner<Arc<str>>,
) -> Instance {
    let (health, reason) = health(&entry.checks);
    Instance {
        id: id.into(),
        target,
        port: query.port.unwrap_or_else(|| u16::try_from(entry.service.port).unwrap_or(0)),
        named_ports: Arc::default(),
        health,
        reason,
        weight: weight(&entry.service, health),
        labels: labels(&entry.service),
        locality: availability_zone(entry).map(|zone| texts.intern(zone)),
        datacenter: Some(&*entry.node.datacenter)
            .filter(|name| !name.is_empty())
            .map(|name| texts.intern(name)),
        kube_namespace: None,
        shares_address: false,
        held: None,
    }
}

/// Whether the service has all of the `wanted` tags, in any case. muster checks them too, since
/// Consul before 1.3 reads only one `tag` parameter.
fn has_tags(service: &ConsulService<'_>, wanted: &[String]) -> bool {
    wanted.iter().all(|wanted| {
        let wanted = wanted.to_lowercase();
        service.tags.iter().any(|tag| tag.to_lowercase() == wanted)
    })
}

/// The worst health of all checks of the node and the service, and the reason from that check.
fn health(checks: &[ConsulCheck<'_>]) -> (Health, Option<Arc<str>>) {
    let mut worst = (Health::Healthy, None);
    for check in checks {
        let health = check_health(check);
        if health > worst.0 {
            worst = (health, Some(check));
        }
    }
    (worst.0, worst.1.map(reason))
}

fn check_health(check: &ConsulCheck<'_>) -> Health {
    // Maintenance is a critical check with a well-known id (`consul maint`,
    // `/v1/agent/service/maintenance/:id`).
    if &*check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:") {
        return Health::Draining;
    }
    match &*check.status {
        "passing" => Health::Healthy,
        "warning" => Health::Warning,
        "maintenance" => Health::Draining,
        _ => Health::Unhealthy,
    }
}

/// The check's name and output. Maintenance has its reason in the notes.
fn reason(check: &ConsulCheck<'_>) -> Arc<str> {
    const NAME_LIMIT: usize = 100;
    const OUTPUT_LIMIT: usize = 200;
    let name = one_line(if check.name.is_empty() { &check.id } else { &check.name }, NAME_LIMIT);
    let output = one_line(if check.output.is_empty() { &check.notes } else { &check.output }, OUTPUT_LIMIT);
    if output.is_empty() { name.into() } else { format!("{name}: {output}").into() }
}

/// The weight for the instance's state; Consul has one for passing and one for warning.
///
/// <https://developer.hashicorp.com/consul/docs/reference/service#weights>
fn weight(service: &ConsulService<'_>, health: Health) -> u16 {
    let Some(weights) = &service.weights else { return Instance::DEFAULT_WEIGHT };
    let weight = if health == Health::Warning { weights.warning } else { weights.passing };
    u16::try_from(weight.clamp(0, i64::from(u16::MAX))).unwrap_or(u16::MAX)
}

/// The service's tags, as `k=v` or `tag=true`, and its meta, which wins.
fn labels(service: &ConsulService<'_>) -> Labels {
    let tags = service.tags.iter().map(|tag| tag.split_once('=').unwrap_or((tag, "true")));
    let meta = service.meta.iter().map(|(key, value)| (&**key, &**value));
    tags.chain(meta).filter(|(key, _)| !key.is_empty()).collect()
}

/// The availability zone: Consul's own field (since 1.17), else a meta key of the service, else of
/// the node.
fn availability_zone<'a>(entry: &'a HealthEntry<'_>) -> Option<&'a str> {
    const KEYS: [&str; 3] = ["zone", "availability-zone", "locality"];
    let fields = [&entry.service.locality.zone, &entry.node.locality.zone];
    let metas = [&entry.service.meta, &entry.node.meta];
    let from_meta = metas
        .into_iter()
        .flat_map(|meta| KEYS.into_iter().filter_map(|key| meta.get(&Text(key.into())).map(|zone| &**zone)));
    fields.into_iter().map(|zone| &**zone).chain(from_meta).find(|zone| !zone.is_empty())
}

/// The service's address, else the node's. A dual-stack instance has both addresses if the tagged
/// addresses give the other one.
fn target(entry: &HealthEntry<'_>) -> Option<Target> {
    let service = &entry.service;
    if service.address.is_empty() {
        return node_target(&entry.node);
    }
    let TaggedAddresses { lan_ipv4, lan_ipv6 } = &service.tagged_addresses;
    let [v4, v6] = [lan_ipv4, lan_ipv6].map(|tagged| {
        // A tagged address can have its own port, but an instance has only one.
        let same_port = tagged.as_ref().filter(|tagged| tagged.port == service.port);
        same_port.and_then(|tagged| ip(&tagged.address))
    });
    with_tagged(&service.address, v4, v6)
}

/// The node's address.
fn node_target(node: &ConsulNode<'_>) -> Option<Target> {
    let parse = |address: &Option<Text<'_>>| address.as_ref().and_then(|address| ip(address));
    let tagged = &node.tagged_addresses;
    with_tagged(&node.address, parse(&tagged.lan_ipv4), parse(&tagged.lan_ipv6))
}

/// The main address or host name. The tagged addresses are added only if there are both and one of
/// them is the main address; otherwise they mean something else.
fn with_tagged(main: &str, v4: Option<IpAddr>, v6: Option<IpAddr>) -> Option<Target> {
    let Some(address) = ip(main) else {
        return host_name(main).map(Target::Host);
    };
    if address.is_unspecified() {
        return None;
    }
    if let (Some(v4 @ IpAddr::V4(_)), Some(v6 @ IpAddr::V6(_))) = (v4, v6)
        && (address == v4 || address == v6)
    {
        return Some(Target::Addresses([v4, v6].into()));
    }
    Some(Target::Addresses([address].into()))
}

/// Parses a host name. Its last label is never a number (RFC 1123 section 2.1), which rules out
/// mistyped addresses.
fn host_name(text: &str) -> Option<Name> {
    let name: Name = text.parse().ok()?;
    let last = name.labels().last()?;
    (!last.iter().all(u8::is_ascii_digit)).then_some(name)
}

/// Parses an address; an IPv4-mapped one becomes IPv4.
fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests;
