//! Which cursor turns which list of records.

use std::{
    collections::{HashMap, HashSet},
    ops::Deref,
    sync::Arc,
};

use hickory_proto::rr::RecordType;

use crate::config::Near;

/// The number of a cursor that turns one list of records, such as the A records of one service.
///
/// A and AAAA and each SRV list have one each: else a client that always asks for both would see
/// every second instance. The cursors themselves belong to whoever answers; only their numbers are
/// here, and they survive recompiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RotationId(u32);

impl RotationId {
    /// The number as an index; small and dense.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Hands out cursor numbers and takes back those of services that are gone, so that they stay small
/// and dense.
#[derive(Debug, Default)]
pub struct RotationIds {
    next: u32,
    free: Vec<u32>,
}

impl RotationIds {
    /// Hands out a number that nobody else has.
    pub fn take(&mut self) -> RotationId {
        RotationId(self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        }))
    }

    /// Takes a number back.
    pub fn give_back(&mut self, id: RotationId) {
        self.free.push(id.0);
    }
}

/// Which list of a service a cursor turns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListKey {
    pub(super) owner: ListOwner,
    /// A named port is identified by its labels `_port._proto` in wire format.
    pub(super) list: RecordList<Box<[u8]>>,
}

/// Whose list it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum ListOwner {
    /// The turns among the groups of a route.
    Route(RouteKey),
    /// A group's own list.
    Group(RouteKey, usize),
    /// A group's list for a zone or region, which may have the same name.
    Ring(RouteKey, usize, Near, Arc<str>),
}

/// Which route: the one for everybody keeps its cursors when others come and go before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RouteKey {
    Everybody,
    At(usize),
}

/// One of a pool's lists of records.
///
/// `P` identifies a named port: by its labels `_port._proto` in wire format, or by its index among
/// the service's named ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordList<P> {
    /// A records, and CNAME records of instances that have a host name.
    V4,
    /// AAAA records, and CNAME records of instances that have a host name.
    V6,
    /// SRV records at the service's name.
    Srv,
    /// SRV records at a named port.
    NamedPort(P),
}

impl<P> RecordList<P> {
    /// The lists that ANY may be answered from: the first that has records (RFC 8482 section 4.1).
    pub const ANY: [Self; 3] = [Self::V4, Self::V6, Self::Srv];

    /// The list that a question for the service's own name takes its turn in. `None`: no list has such
    /// records.
    ///
    /// A CNAME takes the place of an address, and ANY begins with A.
    pub const fn of_type(qtype: RecordType) -> Option<Self> {
        match qtype {
            RecordType::A | RecordType::CNAME | RecordType::ANY => Some(Self::V4),
            RecordType::AAAA => Some(Self::V6),
            RecordType::SRV => Some(Self::Srv),
            _ => None,
        }
    }

    /// Whether groups take turns by having records in this list. If not, they take turns by having any
    /// instance: a client that asks for A and AAAA must be able to get both from one group.
    pub const fn divides_by_records(&self) -> bool {
        matches!(self, Self::Srv | Self::NamedPort(_))
    }

    /// The same list, the named port borrowed.
    pub fn as_deref(&self) -> RecordList<&P::Target>
    where
        P: Deref,
    {
        match self {
            Self::V4 => RecordList::V4,
            Self::V6 => RecordList::V6,
            Self::Srv => RecordList::Srv,
            Self::NamedPort(port) => RecordList::NamedPort(port),
        }
    }
}

/// The cursor numbers of one service.
#[derive(Debug, Default)]
pub(super) struct ServiceRotations {
    /// Those of the service's three plain lists, which nearly all services have: A, AAAA and SRV
    /// for everybody.
    plain: [Option<RotationId>; 3],
    others: HashMap<ListKey, RotationId>,
    /// Whose lists the last compile still had.
    used: HashSet<ListKey>,
}

impl ServiceRotations {
    /// The number of a list's cursor, the same as long as the list is there.
    pub(super) fn id_of(&mut self, key: ListKey, ids: &mut RotationIds) -> RotationId {
        let plain = match key {
            ListKey { owner: ListOwner::Group(RouteKey::Everybody, 0), ref list } => match list {
                RecordList::V4 => self.plain.get_mut(0),
                RecordList::V6 => self.plain.get_mut(1),
                RecordList::Srv => self.plain.get_mut(2),
                RecordList::NamedPort(_) => None,
            },
            _ => None,
        };
        match plain {
            Some(place) => *place.get_or_insert_with(|| ids.take()),
            None => {
                self.used.insert(key.clone());
                *self.others.entry(key).or_insert_with(|| ids.take())
            }
        }
    }

    /// Gives back the numbers of lists that were not asked for since the last time.
    pub(super) fn give_back_unused(&mut self, ids: &mut RotationIds) {
        let used = std::mem::take(&mut self.used);
        self.others.retain(|key, id| {
            let kept = used.contains(key);
            if !kept {
                ids.give_back(*id);
            }
            kept
        });
    }

    pub(super) fn give_back(self, ids: &mut RotationIds) {
        for id in self.plain.into_iter().flatten().chain(self.others.into_values()) {
            ids.give_back(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(owner: ListOwner, list: RecordList<Box<[u8]>>) -> ListKey {
        ListKey { owner, list }
    }

    #[test]
    fn numbers_stay_with_their_lists_and_are_used_again_when_those_are_gone() {
        let mut ids = RotationIds::default();
        let mut service = ServiceRotations::default();
        let plain = key(ListOwner::Group(RouteKey::Everybody, 0), RecordList::V4);
        let port =
            key(ListOwner::Group(RouteKey::Everybody, 0), RecordList::NamedPort(b"x".as_slice().into()));
        let (v4, http) = (service.id_of(plain.clone(), &mut ids), service.id_of(port.clone(), &mut ids));
        assert_ne!(v4, http);
        service.give_back_unused(&mut ids);
        assert_eq!((service.id_of(plain.clone(), &mut ids), service.id_of(port, &mut ids)), (v4, http));
        service.give_back_unused(&mut ids);
        // A compile without the port.
        assert_eq!(service.id_of(plain, &mut ids), v4);
        service.give_back_unused(&mut ids);
        assert_eq!(ids.take(), http);
        service.give_back(&mut ids);
        assert_eq!(ids.take(), v4);
    }
}
