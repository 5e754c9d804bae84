//! Compiling: from a service's candidates to what is answered.

use std::{
    collections::{BTreeMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use super::{
    rotation::{RotationIds, ServiceRotations},
    service::{Instances, InstancesBuilder, NamedPortAnswers, PortAnswers, Service, SrvRecord},
    snapshot::Zone,
};
use crate::{
    config::Shape,
    model::{Name, Protocol},
    policy::{Candidate, Place, accept},
};

/// Compiles one service. `complete` says whether all its members have been heard.
pub(super) fn compile(
    name: &Name,
    zone: &Arc<Zone>,
    shape: &Shape,
    complete: bool,
    candidates: &[Candidate],
    rotations: &mut ServiceRotations,
    ids: &mut RotationIds,
) -> Service {
    let accepted = accept(candidates, shape);
    let instances = pack(name, candidates);
    let record = |candidate: &Candidate, port: u16| -> Option<SrvRecord> {
        let instance = instances.id(&candidate.label)?;
        Some(SrvRecord { weight: candidate.weight, port, instance })
    };

    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    let mut hosts = Vec::new();
    let mut srv = Vec::new();
    // The names of ports exist whatever the health of who has them, as the service's own does.
    let mut ports: BTreeMap<Box<[u8]>, Vec<SrvRecord>> = candidates
        .iter()
        .flat_map(|candidate| &candidate.named_ports)
        .filter_map(|named| Some((port_labels(&named.name, named.protocol)?, Vec::new())))
        .collect();
    // Two instances on one host that is given by name may have a named port in common.
    let mut seen = HashSet::new();
    for candidate in &accepted.candidates {
        match &candidate.place {
            Place::Addresses { v4: some, v6: others } => {
                v4.extend_from_slice(some);
                v6.extend_from_slice(others);
            }
            Place::Host(host) => hosts.push(host.clone()),
        }
        if candidate.port != 0 {
            srv.extend(record(candidate, candidate.port));
        }
        for named in &candidate.named_ports {
            let Some(labels) = port_labels(&named.name, named.protocol) else { continue };
            if let Place::Host(host) = &candidate.place
                && !seen.insert((labels.clone(), host, candidate.weight, named.port))
            {
                continue;
            }
            ports.entry(labels).or_default().extend(record(candidate, named.port));
        }
    }
    // Instances on one host share an address, and a set of records has each record once.
    dedup_in_order(&mut v4);
    dedup_in_order(&mut v6);
    dedup_in_order(&mut hosts);

    Service {
        name: name.clone(),
        zone: Arc::clone(zone),
        ttl: shape.ttl,
        max_answers: u16::try_from(shape.max_answers).unwrap_or(u16::MAX),
        complete,
        failed_open: accepted.failed_open,
        v4: v4.into(),
        v6: v6.into(),
        hosts: hosts.into(),
        v4_rotation: rotations.v4,
        v6_rotation: rotations.v6,
        srv: PortAnswers { records: srv.into(), rotation: rotations.srv },
        ports: named_ports(ports, rotations, ids),
        instances,
    }
}

/// Gives each named port its cursor, the one that it had before if it had one.
fn named_ports(
    ports: BTreeMap<Box<[u8]>, Vec<SrvRecord>>,
    rotations: &mut ServiceRotations,
    ids: &mut RotationIds,
) -> Box<[NamedPortAnswers]> {
    rotations.ports.retain(|labels, id| {
        let kept = ports.contains_key(labels);
        if !kept {
            ids.give_back(*id);
        }
        kept
    });
    let answers = |(labels, records): (Box<[u8]>, Vec<SrvRecord>)| {
        let rotation = *rotations.ports.entry(labels.clone()).or_insert_with(|| ids.take());
        NamedPortAnswers { labels, answers: PortAnswers { records: records.into(), rotation } }
    };
    ports.into_iter().map(answers).collect()
}

/// Packs all instances, whatever their health, under their labels and aliases.
fn pack(service: &Name, candidates: &[Candidate]) -> Instances {
    let mut instances = InstancesBuilder::default();
    for candidate in candidates {
        let labels = std::iter::once(&candidate.label).chain(&candidate.aliases);
        // Only a service whose own name is close to 255 octets has no room for an instance's label.
        let labels = labels
            .map(String::as_str)
            .filter(|label| !label.is_empty() && label.len() + 1 + service.as_wire().len() <= Name::MAX);
        match &candidate.place {
            Place::Addresses { v4, v6 } => instances.add(labels, v4, v6, None),
            Place::Host(host) => instances.add(labels, &[], &[], Some(host)),
        }
    }
    instances.build()
}

/// `_port._proto` as wire labels; `None` where the port's name is no label.
fn port_labels(name: &str, protocol: Protocol) -> Option<Box<[u8]>> {
    let mut labels = Vec::with_capacity(name.len() + 7);
    for text in [name, protocol.as_str()] {
        let length = u8::try_from(text.len() + 1).ok().filter(|length| (2..=63).contains(length))?;
        labels.extend([length, b'_']);
        labels.extend(text.bytes().map(|octet| octet.to_ascii_lowercase()));
    }
    Some(labels.into())
}

fn dedup_in_order<T: Clone + Eq + Hash>(values: &mut Vec<T>) {
    let mut seen = HashSet::with_capacity(values.len());
    values.retain(|value| seen.insert(value.clone()));
}
