//! Rotation: the cursors, the only state that a query changes.

use num_integer::gcd;

use crate::catalog::RotationId;

/// The cursors of one worker, one for each list of records that rotates.
///
/// Each UDP worker has its own, apart from the snapshot: a cursor shared by two workers takes twice
/// the time, and a client's socket stays with one worker anyway. Cursors keep their position when a
/// service is recompiled, because their ids stay the same.
#[derive(Debug, Default)]
pub struct Rotation {
    cursors: Vec<u32>,
    /// State of the random number generator for lists in random order; 0 before its first use.
    random_state: u64,
    /// The one cursor of all lists that are browsed.
    browse_cursor: usize,
}

impl Rotation {
    /// Returns where a list starts this time, and moves its cursor on by one.
    ///
    /// *Cost*: an array access. Allocates when the first query for a service makes the array grow.
    pub fn turn(&mut self, id: RotationId) -> usize {
        self.cursor(id).map_or(0, |cursor| {
            let turn = *cursor;
            *cursor = cursor.wrapping_add(1);
            turn as usize
        })
    }

    /// Like [`turn`](Self::turn), but starts again at 0 after `total` turns, so no round is ever
    /// cut short.
    pub fn turn_in_round(&mut self, id: RotationId, total: u32) -> u32 {
        self.cursor(id).map_or(0, |cursor| {
            let turn = if *cursor < total { *cursor } else { 0 };
            *cursor = turn + 1;
            turn
        })
    }

    /// Returns where lists that are browsed start this time. They share one cursor.
    pub(super) const fn browse_turn(&mut self) -> usize {
        let turn = self.browse_cursor;
        self.browse_cursor = turn.wrapping_add(1);
        turn
    }

    /// A random number below `count`, which must be at least 1.
    fn random_below(&mut self, count: usize) -> usize {
        debug_assert!(count > 0, "shuffle() draws from at least one record");
        if self.random_state == 0 {
            self.random_state = rand::random::<u64>() | 1;
        }
        // Marsaglia's xorshift is good enough to spread load.
        self.random_state ^= self.random_state << 13;
        self.random_state ^= self.random_state >> 7;
        self.random_state ^= self.random_state << 17;
        usize::try_from(self.random_state >> 32).unwrap_or(0).checked_rem(count).unwrap_or(0)
    }

    /// A random order of `count` records.
    pub(super) fn shuffle(&mut self, count: usize) -> ListOrder {
        const TRIES: usize = 8;
        let start = self.random_below(count.max(1));
        // Any step without a common factor with the count visits every record once.
        let step =
            (0..TRIES).map(|_| 1 + self.random_below(count.max(1))).find(|step| gcd(*step, count) == 1);
        ListOrder::Shuffled { start, step: step.unwrap_or(1) }
    }

    fn cursor(&mut self, id: RotationId) -> Option<&mut u32> {
        let at = id.index();
        if at >= self.cursors.len() {
            self.cursors.resize(at + 1, 0);
        }
        self.cursors.get_mut(at)
    }
}

/// The order in which a list's records are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListOrder {
    /// In order from this index, modulo the list's length, wrapping around.
    Rotated(usize),
    /// Index `first` first, then the others in order from `from`, modulo the list's length.
    Weighted { first: usize, from: usize },
    /// From `start` in steps of `step`, which has no common factor with the list's length.
    Shuffled { start: usize, step: usize },
}

/// Iterates over the first `limit` records of a list in a [`ListOrder`].
///
/// One loop serves all orders, because it runs for every record of every answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arranged<'l, T> {
    list: &'l [T],
    /// The index of the record that precedes the others, until it is returned.
    first: Option<usize>,
    /// The index of that record, which the loop skips; beyond the list if there is none.
    skip: usize,
    at: usize,
    /// At most the list's length.
    step: usize,
    left: usize,
}

