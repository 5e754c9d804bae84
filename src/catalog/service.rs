//! One service as it is answered: everything that any question about it needs, in a few compact
//! arrays.

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
    /// The service's name.
    pub name: Name,
    /// The zone that it belongs to.
    pub zone: Arc<Zone>,
    /// TTL of its records, in seconds.
    pub ttl: u32,
    /// Records of one type in one answer.
    pub max_answers: u16,
    /// Whether they are shuffled.
    pub random: bool,
    /// Whether every one of its members has been heard; if not, what is missing may still exist.
    pub all_synced: bool,
    /// What is answered.
    pub answers: Answers,
    /// The names of its ports, `_port._proto` as wire labels without an end, sorted. They exist
    /// whatever the health of who has them, as the service's own does.
    pub ports: Box<[Box<[u8]>]>,
    /// Every instance, whatever its health.
    pub instances: PackedInstances,
    /// For each named port the instances that are answered to anybody, sorted; empty where nobody
    /// can browse.
    pub browsed: Box<[Box<[InstanceId]>]>,
}

/// What a service's name is answered with.
#[derive(Debug)]
pub enum Answers {
    /// The same records for everybody.
    Same(Pool),
    /// It depends on whose turn it is or on who asks. Boxed, since few services have it.
    Routed(Box<Routing>),
    /// It is another name of one that is not ours.
    Alias(Name),
}

/// What a name at or below a service's own is.
#[derive(Clone, Copy, Debug)]
pub enum Position<'s> {
    /// The service itself.
    Itself,
    /// One instance.
    Instance(InstanceAnswer<'s>),
    /// The named port at this place.
    Port(usize),
    /// Above a named port, such as `_tcp`: it has no records, but it exists (RFC 8020 section 2).
    AbovePort,
    /// Nothing that a member has reported.
    Nowhere,
}

impl Service {
    /// What the name is that has these labels in front of the service's: wire format without an
    /// end.
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

    /// The place of `_port._proto`, given as wire labels, among its named ports.
    pub fn port(&self, labels: &[u8]) -> Option<usize> {
        self.ports.iter().position(|port| **port == *labels)
    }

    /// Iterates over the pools that there are, whoever they are for.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        let (same, routed) = match &self.answers {
            Answers::Same(pool) => (Some(pool), None),
            Answers::Routed(routing) => (None, Some(routing)),
            Answers::Alias(_) => (None, None),
        };
        let groups = routed.into_iter().flat_map(|routing| &routing.routes).flat_map(|route| &route.groups);
        same.into_iter().chain(groups.map(|group| &group.all))
    }

    /// Tells whether what is answered depends on who asks.
    pub fn depends_on_client(&self) -> bool {
        matches!(&self.answers, Answers::Routed(routing) if routing.by_client)
    }

    /// Tells whether any instance is answered to anybody.
    pub fn has_eligible(&self) -> bool {
        matches!(self.answers, Answers::Alias(_)) || self.pools().any(Pool::has_any)
    }
}

/// The instances of one service: labels and addresses packed into one array each, since there may
/// be a million.
#[derive(Debug, Default)]
pub struct PackedInstances {
    /// Sorted by label (aliases are rows of their own), so that a question's label can be searched
    /// for.
    rows: Box<[Row]>,
    /// Wire labels (length, then octets), one behind the other; each with its TXT data behind it
    /// (two octets that are its length, then the data) where `has_txt`.
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
    /// Its place in `hosts`, if it has a host name instead of addresses.
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

/// One instance as it is answered at its own name.
#[derive(Clone, Copy, Debug)]
pub struct InstanceAnswer<'s> {
    /// Its label below the service's name, in wire format.
    pub label: &'s [u8],
    /// Its IPv4 addresses.
    pub v4: &'s [Ipv4Addr],
    /// Its IPv6 addresses.
    pub v6: &'s [Ipv6Addr],
    /// The host name that it is an alias of; then it has no addresses.
    pub host: Option<&'s Name>,
}

impl PackedInstances {
    /// Finds an instance by its label in wire format, lower case.
    pub fn find(&self, label: &[u8]) -> Option<InstanceAnswer<'_>> {
        self.row(label).map(|row| self.answer(row))
    }

    /// Returns an instance by its number.
    pub fn get(&self, id: InstanceId) -> Option<InstanceAnswer<'_>> {
        self.rows.get(id.0 as usize).map(|row| self.answer(row))
    }

    /// The TXT data of the instance with this label in wire format; `None` if the service's
    /// instances have none.
    pub fn txt(&self, label: &[u8]) -> Option<&[u8]> {
        let row = self.row(label).filter(|_| self.has_txt)?;
        let behind = self.labels.get(row.label as usize + label.len()..)?;
        let (length, data) = behind.split_first_chunk()?;
        data.get(..usize::from(u16::from_be_bytes(*length)))
    }

    /// The number of the instance with this label, given as text.
    pub(super) fn id(&self, label: &str) -> Option<InstanceId> {
        // The length octet in front sorts as a label's first octet does.
        let wanted = (label.len(), label.as_bytes());
        let at = self.rows.binary_search_by(|row| {
            let label = self.label(row).get(1..).unwrap_or_default();
            (label.len(), label).cmp(&wanted)
        });
        at.ok().map(|at| InstanceId(index(at)))
    }

    /// Iterates over all names of instances, aliases too, in the order of their labels.
    pub fn iter(&self) -> impl Iterator<Item = InstanceAnswer<'_>> {
        self.rows.iter().map(|row| self.answer(row))
    }

    fn row(&self, label: &[u8]) -> Option<&Row> {
        let at = self.rows.binary_search_by(|row| self.label(row).cmp(label)).ok()?;
        self.rows.get(at)
    }

    fn answer(&self, row: &Row) -> InstanceAnswer<'_> {
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
        from.get(..length).unwrap_or_default()
    }
}

/// Packs instances.
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
    /// Instances that have TXT records, or have none.
    pub(super) fn new(has_txt: bool) -> Self {
        Self { has_txt, ..Self::default() }
    }

    /// Adds an instance under several labels, each at most 63 octets; a label that is taken already
    /// is left out. `text` is its TXT data, if there is any.
    pub(super) fn add<'a>(
        &mut self,
        labels: impl IntoIterator<Item = &'a str>,
        v4: &[Ipv4Addr],
        v6: &[Ipv6Addr],
        host: Option<&Name>,
        text: &[u8],
    ) {
        let v4 = PackedRange::append(&mut self.v4, v4);
        let v6 = PackedRange::append(&mut self.v6, v6);
        let host = host.map(|name| {
            self.hosts.push(name.clone());
            index(self.hosts.len() - 1)
        });
        for label in labels {
            let row = Row { label: index(self.labels.len()), v4, v6, host };
            self.labels.push(u8::try_from(label.len()).unwrap_or(0));
            self.labels.extend_from_slice(label.as_bytes());
            if self.has_txt {
                self.labels.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
                self.labels.extend_from_slice(text);
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

/// An index into an array of one service, which never has four thousand million entries.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
