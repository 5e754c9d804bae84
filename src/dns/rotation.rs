//! Rotation: the cursors, the only thing that a query changes.

use crate::catalog::RotationId;

/// The cursors of one answerer, one for each list of records that rotates.
///
/// Each UDP worker has its own, away from what is looked up: two workers on one shared cursor cost twice the time, and a
/// client's socket stays with one worker anyway. They survive recompiling, since the numbers do.
#[derive(Debug, Default)]
pub struct Rotation(Vec<u32>);

impl Rotation {
    /// Returns where the list begins this time and moves on by one.
    ///
    /// *Cost*: an array access; grows once when a service is first asked for.
    pub fn turn(&mut self, id: RotationId) -> usize {
        let at = id.index();
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        self.0.get_mut(at).map_or(0, |cursor| {
            let turn = *cursor;
            *cursor = cursor.wrapping_add(1);
            turn as usize
        })
    }
}

/// Iterates over `list` from `start` (modulo its length) on, all around, at most `limit` of it.
pub(super) fn turned<T>(list: &[T], start: usize, limit: usize) -> impl Iterator<Item = &T> + Clone {
    let start = start.checked_rem(list.len()).unwrap_or(0);
    let (before, from) = list.split_at(start);
    from.iter().chain(before).take(limit)
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

    #[test]
    fn a_turned_list_goes_all_around() {
        let all = |start, limit| turned(&[1, 2, 3], start, limit).copied().collect::<Vec<_>>();
        assert_eq!(all(0, 8), [1, 2, 3]);
        assert_eq!(all(4, 8), [2, 3, 1]);
        assert_eq!(all(2, 2), [3, 1]);
        assert_eq!(turned::<u8>(&[], 7, 8).count(), 0);
    }
}
