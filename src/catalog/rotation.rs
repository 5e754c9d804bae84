//! Which cursor turns which list of records.

use std::collections::HashMap;

/// The number of a cursor that turns one list of records, such as the A records of one service.
///
/// A and AAAA and each SRV list have one each: else a client that always asks for both would see every second instance.
/// The cursors themselves belong to whoever answers; only their numbers are here, and they survive recompiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RotationId(u32);

impl RotationId {
    /// The number as an index; small and dense.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Hands out cursor numbers and takes back those of services that are gone, so that they stay small and dense.
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

/// The cursor numbers of one service.
#[derive(Debug)]
pub(super) struct ServiceRotations {
    pub(super) v4: RotationId,
    pub(super) v6: RotationId,
    pub(super) srv: RotationId,
    /// By `_port._proto`, as wire labels.
    pub(super) ports: HashMap<Box<[u8]>, RotationId>,
}

impl ServiceRotations {
    pub(super) fn take(ids: &mut RotationIds) -> Self {
        Self { v4: ids.take(), v6: ids.take(), srv: ids.take(), ports: HashMap::new() }
    }

    pub(super) fn give_back(self, ids: &mut RotationIds) {
        for id in [self.v4, self.v6, self.srv].into_iter().chain(self.ports.into_values()) {
            ids.give_back(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again() {
        let mut ids = RotationIds::default();
        let first = ServiceRotations::take(&mut ids);
        let (v4, other) = (first.v4, ids.take());
        assert_ne!(v4, other);
        first.give_back(&mut ids);
        let again: Vec<_> = (0..3).map(|_| ids.take().index()).collect();
        assert!(again.contains(&v4.index()), "{again:?}");
        assert!(!again.contains(&other.index()), "{again:?}");
    }
}
