//! Pools: the records that the instances of one group are answered with.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use super::{clients::ClientTest, record_list::RecordList, rotation::RotationId, weighted::Shares};
use crate::{
    model::Name,
    policy::{Locality, nearest_ring},
};

/// The number of an instance within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceId(pub(super) u32);

/// The records of one set of instances.
#[derive(Debug)]
pub struct Pool {
    /// IPv4 addresses without duplicates. `hosts` rotate behind them.
    pub v4: RotatingList<Ipv4Addr>,
    /// IPv6 addresses without duplicates. `hosts` rotate behind them.
    pub v6: RotatingList<Ipv6Addr>,
    /// Host names, each answered alone as a CNAME.
    pub hosts: Box<[Name]>,
    /// SRV records at the service's own name.
    pub srv: RotatingList<SrvRecord>,
    /// SRV records of each named port of the service.
    pub ports: Box<[RotatingList<SrvRecord>]>,
}

impl Pool {
    /// Whether the pool has any instance.
    pub fn has_any(&self) -> bool {
        !(self.v4.records.is_empty() && self.v6.records.is_empty() && self.hosts.is_empty())
    }

    /// Whether a list has any records.
    pub fn has_records(&self, list: RecordList<usize>) -> bool {
        match list {
            RecordList::V4 => !(self.v4.records.is_empty() && self.hosts.is_empty()),
            RecordList::V6 => !(self.v6.records.is_empty() && self.hosts.is_empty()),
            RecordList::Srv => !self.srv.records.is_empty(),
            RecordList::NamedPort(at) => self.ports.get(at).is_some_and(|list| !list.records.is_empty()),
        }
    }
}

/// Records of one type, and how they rotate.
#[derive(Debug)]
pub struct RotatingList<T> {
    /// The records, in a fixed order.
    pub records: Box<[T]>,
    /// The cursor that rotates them.
    pub rotation: RotationId,
    /// How often each record is first; `None`: one after the other. Boxed, since few lists have it.
    pub shares: Option<Box<Shares>>,
}

/// One SRV record (RFC 2782). The priority is always 0: muster answers only what clients should
/// use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SrvRecord {
    /// The weight.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The instance whose name is the target.
    pub instance: InstanceId,
}

/// The pools of a service whose answers depend on the client or on a split.
#[derive(Debug)]
pub struct Routing {
    /// The first route that matches the client decides; the last matches every client.
    pub routes: Box<[RoutePools]>,
    /// Whether any answer depends on the client.
    pub by_client: bool,
}

/// The pools of one route.
#[derive(Debug)]
pub struct RoutePools {
    /// The test that a client must pass; `None`: the route is for every client.
    pub clients: Option<ClientTest>,
    /// At least one.
    pub groups: Box<[GroupPools]>,
    /// How lookups are split between the groups.
    pub rotations: GroupRotations,
}

/// The pools of one group.
#[derive(Debug)]
pub struct GroupPools {
    /// All of the group.
    pub all: Pool,
    /// By availability zone.
    pub zones: Box<[(Arc<str>, Pool)]>,
    /// By region.
    pub regions: Box<[(Arc<str>, Pool)]>,
}

impl GroupPools {
    /// The pool for a client at `locality`. *Cost*: a comparison for each ring.
    #[inline]
    pub fn nearest(&self, locality: Option<&Locality>) -> &Pool {
        nearest_ring(&self.zones, &self.regions, locality).map_or(&self.all, |(_, pool)| pool)
    }
}

/// The rotations among the groups of a route, by list of records.
///
/// Each list has a cursor of its own, so that a client that asks for A and AAAA sees the split in
/// both.
#[derive(Debug, Default)]
pub struct GroupRotations {
    /// For A.
    pub v4: Option<GroupRotation>,
    /// For AAAA.
    pub v6: Option<GroupRotation>,
    /// For SRV at the service's name.
    pub srv: Option<GroupRotation>,
    /// For SRV at each named port of the service.
    pub ports: Box<[Option<GroupRotation>]>,
}

impl GroupRotations {
    /// The rotation for one list; `None`: the first group always answers.
    #[inline]
    pub fn get(&self, list: RecordList<usize>) -> Option<&GroupRotation> {
        match list {
            RecordList::V4 => self.v4.as_ref(),
            RecordList::V6 => self.v6.as_ref(),
            RecordList::Srv => self.srv.as_ref(),
            RecordList::NamedPort(at) => self.ports.get(at)?.as_ref(),
        }
    }
}

/// How lookups are split between the groups of a route.
#[derive(Debug)]
pub struct GroupRotation {
    /// Each group's share.
    pub shares: Shares,
    /// The cursor.
    pub rotation: RotationId,
}
