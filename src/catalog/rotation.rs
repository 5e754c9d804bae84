//! Rotation: the ids of the cursors that lists of records are rotated by.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::record_list::RecordList;
use crate::config::Near;

/// The id of the cursor of one list of records, such as the A records of one service.
///
/// A, AAAA and each SRV list have a cursor of their own: with a common one, a client that always
/// asks for A and AAAA would see every second instance. The cursors belong to the DNS workers. Ids
/// survive recompiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RotationId(u32);

impl RotationId {
    /// The id as an index; small and dense.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Allocates cursor ids, and reuses those of services that are gone so that ids stay small and
/// dense.
#[derive(Debug, Default)]
pub struct RotationIds {
    next: u32,
    free: Vec<u32>,
}

impl RotationIds {
    /// Allocates an id.
    pub fn take(&mut self) -> RotationId {
        RotationId(self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        }))
    }

    /// Frees an id.
    pub fn give_back(&mut self, id: RotationId) {
        debug_assert!(id.0 < self.next, "only allocated ids are freed");
        self.free.push(id.0);
    }
}

/// Identifies one list of a service over recompiling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListKey {
    pub(super) owner: ListOwner,
    pub(super) list: RecordList<Box<[u8]>>,
}

/// What a list belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum ListOwner {
    /// A route: the rotation among its groups.
    Route(RouteKey),
    /// A group of a route.
    Group(RouteKey, usize),
    /// A group's ring. A zone and a region may have the same name.
    Ring(RouteKey, usize, Near, Arc<str>),
}

/// Identifies a route. The one for every client keeps its cursors when routes are added before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RouteKey {
    EveryClient,
    At(usize),
}

/// The cursor ids of one owner name.
#[derive(Debug, Default)]
pub(super) struct ServiceRotations {
    /// Those of the three lists that nearly all services have: A, AAAA and SRV for every client.
    plain: [Option<RotationId>; 3],
    others: HashMap<ListKey, RotationId>,
    /// The lists that were asked for since the last [`give_back_unused`](Self::give_back_unused).
    used: HashSet<ListKey>,
}

impl ServiceRotations {
    /// The id of a list's cursor: the same for as long as the list exists.
    pub(super) fn id_of(&mut self, key: ListKey, ids: &mut RotationIds) -> RotationId {
        let plain = match key {
            ListKey { owner: ListOwner::Group(RouteKey::EveryClient, 0), ref list } => match list {
                RecordList::V4 => self.plain.get_mut(0),
                RecordList::V6 => self.plain.get_mut(1),
                RecordList::Srv => self.plain.get_mut(2),
                RecordList::NamedPort(_) => None,
            },
            _ => None,
        };
        match plain {
            Some(slot) => *slot.get_or_insert_with(|| ids.take()),
            None => {
                self.used.insert(key.clone());
                *self.others.entry(key).or_insert_with(|| ids.take())
            }
        }
    }

    /// Frees the ids of lists that were not asked for since the last call.
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
    fn ids_stay_with_their_lists_and_are_reused_afterwards() {
        let mut ids = RotationIds::default();
        let mut service = ServiceRotations::default();
        let plain = key(ListOwner::Group(RouteKey::EveryClient, 0), RecordList::V4);
        let port =
            key(ListOwner::Group(RouteKey::EveryClient, 0), RecordList::NamedPort(b"x".as_slice().into()));
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
