//! Pools: the records that one group of a service's instances is answered with.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    clients::ClientTest,
    rotation::{RecordList, RotationId},
    weighted::Shares,
};
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
    /// IPv4 addresses, each once; the places behind them are those of `hosts`.
    pub v4: RotatingList<Ipv4Addr>,
    /// IPv6 addresses, likewise.
    pub v6: RotatingList<Ipv6Addr>,
    /// Host names that take their turn as a CNAME.
    pub hosts: Box<[Name]>,
    /// SRV records at the service's own name.
    pub srv: RotatingList<SrvRecord>,
    /// SRV records of the service's named ports, in their order.
    pub ports: Box<[RotatingList<SrvRecord>]>,
}

impl Pool {
    /// Tells whether any instance is answered at all.
    pub fn has_any(&self) -> bool {
        !(self.v4.records.is_empty() && self.v6.records.is_empty() && self.hosts.is_empty())
    }
}

/// Records of one kind, that take turns.
#[derive(Debug)]
pub struct RotatingList<T> {
    /// The records, in a fixed order.
    pub records: Box<[T]>,
    /// The cursor that turns them.
    pub rotation: RotationId,
    /// Whose turn it is to be first, where that is not simply everybody's after the other. Boxed,
    /// since few have it.
    pub shares: Option<Box<Shares>>,
}

/// One SRV record (RFC 2782); all have priority 0: policy decides who is answered, not who is tried
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SrvRecord {
    /// Its share.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The instance that it points to.
    pub instance: InstanceId,
}

/// What decides which pool a question is answered from, where it is not the same for all.
#[derive(Debug)]
pub struct Routing {
    /// In order; the first that matches the client counts, and the last matches everybody.
    pub routes: Box<[RoutePools]>,
    /// Whether any of it needs to know who asks.
    pub by_client: bool,
}

/// The pools of one route.
#[derive(Debug)]
pub struct RoutePools {
    /// Who it is for; `None`: everybody.
    pub clients: Option<ClientTest>,
    /// At least one.
    pub groups: Box<[GroupPools]>,
    /// Whose turn it is among the groups, by the kind of question.
    pub rotations: GroupRotations,
}

/// The pools of one group: for everybody, and for those who are near.
#[derive(Debug)]
pub struct GroupPools {
    /// For those who are near nothing.
    pub all: Pool,
    /// By zone.
    pub zones: Box<[(std::sync::Arc<str>, Pool)]>,
    /// By region.
    pub regions: Box<[(std::sync::Arc<str>, Pool)]>,
}

impl GroupPools {
    /// The pool that a client at `locality` is answered from.
    #[inline]
    pub fn nearest(&self, locality: Option<&Locality>) -> &Pool {
        nearest_ring(&self.zones, &self.regions, locality).map_or(&self.all, |(_, pool)| pool)
    }
}

/// Whose turn it is among the groups of a route: each kind of question has cursors of its own, so
/// that a client that asks for A and AAAA sees the shares in both.
#[derive(Debug, Default)]
pub struct GroupRotations {
    /// For A.
    pub v4: Option<GroupRotation>,
    /// For AAAA.
    pub v6: Option<GroupRotation>,
    /// For SRV at the service's name.
    pub srv: Option<GroupRotation>,
    /// For SRV at the named ports, in their order.
    pub ports: Box<[Option<GroupRotation>]>,
}

impl GroupRotations {
    /// The rotation among the groups for one list; a named port is given by its place among the
    /// service's.
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

/// How one kind of question is divided; without, only the first group has anything to say.
#[derive(Debug)]
pub struct GroupRotation {
    /// Each group's part.
    pub shares: Shares,
    /// The cursor.
    pub rotation: RotationId,
}
