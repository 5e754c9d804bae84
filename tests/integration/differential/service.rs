//! The records of one service, by the plain model.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{CNAME, SRV},
};
use muster::model::{Health, Protocol};
use testkit::namespaces::{Given, Namespace, Service};

use super::records::{a, aaaa, name, wire};

/// What a namespace has at a name.
pub enum Found {
    Records(Vec<Record>, bool),
    Targets(Vec<Record>, Vec<Vec<Record>>),
    NoData,
    NoName,
    Unknown,
}

/// A list that each query for it rotates by one.
#[derive(PartialEq, Eq, Hash)]
pub enum List {
    V4,
    V6,
    Srv,
    Port(Vec<Vec<u8>>),
}

/// One service, seen by one query.
pub struct View<'v> {
    pub zone: &'v Namespace,
    pub service: &'v Service,
    pub owner: &'v Name,
    pub turns: &'v mut HashMap<(usize, usize, List), usize>,
    pub key: (usize, usize),
}

impl<'v> View<'v> {
    fn turn(&mut self, list: List) -> usize {
        let turn = self.turns.entry((self.key.0, self.key.1, list)).or_default();
        *turn += 1;
        *turn - 1
    }

    /// Whether every member of the service is synced.
    fn complete(&self) -> bool {
        self.service.synced.iter().all(|synced| *synced)
    }

