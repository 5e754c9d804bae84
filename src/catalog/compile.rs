//! Compiling: from a service's candidates to what is answered.

use std::{collections::HashMap, sync::Arc};

use super::{
    rotation::{RotationIds, ServiceRotations},
    snapshot::{InstanceAnswer, PortAnswers, Service, SrvRecord, SrvTarget},
};
use crate::{
    config::Shape,
    model::{Name, Protocol},
    policy::{Candidate, Place, accept},
};

/// Compiles one service. `complete` says whether all its members have been heard.
pub(super) fn compile(
    name: &Name,
    shape: &Shape,
    complete: bool,
    candidates: &[Candidate],
    rotations: &mut ServiceRotations,
    ids: &mut RotationIds,
) -> Service {
    let accepted = accept(candidates, shape);
    let (instances, by_label) = instance_answers(name, candidates);
    let target_of = |candidate: &Candidate| -> Option<SrvTarget> {
        match &candidate.place {
            Place::Host(host) => Some(SrvTarget::Host(host.clone())),
            Place::Addresses { .. } => {
                by_label.get(candidate.label.as_str()).cloned().map(SrvTarget::Instance)
            }
        }
    };
    let record = |candidate: &Candidate, port: u16| -> Option<SrvRecord> {
        let target = target_of(candidate)?;
        Some(SrvRecord { priority: SRV_PRIORITY, weight: candidate.weight, port, target })
    };

    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    let mut hosts = Vec::new();
    let mut srv = Vec::new();
    let mut ports: HashMap<Box<[u8]>, Vec<SrvRecord>> = HashMap::new();
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
            if let Some(labels) = port_labels(&named.name, named.protocol) {
                ports.entry(labels).or_default().extend(record(candidate, named.port));
            }
        }
    }
    // Candidates are sorted by place, so equal addresses (instances on one host) need not stand side by side.
    dedup_in_order(&mut v4);
    dedup_in_order(&mut v6);
    dedup_in_order(&mut hosts);

    rotations.ports.retain(|labels, id| {
        let kept = ports.contains_key(labels);
        if !kept {
            ids.give_back(*id);
        }
        kept
    });
    let ports = ports
        .into_iter()
        .map(|(labels, records)| {
            let rotation = *rotations.ports.entry(labels.clone()).or_insert_with(|| ids.take());
            (labels, PortAnswers { records: records.into(), rotation })
        })
        .collect();

    Service {
        name: name.clone(),
        ttl: shape.ttl,
        max_answers: shape.max_answers,
        complete,
        failed_open: accepted.failed_open,
        total: candidates.len(),
        v4: v4.into(),
        v6: v6.into(),
        hosts: hosts.into(),
        v4_rotation: rotations.v4,
        v6_rotation: rotations.v6,
        srv: PortAnswers { records: srv.into(), rotation: rotations.srv },
        ports,
        instances,
    }
}

/// Every SRV record has the same priority: tiers decide who is answered, not who is tried first.
const SRV_PRIORITY: u16 = 0;

type ByWireLabel = HashMap<Box<[u8]>, Arc<InstanceAnswer>>;

/// Makes the answers at the instances' own names: by wire label (aliases too), and by label for SRV targets.
fn instance_answers<'a>(
    service: &Name,
    candidates: &'a [Candidate],
) -> (ByWireLabel, HashMap<&'a str, Arc<InstanceAnswer>>) {
    let mut by_wire = HashMap::with_capacity(candidates.len());
    let mut by_label = HashMap::with_capacity(candidates.len());
    for candidate in candidates {
        // Only a service whose own name is close to 255 octets has no room for an instance's label.
        let Ok(name) = service.child(candidate.label.as_bytes()) else { continue };
        let (v4, v6, host) = match &candidate.place {
            Place::Addresses { v4, v6 } => (v4.as_slice(), v6.as_slice(), None),
            Place::Host(host) => (&[][..], &[][..], Some(host.clone())),
        };
        let answer = Arc::new(InstanceAnswer { name, v4: v4.into(), v6: v6.into(), host });
        for label in std::iter::once(&candidate.label).chain(&candidate.aliases) {
            by_wire.insert(wire_label(label), Arc::clone(&answer));
        }
        by_label.insert(candidate.label.as_str(), answer);
    }
    (by_wire, by_label)
}

/// A label with its length in front. Labels of candidates and ports are at most 63 octets long.
fn wire_label(label: &str) -> Box<[u8]> {
    let length = u8::try_from(label.len()).unwrap_or(0);
    std::iter::once(length).chain(label.bytes()).collect()
}

/// `_port._proto` as wire labels; `None` where the port's name is no label.
fn port_labels(name: &str, protocol: Protocol) -> Option<Box<[u8]>> {
    let fits = !name.is_empty() && name.len() <= 62;
    let label = |text: &str| wire_label(&format!("_{}", text.to_ascii_lowercase()));
    fits.then(|| [label(name), label(protocol.as_str())].concat().into())
}

fn dedup_in_order<T: Clone + Eq + std::hash::Hash>(values: &mut Vec<T>) {
    let mut seen = std::collections::HashSet::with_capacity(values.len());
    values.retain(|value| seen.insert(value.clone()));
}
