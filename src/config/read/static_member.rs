//! `static = [...]`: instances that stand in the file.

use std::{collections::HashMap, net::IpAddr};

use super::check;
use crate::{
    config::{
        schema::{HealthCheck, StaticMember},
        toml::{
            Item, TableReader,
            values::{self, bare_address},
        },
    },
    model::{Health, Instance, Labels, Name, NamedPort, Target},
};

/// Longest id, in bytes.
const MAX_ID: usize = 255;

const WHAT: &str =
    "an address and a port, such as \"10.0.0.5:80\", \"[fd00::5]:80\" or \"vm-2.example.com:80\"";

/// Reads the instances and their check.
pub(super) fn statics(table: &mut TableReader<'_>, apex: &Name) -> Option<StaticMember> {
    let check = table.take("check");
    let has_check = check.is_some();
    let check = check.and_then(check::check);
    let mut seen = SeenInstances::default();
    let instances = table.take("static").and_then(|item| {
        item.non_empty_list("instance", |element| {
            let mut instance = instance(element, apex)?;
            instance.health = if has_check { Health::Unknown } else { Health::Healthy };
            seen.note(&instance, element);
            needs_port(&instance, check.as_ref(), element);
            Some(instance)
        })
    });
    Some(StaticMember { instances: instances?, check })
}

/// Refuses an instance that is to be probed, but nobody says on which port.
fn needs_port(instance: &Instance, check: Option<&HealthCheck>, item: Item<'_>) {
    if instance.port == 0 && check.is_some_and(|check| check.port.is_none()) {
        item.error("an instance that is checked needs a port")
            .label("has none")
            .help("add one, such as \"10.0.0.5:80\", or say which one to probe: check = { port = 80, ... }")
            .report();
    }
}

/// Ids and places of a member's instances so far.
#[derive(Default)]
struct SeenInstances<'a> {
    ids: HashMap<std::sync::Arc<str>, Item<'a>>,
    addresses: HashMap<(IpAddr, u16), Item<'a>>,
    hosts: HashMap<(Name, u16), Item<'a>>,
}

impl<'a> SeenInstances<'a> {
    fn note(&mut self, instance: &Instance, item: Item<'a>) {
        let port = instance.port;
        let first = match &instance.target {
            Target::Host(host) => self.hosts.insert((host.clone(), port), item),
            // Every address must be noted, so no short cut at the first that is there already.
            Target::Addresses(addresses) => addresses
                .iter()
                .filter_map(|address| self.addresses.insert((*address, port), item))
                .next_back(),
        };
        let same_id = self.ids.insert(instance.id.clone(), item);
        let (message, first) = match (first, same_id) {
            (Some(first), _) => ("two instances of a member are at one address and port".to_owned(), first),
            (None, Some(first)) => {
                (format!("two instances of a member have the id {:?}", instance.id), first)
            }
            (None, None) => return,
        };
        item.error(message).also(first.place(), "the first one is here").report();
    }
}

fn instance(item: Item<'_>, apex: &Name) -> Option<Instance> {
    if item.value.as_table().is_some() {
        return long_form(item, apex);
    }
    let (target, port) = target(item, item.text_as(WHAT)?, apex)?;
    Some(plain(target, port))
}

/// An instance of which no more is known than where it is.
fn plain(target: Target, port: u16) -> Instance {
    Instance {
        id: id_of(&target, port).into(),
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
    }
}

fn id_of(target: &Target, port: u16) -> String {
    let (host, is_v6) = match target {
        Target::Host(host) => (host.to_string(), false),
        Target::Addresses(addresses) => addresses
            .first()
            .map_or_else(Default::default, |address| (address.to_string(), address.is_ipv6())),
    };
    match (port, is_v6) {
        (0, _) => host,
        (port, false) => format!("{host}:{port}"),
        (port, true) => format!("[{host}]:{port}"),
    }
}