    /// The eligible instances, sorted by address; those with host names come last.
    fn accepted(&self) -> Vec<&'v Given> {
        let all = &self.service.instances;
        let fit: Vec<_> =
            all.iter().filter(|i| matches!(i.health, Health::Healthy | Health::Warning)).collect();
        let mut accepted = match fit.is_empty() && self.service.fails_open {
            true => all.iter().filter(|i| i.health != Health::Draining).collect(),
            false => fit,
        };
        if accepted.iter().any(|i| i.weight > 0) {
            accepted.retain(|i| i.weight > 0);
        }
        accepted.sort_by_cached_key(|i| {
            let host = i.host.as_deref().map(|host| wire(&name(host)));
            (host, i.addresses.iter().min().copied(), i.port)
        });
        accepted
    }

    pub fn at_service(&mut self, qtype: RecordType) -> Found {
        let found = match qtype {
            RecordType::A => self.addresses(List::V4),
            RecordType::AAAA => self.addresses(List::V6),
            RecordType::SRV => self.main_srv(),
            RecordType::CNAME => self.alias(),
            RecordType::ANY => {
                self.addresses(List::V4).or_else(|| self.addresses(List::V6)).or_else(|| self.main_srv())
            }
            _ => None,
        };
        found.unwrap_or_else(|| self.nothing())
    }

    /// NODATA, or unknown: no instance is eligible and a member is not synced.
    fn nothing(&self) -> Found {
        if self.complete() || !self.accepted().is_empty() { Found::NoData } else { Found::Unknown }
    }

    /// The records of all addresses of one family, each once.
    fn all_addresses(&self, instances: &[&Given], list: &List) -> Vec<Record> {
        let mut seen = HashSet::new();
        let mut records = Vec::new();
        for address in instances.iter().flat_map(|instance| sorted(&instance.addresses)) {
            match (list, address) {
                _ if !seen.insert(address) => {}
                (List::V4, IpAddr::V4(address)) => records.push(a(self.owner, self.service.ttl, address)),
                (List::V6, IpAddr::V6(address)) => records.push(aaaa(self.owner, self.service.ttl, address)),
                _ => {}
            }
        }
        records
    }

    fn hosts(&self) -> Vec<Record> {
        let mut hosts = Vec::new();
        for host in self.accepted().iter().filter_map(|i| i.host.as_deref()) {
            let record =
                Record::from_rdata(self.owner.clone(), self.service.ttl, RData::CNAME(CNAME(name(host))));
            if !hosts.contains(&record) {
                hosts.push(record);
            }
        }
        hosts
    }

    /// Addresses, starting at this query's turn. An instance with a host name takes its turn as a
    /// CNAME, alone.
    fn addresses(&mut self, list: List) -> Option<Found> {
        let (records, hosts) = (self.all_addresses(&self.accepted(), &list), self.hosts());
        let all = records.len() + hosts.len();
        if all == 0 {
            return None;
        }
        let start = self.turn(list) % all;
        Some(match start.checked_sub(records.len()) {
            Some(host) => Found::Records(vec![hosts[host].clone()], true),
            None => {
                let records = window(&records, start, self.service.max_answers);
                Found::Records(records, self.zone.truncate_addresses)
            }
        })
    }

    /// CNAME queries share the turns of A queries.
    fn alias(&mut self) -> Option<Found> {
        let hosts = self.hosts();
        (!hosts.is_empty()).then(|| {
            let start = self.turn(List::V4) % hosts.len();
            Found::Records(vec![hosts[start].clone()], true)
        })
    }

    fn main_srv(&mut self) -> Option<Found> {
        let accepted = self.accepted();
        let records = accepted.iter().filter(|i| i.port != 0).map(|i| (*i, i.port)).collect();
        self.srv(List::Srv, records)
    }

    fn srv(&mut self, list: List, mut records: Vec<(&Given, u16)>) -> Option<Found> {
        // Two instances on one host with different main ports may have a named port in common.
        let mut seen = HashSet::new();
        records.retain(|(instance, port)| {
            seen.insert((instance.host.as_ref().unwrap_or(&instance.label), instance.weight, *port))
        });
        if records.is_empty() {
            return None;
        }
        let start = self.turn(list) % records.len();
        let records = window(&records, start, self.service.max_answers);
        let mut targets: Vec<Vec<Record>> = Vec::new();
        for (instance, _) in &records {
            let mut target = Vec::new();
            let owner = self.target(instance);
            for address in sorted(&instance.addresses) {
                target.push(match address {
                    IpAddr::V4(address) => a(&owner, self.service.ttl, address),
                    IpAddr::V6(address) => aaaa(&owner, self.service.ttl, address),
                });
            }
            if !target.is_empty() && !targets.contains(&target) {
                targets.push(target);
            }
        }
        let records = records.iter().map(|(instance, port)| self.srv_record(instance, *port)).collect();
        Some(Found::Targets(records, targets))
    }

    fn srv_record(&self, instance: &Given, port: u16) -> Record {
        let srv = SRV::new(0, instance.weight, port, self.target(instance));
        Record::from_rdata(self.owner.clone(), self.service.ttl, RData::SRV(srv))
    }

    fn target(&self, instance: &Given) -> Name {
        let in_zone = || format!("{}.{}.{}", instance.label, self.service.name, self.zone.apex);
        name(&instance.host.clone().unwrap_or_else(in_zone))
    }

    /// The names below the service's own: instances, and ports as `_port._proto`.
    pub fn below(&mut self, labels: &[Vec<u8>], qtype: RecordType) -> Found {
        let instances = &self.service.instances;
        let aliases = self.service.also.iter().map(|(at, id)| (*id, &instances[*at]));
        let own = instances.iter().map(|instance| (instance.label.as_str(), instance));
        let instance = own.chain(aliases).find(|(label, _)| labels == [label.as_bytes()]);
        if let Some((_, instance)) = instance {
            return self.at_instance(instance, qtype);
        }
        // A port's name exists, even if no instance that has it is healthy.
        let names: Vec<_> = self
            .service
            .instances
            .iter()
            .flat_map(|instance| &instance.ports)
            .map(|(name, protocol, _)| port_labels(name, *protocol))
            .collect();
        let ports: Vec<_> = self
            .accepted()
            .into_iter()
            .flat_map(|instance| instance.ports.iter().map(move |port| (instance, port)))
            .map(|(instance, (name, protocol, port))| (port_labels(name, *protocol), instance, *port))
            .collect();
        if names.iter().any(|port| port == labels) {
            if !matches!(qtype, RecordType::SRV | RecordType::ANY) {
                return Found::NoData;
            }
            let records = ports.iter().filter(|(port, ..)| port == labels);
            let records = records.map(|(_, instance, port)| (*instance, *port)).collect();
            return self.srv(List::Port(labels.to_vec()), records).unwrap_or_else(|| self.nothing());
        }
        match names.iter().any(|port| port.ends_with(labels)) {
            true => Found::NoData,
            false if self.complete() => Found::NoName,
            false => Found::Unknown,
        }
    }

    fn at_instance(&self, instance: &Given, qtype: RecordType) -> Found {
        if let Some(host) = &instance.host {
            let data = RData::CNAME(CNAME(name(host)));
            return Found::Records(
                vec![Record::from_rdata(self.owner.clone(), self.service.ttl, data)],
                true,
            );
        }
        let v4 = self.all_addresses(&[instance], &List::V4);
        let v6 = self.all_addresses(&[instance], &List::V6);
        let records = match qtype {
            RecordType::A => v4,
            RecordType::AAAA => v6,
            RecordType::ANY if v4.is_empty() => v6,
            RecordType::ANY => v4,
            _ => Vec::new(),
        };
        match records.is_empty() {
            true => Found::NoData,
            false => Found::Records(records, self.zone.truncate_addresses),
        }
    }
}

fn port_labels(name: &str, protocol: Protocol) -> Vec<Vec<u8>> {
    vec![format!("_{name}").into_bytes(), format!("_{protocol}").into_bytes()]
}

fn sorted(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut addresses = addresses.to_vec();
    addresses.sort_unstable();
    addresses
}

/// At most `most` items of a list, from `start` on, wrapping around.
fn window<T: Clone>(list: &[T], start: usize, most: usize) -> Vec<T> {
    list.iter().cycle().skip(start).take(list.len().min(most)).cloned().collect()
}
