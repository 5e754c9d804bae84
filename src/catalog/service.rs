//! Services in compiled form: everything that an answer needs, in a few compact arrays.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
    sync::Arc,
};

use super::{
    pool::{InstanceId, Pool, Routing},
    zone::Zone,
};
use crate::model::Name;

/// A compiled service.
#[derive(Debug)]
pub struct Service {
    /// The owner name.
    pub name: Name,
    /// The zone that the name is in.
    pub zone: Arc<Zone>,
    /// TTL of its records, in seconds.
    pub ttl: u32,
    /// Most records of one type in one answer.
    pub max_answers: u16,
    /// Whether records are shuffled instead of rotated.
    pub random: bool,
    /// Whether every member is synced. If not, a missing instance or port may still exist.
    pub all_synced: bool,
    /// The records at its name.
    pub answers: Answers,
    /// The named ports, `_port._proto` as labels in wire format, sorted. They exist whatever the
    /// health of the instances that have them.
    pub ports: Box<[Box<[u8]>]>,
    /// Every instance, whatever its health.
    pub instances: PackedInstances,
    /// For each named port, the instances that some client gets, sorted; empty if the zone cannot
    /// be browsed.
    pub browsed: Box<[Box<[InstanceId]>]>,
}

/// The records at a service's name.
#[derive(Debug)]
pub enum Answers {
    /// One pool for every client.
    Same(Pool),
    /// Several pools: the client or a split decides. Boxed, since few services have them.
    Routed(Box<Routing>),
    /// An alias: a CNAME to an external name.
    Alias(Name),
}

/// The meaning of a name at or below a service's own.
#[derive(Clone, Copy, Debug)]
pub enum Position<'s> {
    /// The service itself.
    Itself,
    /// One instance.
    Instance(InstanceAnswer<'s>),
    /// The named port with this index.
    Port(usize),
    /// Above a named port, such as `_tcp`: it has no records, but it exists (RFC 8020 section 2).
    AbovePort,
    /// None of these.
    Nowhere,
}

impl Service {
    /// Finds what the labels in front of the service's name stand for. They are in wire format,
    /// without the root's byte.
    #[inline]
    pub fn position(&self, below: &[u8]) -> Position<'_> {
        if below.is_empty() {
            return Position::Itself;
        }
        if let Some(instance) = self.instances.find(below) {
            return Position::Instance(instance);
        }
        if let Some(port) = self.port(below) {
            return Position::Port(port);
        }
        if self.ports.iter().any(|labels| labels.ends_with(below)) {
            return Position::AbovePort;
        }
        Position::Nowhere
    }

    /// The index of `_port._proto`, given as labels in wire format, among the named ports.
    pub fn port(&self, labels: &[u8]) -> Option<usize> {
        self.ports.iter().position(|port| **port == *labels)
    }

    /// All pools that are not rings.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        let (same, routed) = match &self.answers {
            Answers::Same(pool) => (Some(pool), None),
            Answers::Routed(routing) => (None, Some(routing)),
            Answers::Alias(_) => (None, None),
        };
        let groups = routed.into_iter().flat_map(|routing| &routing.routes).flat_map(|route| &route.groups);
        same.into_iter().chain(groups.map(|group| &group.all))
    }

    /// Whether answers depend on the client.
    pub fn depends_on_client(&self) -> bool {
        matches!(&self.answers, Answers::Routed(routing) if routing.by_client)
    }

    /// Whether some client gets an instance, or the service is an alias.
    pub fn has_eligible(&self) -> bool {
        matches!(self.answers, Answers::Alias(_)) || self.pools().any(Pool::has_any)
    }
}

/// The instances of one service. Labels and addresses are packed into one array each, since there
/// may be a million.
#[derive(Debug, Default)]
pub struct PackedInstances {
    /// Sorted by label. An instance has one row for each label.
    rows: Box<[Row]>,
    /// Labels in wire format, one behind the other. If `has_txt`, each is followed by its TXT data:
    /// two bytes of length, then the data.
    labels: Box<[u8]>,
    has_txt: bool,
    v4: Box<[Ipv4Addr]>,
    v6: Box<[Ipv6Addr]>,
    hosts: Box<[Name]>,
}

#[derive(Clone, Debug)]
struct Row {
    label: u32,
    v4: PackedRange,
    v6: PackedRange,
    /// Index into `hosts`, if the instance has a host name instead of addresses.
    host: Option<u32>,
}

/// A range within one of the arrays.
#[derive(Clone, Copy, Debug, Default)]
struct PackedRange {
    start: u32,
    length: u16,
}

impl PackedRange {
    fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + usize::from(self.length)
    }
}

/// The records at an instance's own name.
#[derive(Clone, Copy, Debug)]
pub struct InstanceAnswer<'s> {
    /// The label below the service's name, in wire format.
    pub label: &'s [u8],
    /// IPv4 addresses.
    pub v4: &'s [Ipv4Addr],
    /// IPv6 addresses.
    pub v6: &'s [Ipv6Addr],
    /// The target of its CNAME; then it has no addresses.
    pub host: Option<&'s Name>,
}