/// Puts a list into an order.
#[inline]
pub(super) fn arranged<T>(list: &[T], start: ListOrder, limit: usize) -> Arranged<'_, T> {
    let around = |at: usize| at.checked_rem(list.len()).unwrap_or(0);
    let left = limit.min(list.len());
    let turn = Arranged { list, first: None, skip: usize::MAX, at: 0, step: 1, left };
    match start {
        ListOrder::Rotated(start) => Arranged { at: around(start), ..turn },
        ListOrder::Weighted { first, from } => {
            debug_assert!(first < list.len(), "shares divide turns between the list's records");
            let first = Some(first).filter(|first| *first < list.len());
            Arranged { first, skip: first.unwrap_or(usize::MAX), at: around(from), ..turn }
        }
        ListOrder::Shuffled { start, step } => {
            Arranged { at: around(start), step: step.min(list.len()), ..turn }
        }
    }
}

impl<'l, T> Iterator for Arranged<'l, T> {
    type Item = &'l T;

    #[inline]
    fn next(&mut self) -> Option<&'l T> {
        self.left = self.left.checked_sub(1)?;
        if let Some(first) = self.first.take() {
            return self.list.get(first);
        }
        loop {
            let at = self.at;
            self.at += self.step;
            if self.at >= self.list.len() {
                self.at -= self.list.len();
            }
            if at != self.skip {
                return self.list.get(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::RotationIds;

    #[test]
    fn each_list_has_its_own_cursor() {
        let mut ids = RotationIds::default();
        let (a, b) = (ids.take(), ids.take());
        let mut rotation = Rotation::default();
        assert_eq!([rotation.turn(b), rotation.turn(a), rotation.turn(b)], [0, 0, 1]);
    }

    fn in_order(list: &[u8], start: ListOrder, limit: usize) -> Vec<u8> {
        arranged(list, start, limit).copied().collect()
    }

    #[test]
    fn a_rotated_list_wraps_around() {
        assert_eq!(in_order(&[1, 2, 3], ListOrder::Rotated(0), 8), [1, 2, 3]);
        assert_eq!(in_order(&[1, 2, 3], ListOrder::Rotated(4), 8), [2, 3, 1]);
        assert_eq!(in_order(&[1, 2, 3], ListOrder::Rotated(2), 2), [3, 1]);
        assert!(in_order(&[], ListOrder::Rotated(7), 8).is_empty());
    }

    #[test]
    fn the_weighted_first_record_is_not_repeated() {
        assert_eq!(in_order(&[1, 2, 3], ListOrder::Weighted { first: 2, from: 0 }, 8), [3, 1, 2]);
        assert_eq!(in_order(&[1, 2, 3], ListOrder::Weighted { first: 0, from: 4 }, 2), [1, 2]);
        assert_eq!(in_order(&[1], ListOrder::Weighted { first: 0, from: 9 }, 8), [1]);
    }

    #[test]
    fn every_record_of_a_shuffled_list_is_first_at_times() {
        let mut rotation = Rotation::default();
        for count in 1..20_u8 {
            let list: Vec<u8> = (0..count).collect();
            let mut first = vec![0; usize::from(count)];
            for _ in 0..2000 {
                let mut all = in_order(&list, rotation.shuffle(list.len()), 99);
                first[usize::from(all[0])] += 1;
                all.sort_unstable();
                assert_eq!(all, list);
            }
            assert!(first.iter().all(|times| *times > 0), "{first:?}");
        }
        assert!(in_order(&[], rotation.shuffle(0), 8).is_empty());
    }

    #[test]
    fn a_round_restarts_even_when_it_gets_shorter() {
        let mut ids = RotationIds::default();
        let id = ids.take();
        let mut rotation = Rotation::default();
        assert_eq!([0; 4].map(|_| rotation.turn_in_round(id, 3)), [0, 1, 2, 0]);
        assert_eq!([0; 3].map(|_| rotation.turn_in_round(id, 1)), [0, 0, 0]);
    }
}