fn long_form(item: Item<'_>, apex: &Name) -> Option<Instance> {
    let mut table = TableReader::new("a static instance", &item)?;
    let address = table.require("address", "address = \"10.0.0.5\"");
    let address = address.and_then(|item| addresses(item, apex).map(|read| (item, read)));
    let port_item = table.take("port");
    let port = port_item.and_then(values::port);
    let id = table.take("id").and_then(id);
    let weight = table.take("weight").and_then(values::weight);
    let labels = table.take("labels").and_then(values::labels);
    let port_name = table.take("port_name").map(|item| (item, values::port_name(item)));
    table.finish();
    let (address, (target, own_port)) = address?;
    if let (Some(port), true) = (port_item, own_port != 0) {
        address
            .error("an instance has its port in \"address\" or in \"port\"")
            .also((port.scope.file, port.key), "the other one is here")
            .report();
    }
    let port = port.unwrap_or(own_port);
    if let (Some((name, _)), 0, None) = (&port_name, port, port_item) {
        name.error("\"port_name\" needs a port to name").at(name.key).help("add port = 80").report();
    }
    let mut instance = plain(target, port);
    if let Some(id) = id {
        instance.id = id.into();
    }
    instance.weight = weight.unwrap_or(instance.weight);
    instance.labels = labels.unwrap_or_default();
    if let Some((name, protocol)) = port_name.and_then(|(_, read)| read) {
        instance.named_ports = [NamedPort { name, protocol, port }].into();
    }
    Some(instance)
}

fn id(item: Item<'_>) -> Option<&str> {
    let id = item.text()?;
    if id.len() <= MAX_ID {
        return Some(id);
    }
    item.must_be(&format!("a text of at most {MAX_ID} bytes")).label("longer than that").reject()
}

/// Reads the `address` of the long form: one, or one v4 and one v6 of a dual-stack instance.
fn addresses(item: Item<'_>, apex: &Name) -> Option<(Target, u16)> {
    const WHAT: &str = "an address, such as \"10.0.0.5\", or one v4 and one v6";
    if item.value.as_array().is_none() {
        return target(item, item.text_as(WHAT)?, apex);
    }
    let addresses = item.list(|element| {
        let text = element.text_as(WHAT)?;
        match bare_address(text) {
            Some(address) => usable(element, address),
            None => element.must_be("an IP address without a port, as it is one of several").reject(),
        }
    });
    match addresses.as_slice() {
        [_] | [IpAddr::V4(_), IpAddr::V6(_)] | [IpAddr::V6(_), IpAddr::V4(_)] => {
            Some((Target::Addresses(addresses.into()), 0))
        }
        // The elements are wrong, which is said already.
        _ if item.value.as_array().is_some_and(|all| all.len() != addresses.len()) => None,
        _ => item
            .must_be(WHAT)
            .label(format!("found a list of {}", addresses.len()))
            .help("two addresses of one family are two instances")
            .reject(),
    }
}

/// Reads an address or host name with or without a port, which is 0 where there is none.
fn target(item: Item<'_>, text: &str, apex: &Name) -> Option<(Target, u16)> {
    if let Some(address) = bare_address(text) {
        return Some((Target::Addresses([usable(item, address)?].into()), 0));
    }
    if text.contains("://") || text.contains('/') {
        return item
            .must_be(WHAT)
            .help("without a scheme or path: what is probed is said by \"check\"")
            .reject();
    }
    let (host, port) = match text.rsplit_once(':') {
        None => (text, 0),
        Some((host, port)) => match port.parse::<u16>() {
            Ok(port @ 1..) => (host, port),
            _ => return item.must_be(WHAT).help("a port is a number from 1 to 65535").reject(),
        },
    };
    if let Some(address) = bare_address(host) {
        if address.is_ipv6() && !host.starts_with('[') {
            return item.must_be(WHAT).help(format!("write v6 in brackets: \"[{host}]:{port}\"")).reject();
        }
        return Some((Target::Addresses([usable(item, address)?].into()), port));
    }
    Some((Target::Host(host_name(item, host, apex)?), port))
}

fn host_name(item: Item<'_>, text: &str, apex: &Name) -> Option<Name> {
    let last = text.strip_suffix('.').unwrap_or(text).rsplit('.').next().unwrap_or_default();
    // RFC 1123 section 2.1: the highest label of a host name is alphabetic, which is what tells it from an address.
    if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        return item.must_be(WHAT).help("this is neither an IP address nor a host name").reject();
    }
    match text.parse::<Name>() {
        Ok(name) if name == Name::root() => item.must_be(WHAT).reject(),
        Ok(name) if *apex != Name::root() && name.is_at_or_below(apex) => item
            .error(format!("an instance's host name must be outside of the namespace {:?}", apex.to_string()))
            .help(
                "the answer is a CNAME to it, and this namespace has nothing there but what its sources say",
            )
            .reject(),
        Ok(name) => Some(name),
        Err(error) => item.must_be(WHAT).label(error.to_string()).reject(),
    }
}

/// Refuses addresses at which nobody can be reached.
fn usable(item: Item<'_>, address: IpAddr) -> Option<IpAddr> {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || is_broadcast {
        return item
            .error(format!("nothing can be reached at {address}"))
            .help("write the instance's own address")
            .reject();
    }
    Some(address)
}