impl PackedInstances {
    /// Finds an instance by its lower-case label in wire format.
    pub fn find(&self, label: &[u8]) -> Option<InstanceAnswer<'_>> {
        self.row(label).map(|row| self.answer(row))
    }

    /// Returns an instance by its number.
    pub fn get(&self, id: InstanceId) -> Option<InstanceAnswer<'_>> {
        self.rows.get(id.0 as usize).map(|row| self.answer(row))
    }

    /// The TXT data of the instance with this label in wire format; `None` without such an instance
    /// or without TXT data.
    pub fn txt(&self, label: &[u8]) -> Option<&[u8]> {
        let row = self.row(label).filter(|_| self.has_txt)?;
        let behind = self.labels.get(row.label as usize + label.len()..)?;
        let (length, data) = behind.split_first_chunk()?;
        data.get(..usize::from(u16::from_be_bytes(*length)))
    }

    /// The number of the instance with this label, without its length.
    pub(super) fn id(&self, label: &str) -> Option<InstanceId> {
        // Rows are sorted by wire labels, so shorter labels come first.
        let wanted = (label.len(), label.as_bytes());
        let at = self.rows.binary_search_by(|row| {
            let label = self.label(row).get(1..).unwrap_or_default();
            (label.len(), label).cmp(&wanted)
        });
        at.ok().map(|at| InstanceId(index(at)))
    }

    /// All instances sorted by label, once for each label.
    pub fn iter(&self) -> impl Iterator<Item = InstanceAnswer<'_>> {
        self.rows.iter().map(|row| self.answer(row))
    }

    fn row(&self, label: &[u8]) -> Option<&Row> {
        let at = self.rows.binary_search_by(|row| self.label(row).cmp(label)).ok()?;
        self.rows.get(at)
    }

    fn answer(&self, row: &Row) -> InstanceAnswer<'_> {
        debug_assert!(self.v4.get(row.v4.range()).is_some(), "a row's range is within the array");
        debug_assert!(self.v6.get(row.v6.range()).is_some(), "a row's range is within the array");
        InstanceAnswer {
            label: self.label(row),
            v4: self.v4.get(row.v4.range()).unwrap_or_default(),
            v6: self.v6.get(row.v6.range()).unwrap_or_default(),
            host: row.host.and_then(|at| self.hosts.get(at as usize)),
        }
    }

    fn label(&self, row: &Row) -> &[u8] {
        let from = self.labels.get(row.label as usize..).unwrap_or_default();
        let length = from.first().map_or(0, |length| usize::from(*length) + 1);
        debug_assert!((2..=from.len()).contains(&length), "a row points to a whole label");
        from.get(..length).unwrap_or_default()
    }
}

/// Builds [`PackedInstances`].
#[derive(Debug, Default)]
pub(super) struct PackedInstancesBuilder {
    rows: Vec<Row>,
    labels: Vec<u8>,
    has_txt: bool,
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    hosts: Vec<Name>,
}

impl PackedInstancesBuilder {
    /// Begins with no instances; `has_txt`: each has TXT data.
    pub(super) fn new(has_txt: bool) -> Self {
        Self { has_txt, ..Self::default() }
    }

    /// Adds an instance under labels of at most 63 bytes. A label that is taken is left out.
    pub(super) fn add<'a>(
        &mut self,
        labels: impl IntoIterator<Item = &'a str>,
        v4: &[Ipv4Addr],
        v6: &[Ipv6Addr],
        host: Option<&Name>,
        txt: &[u8],
    ) {
        let v4 = PackedRange::append(&mut self.v4, v4);
        let v6 = PackedRange::append(&mut self.v6, v6);
        let host = host.map(|name| {
            self.hosts.push(name.clone());
            index(self.hosts.len() - 1)
        });
        for label in labels {
            debug_assert!((1..=63).contains(&label.len()), "instance labels fit a DNS label");
            debug_assert!(txt.len() <= usize::from(u16::MAX), "TXT data fits a message");
            let row = Row { label: index(self.labels.len()), v4, v6, host };
            self.labels.push(u8::try_from(label.len()).unwrap_or(0));
            self.labels.extend_from_slice(label.as_bytes());
            if self.has_txt {
                self.labels.extend_from_slice(&u16::try_from(txt.len()).unwrap_or(0).to_be_bytes());
                self.labels.extend_from_slice(txt);
            }
            self.rows.push(row);
        }
    }

    pub(super) fn build(self) -> PackedInstances {
        let mut instances = PackedInstances {
            rows: Box::default(),
            labels: self.labels.into(),
            has_txt: self.has_txt,
            v4: self.v4.into(),
            v6: self.v6.into(),
            hosts: self.hosts.into(),
        };
        let mut rows = self.rows;
        rows.sort_by(|a, b| instances.label(a).cmp(instances.label(b)));
        rows.dedup_by(|a, b| instances.label(a) == instances.label(b));
        instances.rows = rows.into();
        instances
    }
}

impl PackedRange {
    fn append<T: Copy>(all: &mut Vec<T>, some: &[T]) -> Self {
        let start = index(all.len());
        let length = u16::try_from(some.len()).unwrap_or(u16::MAX);
        all.extend_from_slice(some.get(..usize::from(length)).unwrap_or_default());
        Self { start, length }
    }
}

/// An index into an array of one service.
fn index(at: usize) -> u32 {
    debug_assert!(u32::try_from(at).is_ok(), "a service has fewer than 2^32 instances");
    u32::try_from(at).unwrap_or(u32::MAX)
}
