//! Records: what each candidate of a pool adds to the pool's lists.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{
    dns_sd::{has_port_labels, port_labels},
    pool::SrvRecord,
    record_list::RecordList,
    service::PackedInstances,
};
use crate::{
    model::Name,
    policy::{Candidate, CandidateTarget},
};

/// One record that a candidate adds to a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CandidateRecord<'c> {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    /// Takes the place of addresses.
    Cname(&'c Name),
    /// An SRV record with this port.
    Srv(u16),
}

/// Why a candidate adds nothing to a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lacks {
    NoIpv4,
    NoIpv6,
    /// No source reports its main port.
    NoPort,
    /// It has no port of that name.
    NoSuchPort,
}

/// The records that a candidate adds to a list, at least one.
///
/// # Errors
///
/// What the candidate lacks, if it adds none.
pub(super) fn contribution<'c, 'l>(
    candidate: &'c Candidate,
    list: RecordList<&'l [u8]>,
) -> Result<impl Iterator<Item = CandidateRecord<'c>> + use<'c, 'l>, Lacks> {
    let (mut v4, mut v6): (&[_], &[_]) = (&[], &[]);
    let (mut host, mut port, mut named) = (None, None, None);
    match (list, &candidate.target) {
        (RecordList::V4 | RecordList::V6, CandidateTarget::Host(name)) => host = Some(name),
        (RecordList::V4, CandidateTarget::Addresses { v4: own, .. }) => v4 = own,
        (RecordList::V6, CandidateTarget::Addresses { v6: own, .. }) => v6 = own,
        (RecordList::Srv, _) => port = Some(candidate.port).filter(|port| *port != 0),
        (RecordList::NamedPort(labels), _) => named = Some(labels),
    }
    let named = named.into_iter().flat_map(|labels| {
        candidate.named_ports.iter().filter(move |port| has_port_labels(port, labels)).map(|named| named.port)
    });
    let mut records = v4
        .iter()
        .map(|address| CandidateRecord::A(*address))
        .chain(v6.iter().map(|address| CandidateRecord::Aaaa(*address)))
        .chain(host.map(CandidateRecord::Cname))
        .chain(port.into_iter().chain(named).map(CandidateRecord::Srv))
        .peekable();
    match records.peek() {
        Some(_) => Ok(records),
        None => Err(match list {
            RecordList::V4 => Lacks::NoIpv4,
            RecordList::V6 => Lacks::NoIpv6,
            RecordList::Srv => Lacks::NoPort,
            RecordList::NamedPort(_) => Lacks::NoSuchPort,
        }),
    }
}

/// The records of one pool with their weights, in the order of its candidates.
#[derive(Default)]
pub(super) struct PoolRecords {
    /// Each address once: instances on one host share it.
    pub(super) v4: Vec<(Ipv4Addr, u32)>,
    pub(super) v6: Vec<(Ipv6Addr, u32)>,
    /// Targets of CNAME records, each once.
    pub(super) hosts: Vec<(Name, u32)>,
    pub(super) srv: Vec<SrvRecord>,
    /// By named port of the service.
    pub(super) of_ports: Vec<Vec<SrvRecord>>,
}

impl PoolRecords {
    /// Gathers the records of `candidates`, whose service has these instances and named ports.
    pub(super) fn gather(
        candidates: &[&Candidate],
        instances: &PackedInstances,
        ports: &[Box<[u8]>],
    ) -> Self {
        let mut records = Self { of_ports: vec![Vec::new(); ports.len()], ..Self::default() };
        // Two instances on one host that is given by name may have a named port in common.
        let mut seen = HashSet::new();
        for candidate in candidates {
            records.add_addresses(candidate);
            // A candidate whose label does not fit below the service's name has no SRV records.
            let Some(instance) = instances.id(&candidate.label) else { continue };
            let srv = |list| {
                let records = contribution(candidate, list).into_iter().flatten();
                records.filter_map(|record| match record {
                    CandidateRecord::Srv(port) => {
                        Some(SrvRecord { weight: candidate.weight, port, instance })
                    }
                    _ => None,
                })
            };
            records.srv.extend(srv(RecordList::Srv));
            let labels = candidate.named_ports.iter().filter_map(port_labels);
            let own: BTreeSet<_> = labels.filter_map(|labels| ports.binary_search(&labels).ok()).collect();
            for at in own {
                let (Some(list), Some(labels)) = (records.of_ports.get_mut(at), ports.get(at)) else {
                    continue;
                };
                let is_new = |record: &SrvRecord| match &candidate.target {
                    CandidateTarget::Host(host) => seen.insert((at, host, record.weight, record.port)),
                    CandidateTarget::Addresses { .. } => true,
                };
                list.extend(srv(RecordList::NamedPort(labels)).filter(is_new));
            }
        }
        Self { v4: dedup(records.v4), v6: dedup(records.v6), hosts: dedup(records.hosts), ..records }
    }

