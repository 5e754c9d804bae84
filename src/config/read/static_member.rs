//! Reads `static = [...]`: instances that stand in the file.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use super::{check::check, context::NamespaceContext};
use crate::{
    config::{
        schema::{HealthCheck, StaticMember},
        toml::{
            Item, Read, TableReader,
            values::{self, bare_address},
        },
    },
    model::{Health, Instance, Labels, Name, NamedPort, Target},
};

/// Longest id, in bytes.
const MAX_ID: usize = 255;

/// The short form of an instance, for errors.
const EXPECTED: &str =
    "an address and a port, such as \"10.0.0.5:80\", \"[fd00::5]:80\" or \"vm-2.example.com:80\"";

/// Reads the instances and their check.
pub(super) fn static_member(
    table: &mut TableReader<'_>,
    context: &NamespaceContext<'_>,
) -> Read<StaticMember> {
    let check = table.optional("check", |item| check(item, context.base));
    let health = if matches!(check, Ok(None)) { Health::Healthy } else { Health::Unknown };
    let checked = check.as_ref().ok().and_then(Option::as_ref);
    let mut seen = SeenInstances::default();
    let instances = table.require("static", "static = [\"10.0.0.5:80\"]").and_then(|item| {
        item.non_empty_list("instance", |element| {
            let mut instance = instance(element, context.apex)?;
            if instance.health != Health::Draining {
                instance.health = health;
            }
            seen.check_unique(&instance, element);
            check_port(&instance, checked, element);
            Ok(instance)
        })
    });
    Ok(StaticMember { instances: instances?, check: check? })
}

/// Refuses an instance whose check has no port to probe.
fn check_port(instance: &Instance, check: Option<&HealthCheck>, item: Item<'_>) {
    if instance.port == 0 && check.is_some_and(|check| check.port.is_none()) {
        item.error("an instance with a check needs a port")
            .label("has none")
            .help("add a port, such as \"10.0.0.5:80\", or the port to probe: check = { port = 80, ... }")
            .report();
    }
}

/// The ids and addresses of a member's instances so far.
#[derive(Default)]
struct SeenInstances<'a> {
    ids: HashMap<Arc<str>, Item<'a>>,
    addresses: HashMap<(IpAddr, u16), Item<'a>>,
    hosts: HashMap<(Name, u16), Item<'a>>,
}

impl<'a> SeenInstances<'a> {
    /// Refuses a second instance with the same address and port, or with the same id.
    fn check_unique(&mut self, instance: &Instance, item: Item<'a>) {
        let port = instance.port;
        let first = match &instance.target {
            Target::Host(host) => self.hosts.insert((host.clone(), port), item),
            // Every address must be recorded, so this does not stop at the first duplicate.
            Target::Addresses(addresses) => addresses
                .iter()
                .filter_map(|address| self.addresses.insert((*address, port), item))
                .next_back(),
        };
        let same_id = self.ids.insert(instance.id.clone(), item);
        let (message, first) = match (first, same_id) {
            (Some(first), _) => {
                ("two instances of a member have the same address and port".to_owned(), first)
            }
            (None, Some(first)) => {
                (format!("two instances of a member have the id {:?}", instance.id), first)
            }
            (None, None) => return,
        };
        item.error(message).also(first.place(), "first defined here").report();
    }
}

fn instance(item: Item<'_>, apex: &Name) -> Read<Instance> {
    if item.value.as_table().is_some() {
        return long_form(item, apex);
    }
    let (target, port) = target(item, item.text_as(EXPECTED)?, apex)?;
    Ok(plain(target, port))
}

/// An instance with nothing but a target and a port.
fn plain(target: Target, port: u16) -> Instance {
    Instance {
        id: default_id(&target, port).into(),
        target,
        port,
        named_ports: [].into(),
        health: Health::Unknown,
        reason: None,
        weight: Instance::DEFAULT_WEIGHT,
        labels: Labels::default(),
        locality: None,
        datacenter: None,
        kube_namespace: None,
        shares_address: false,
        held: None,
    }
}

fn default_id(target: &Target, port: u16) -> String {
    let (host, is_v6) = match target {
        Target::Host(host) => (host.to_string(), false),
        Target::Addresses(addresses) => {
            debug_assert!(!addresses.is_empty(), "the reader refuses an empty list of addresses");
            addresses
                .first()
                .map_or_else(Default::default, |address| (address.to_string(), address.is_ipv6()))
        }
    };
    match (port, is_v6) {
        (0, _) => host,
        (port, false) => format!("{host}:{port}"),
        (port, true) => format!("[{host}]:{port}"),
    }
}

