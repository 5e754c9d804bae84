//! From Consul's words to instances: health, addresses, labels, weight.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use super::decode::{Check, Entry, Service, Tagged, Text, entries};
use crate::{
    config::ConsulQuery,
    model::{Health, Instance, Labels, Name, Target, one_line},
    source::{WatchError, interner::Interner},
};

/// What an answer says about a service.
#[derive(Debug, Default)]
pub(super) struct ServiceInstances {
    /// The instances that can be answered with.
    pub(super) instances: Vec<Instance>,
    /// Ids of those that cannot, since neither service nor node has an address or a host name.
    pub(super) unusable: Vec<String>,
}

/// Reads the body of `/v1/health/service/<name>`.
///
/// # Errors
/// [`WatchError::Malformed`] when it is not what that endpoint answers.
pub(super) fn read(body: &[u8], query: &ConsulQuery) -> Result<ServiceInstances, WatchError> {
    let entries = entries(body).map_err(|error| WatchError::Malformed(error.to_string()))?;
    let mut nodes_of_id: HashMap<&str, usize> = HashMap::new();
    for entry in &entries {
        *nodes_of_id.entry(&entry.service.id).or_default() += 1;
    }
    let mut reading = ServiceInstances::default();
    let mut texts = Interner::default();
    for entry in entries.iter().filter(|entry| has_tags(&entry.service, &query.tags)) {
        // An id is unique on its node only. Alone it is the better name, and the one that people gave; so the node is
        // put in front only where two nodes use the same id for this service.
        let id = match nodes_of_id.get(&*entry.service.id) {
            Some(1) if !entry.service.id.is_empty() => entry.service.id.to_string(),
            _ => format!("{}/{}", &*entry.node.node, &*entry.service.id),
        };
        match target(entry) {
            Some(target) => reading.instances.push(instance(entry, &id, target, query, &mut texts)),
            None => reading.unusable.push(id),
        }
    }
    Ok(reading)
}

fn instance(
    entry: &Entry<'_>,
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
        locality: zone(entry).map(|zone| texts.intern(zone)),
        datacenter: Some(&*entry.node.datacenter)
            .filter(|name| !name.is_empty())
            .map(|name| texts.intern(name)),
        kube_namespace: None,
        shares_address: false,
    }
}

/// Tells whether the service has all of `wanted`. Consul compares tags without regard to case; before 1.3 it looks at one
/// `tag` parameter only, so they are checked here as well.
fn has_tags(service: &Service<'_>, wanted: &[String]) -> bool {
    wanted.iter().all(|wanted| {
        let wanted = wanted.to_lowercase();
        service.tags.iter().any(|tag| tag.to_lowercase() == wanted)
    })
}

/// The worst of all checks, of the node and of the service, and which one that is.
fn health(checks: &[Check<'_>]) -> (Health, Option<Arc<str>>) {
    let mut worst = (Health::Healthy, None);
    for check in checks {
        let health = check_health(check);
        if health > worst.0 {
            worst = (health, Some(check));
        }
    }
    (worst.0, worst.1.map(reason))
}

fn check_health(check: &Check<'_>) -> Health {
    // Maintenance is a critical check with a well-known id (`consul maint`, `/v1/agent/service/maintenance/:id`).
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

/// The check's name and what it printed; the reason for a maintenance is in its notes.
fn reason(check: &Check<'_>) -> Arc<str> {
    const NAME: usize = 100;
    const OUTPUT: usize = 200;
    let name = one_line(if check.name.is_empty() { &check.id } else { &check.name }, NAME);
    let output = one_line(if check.output.is_empty() { &check.notes } else { &check.output }, OUTPUT);
    if output.is_empty() { name.into() } else { format!("{name}: {output}").into() }
}

/// <https://developer.hashicorp.com/consul/docs/reference/service#weights>: one weight for each state that Consul's DNS
/// answers with.
fn weight(service: &Service<'_>, health: Health) -> u16 {
    let Some(weights) = &service.weights else { return Instance::DEFAULT_WEIGHT };
    let weight = if health == Health::Warning { weights.warning } else { weights.passing };
    u16::try_from(weight.clamp(0, i64::from(u16::MAX))).unwrap_or(u16::MAX)
}

/// Tags, `k=v` or `tag=true`, under the service's meta.
fn labels(service: &Service<'_>) -> Labels {
    let tags = service.tags.iter().map(|tag| tag.split_once('=').unwrap_or((tag, "true")));
    let meta = service.meta.iter().map(|(key, value)| (&**key, &**value));
    tags.chain(meta).filter(|(key, _)| !key.is_empty()).collect()
}

/// The availability zone: Consul's own field (since 1.17), else a meta key of the service, else of the node.
fn zone<'a>(entry: &'a Entry<'_>) -> Option<&'a str> {
    const KEYS: [&str; 3] = ["zone", "availability-zone", "locality"];
    let known = [&entry.service.locality.zone, &entry.node.locality.zone];
    let metas = [&entry.service.meta, &entry.node.meta];
    let from_meta = metas
        .into_iter()
        .flat_map(|meta| KEYS.into_iter().filter_map(|key| meta.get(&Text(key.into())).map(|zone| &**zone)));
    known.into_iter().map(|zone| &**zone).chain(from_meta).find(|zone| !zone.is_empty())
}

/// The service's address, else the node's; both of a dual-stack instance where the tagged addresses tell the other.
fn target(entry: &Entry<'_>) -> Option<Target> {
    let (node, service) = (&entry.node, &entry.service);
    if service.address.is_empty() {
        let text = |address: &Option<Text<'_>>| address.as_ref().and_then(|address| ip(address));
        let tagged = &node.tagged_addresses;
        return one_target(&node.address, text(&tagged.lan_ipv4), text(&tagged.lan_ipv6));
    }
    let Tagged { lan_ipv4, lan_ipv6 } = &service.tagged_addresses;
    let [v4, v6] = [lan_ipv4, lan_ipv6].map(|tagged| {
        // A tagged address may have a port of its own, but an instance has one.
        let same_port = tagged.as_ref().filter(|tagged| tagged.port == service.port);
        same_port.and_then(|tagged| ip(&tagged.address))
    });
    one_target(&service.address, v4, v6)
}

/// The tagged addresses count only if both are there and one of them is the main address: else they mean something else.
fn one_target(main: &str, v4: Option<IpAddr>, v6: Option<IpAddr>) -> Option<Target> {
    let Some(address) = ip(main) else {
        return host(main).map(Target::Host);
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

/// A host name; the last label is never a number (RFC 1123 section 2.1), which keeps out addresses with a slip in them.
fn host(text: &str) -> Option<Name> {
    let name: Name = text.parse().ok()?;
    let last = name.labels().last()?;
    (!last.iter().all(u8::is_ascii_digit)).then_some(name)
}

fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests;