    fn add_addresses(&mut self, candidate: &Candidate) {
        let weight = u32::from(candidate.weight);
        let records = [RecordList::V4, RecordList::V6].map(|list| contribution(candidate, list));
        for record in records.into_iter().flatten().flatten() {
            match record {
                CandidateRecord::A(address) => self.v4.push((address, weight)),
                CandidateRecord::Aaaa(address) => self.v6.push((address, weight)),
                CandidateRecord::Cname(host) => self.hosts.push((host.clone(), weight)),
                CandidateRecord::Srv(_) => {}
            }
        }
    }
}

/// Leaves each value once, at its first place, with the largest of its weights.
fn dedup<T: Clone + Eq + Hash>(values: Vec<(T, u32)>) -> Vec<(T, u32)> {
    let mut places: HashMap<T, usize> = HashMap::with_capacity(values.len());
    let mut kept: Vec<(T, u32)> = Vec::with_capacity(values.len());
    for (value, weight) in values {
        match places.get(&value).and_then(|place| kept.get_mut(*place)) {
            Some((_, largest)) => *largest = weight.max(*largest),
            None => {
                places.insert(value.clone(), kept.len());
                kept.push((value, weight));
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{CandidateRecord::*, *};
    use crate::{
        model::{Health, NamedPort, Protocol},
        policy::testing::candidate,
    };

    const HTTP: &[u8] = b"\x05_http\x04_tcp";
    const GRPC: &[u8] = b"\x05_grpc\x04_tcp";

    #[rstest]
    #[case(RecordList::V4, Ok(vec![A([127, 0, 0, 1].into())]))]
    #[case(RecordList::V6, Err(Lacks::NoIpv6))]
    #[case(RecordList::Srv, Ok(vec![Srv(80)]))]
    #[case(RecordList::NamedPort(HTTP), Ok(vec![Srv(8080), Srv(8081)]))]
    #[case(RecordList::NamedPort(GRPC), Err(Lacks::NoSuchPort))]
    fn a_candidate_adds_what_it_has_or_says_what_it_lacks(
        #[case] list: RecordList<&[u8]>,
        #[case] expected: Result<Vec<CandidateRecord<'_>>, Lacks>,
    ) {
        let port = |port| NamedPort { name: "http".into(), protocol: Protocol::Tcp, port };
        let named_ports = vec![port(8080), port(8081)];
        let candidate = Candidate { named_ports, ..candidate("a", Health::Healthy) };
        assert_eq!(contribution(&candidate, list).map(Iterator::collect), expected);
    }

    #[test]
    fn a_host_name_takes_the_place_of_addresses_but_not_of_ports() {
        let host: Name = "db.example".parse().unwrap();
        let target = CandidateTarget::Host(host.clone());
        let candidate = Candidate { target, port: 0, ..candidate("a", Health::Healthy) };
        let records = |list| contribution(&candidate, list).map(Iterator::collect::<Vec<_>>);
        assert_eq!(records(RecordList::V4), Ok(vec![Cname(&host)]));
        assert_eq!(records(RecordList::V6), Ok(vec![Cname(&host)]));
        assert_eq!(records(RecordList::Srv), Err(Lacks::NoPort));
    }
}