fn long_form(item: Item<'_>, apex: &Name) -> Read<Instance> {
    let mut table = TableReader::new("a static instance", &item)?;
    let address = table.require("address", "address = \"10.0.0.5\"");
    let address = address.and_then(|item| addresses(item, apex).map(|read| (item, read)));
    let port_item = table.take("port");
    let port = port_item.map(values::port).transpose();
    let id = table.optional("id", id);
    let weight = table.read_or("weight", Instance::DEFAULT_WEIGHT, values::weight);
    let labels = table.read_or("labels", Labels::default(), values::labels);
    let draining = table.read_or("draining", false, |item| item.boolean());
    let port_name = table.take("port_name").map(|item| (item, values::port_name(item)));
    table.finish();
    let (address, (target, own_port)) = address?;
    if let (Some(port), true) = (port_item, own_port != 0) {
        address
            .error("an instance has its port in \"address\" or in \"port\", not in both")
            .also(port.key_place(), "the other one is here")
            .report();
    }
    let port = port?.unwrap_or(own_port);
    if let (Some((name, _)), 0, None) = (&port_name, port, port_item) {
        name.error("\"port_name\" needs \"port\"").at(name.key).help("add port = 80").report();
    }
    let mut instance = Instance { weight, labels, ..plain(target, port) };
    if let Some(id) = id? {
        instance.id = id.into();
    }
    if draining {
        (instance.health, instance.reason) = (Health::Draining, Some("set to draining".into()));
    }
    if let Some((name, protocol)) = port_name.map(|(_, read)| read).transpose()? {
        instance.named_ports = [NamedPort { name, protocol, port }].into();
    }
    Ok(instance)
}

fn id(item: Item<'_>) -> Read<&str> {
    let id = item.text()?;
    if id.len() <= MAX_ID {
        return Ok(id);
    }
    item.must_be(&format!("a string of at most {MAX_ID} bytes"))
        .label(format!("has {} bytes", id.len()))
        .reject()
}

/// Reads the `address` of the long form: one address, or a v4 and a v6 address of one instance.
fn addresses(item: Item<'_>, apex: &Name) -> Read<(Target, u16)> {
    const EXPECTED: &str = "an address, such as \"10.0.0.5\", or one v4 and one v6 address";
    if item.value.as_array().is_none() {
        return target(item, item.text_as(EXPECTED)?, apex);
    }
    if item.count() == 0 {
        return item.must_be(EXPECTED).label("found an empty list").reject();
    }
    let addresses = item.complete_list("address", |element| {
        let text = element.text_as(EXPECTED)?;
        match bare_address(text) {
            Some(address) => usable(element, address),
            None => element.must_be("an IP address without a port, as one of several").reject(),
        }
    })?;
    match addresses.as_slice() {
        [_] | [IpAddr::V4(_), IpAddr::V6(_)] | [IpAddr::V6(_), IpAddr::V4(_)] => {
            Ok((Target::Addresses(addresses.into()), 0))
        }
        _ => item
            .must_be(EXPECTED)
            .label(format!("found a list of {}", addresses.len()))
            .help("two addresses of one family are two instances")
            .reject(),
    }
}

/// Reads an address or host name, with or without a port; without one, the port is 0.
fn target(item: Item<'_>, text: &str, apex: &Name) -> Read<(Target, u16)> {
    if let Some(address) = bare_address(text) {
        return Ok((Target::Addresses([usable(item, address)?].into()), 0));
    }
    if text.contains("://") || text.contains('/') {
        return item
            .must_be(EXPECTED)
            .help("leave out scheme and path; \"check\" has what to probe")
            .reject();
    }
    let (host, port) = match text.rsplit_once(':') {
        None => (text, 0),
        Some((host, port)) => match port.parse::<u16>() {
            Ok(port @ 1..) => (host, port),
            _ => return item.must_be(EXPECTED).help("a port is a number from 1 to 65535").reject(),
        },
    };
    if let Some(address) = bare_address(host) {
        if address.is_ipv6() && !host.starts_with('[') {
            return item
                .must_be(EXPECTED)
                .help(format!("write v6 in brackets: \"[{host}]:{port}\""))
                .reject();
        }
        return Ok((Target::Addresses([usable(item, address)?].into()), port));
    }
    Ok((Target::Host(host_name(item, host, apex)?), port))
}

fn host_name(item: Item<'_>, text: &str, apex: &Name) -> Read<Name> {
    let last = text.strip_suffix('.').unwrap_or(text).rsplit('.').next();
    debug_assert!(last.is_some(), "splitting gives at least one part");
    let last = last.unwrap_or_default();
    // RFC 1123 section 2.1: the highest label of a host name is alphabetic, which tells it from an
    // address.
    if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        return item.must_be(EXPECTED).help("this is neither an IP address nor a host name").reject();
    }
    match text.parse::<Name>() {
        Ok(name) if name == Name::root() => item.must_be(EXPECTED).reject(),
        Ok(name) if *apex != Name::root() && name.is_at_or_below(apex) => item
            .error(format!(
                "the host name of an instance must be outside the namespace {:?}",
                apex.to_string()
            ))
            .help("muster answers with a CNAME to the host name, and cannot resolve it within the namespace")
            .reject(),
        Ok(name) => Ok(name),
        Err(error) => item.must_be(EXPECTED).label(error.to_string()).reject(),
    }
}

/// Refuses addresses that no instance can have.
fn usable(item: Item<'_>, address: IpAddr) -> Read<IpAddr> {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || is_broadcast {
        return item
            .error(format!("an instance cannot have the address {address}"))
            .help("write the instance's own address")
            .reject();
    }
    Ok(address)
}
