//! Names that share a key, such as the instances at one address, and the tables that lead to them.

use crate::model::Name;

/// Hashes the keys of every lookup: fast for short keys, and seeded against chosen collisions.
pub(super) type NameHasher = foldhash::fast::RandomState;

/// A lock-free table from a key to the names that share it.
pub(super) type NamesByKey<K> = papaya::HashMap<K, Names, NameHasher>;

/// Names that share a key: at least one, sorted, without duplicates.
#[derive(Debug)]
pub struct Names(Box<[Name]>);

impl Names {
    /// Takes names that are sorted and without duplicates.
    pub(super) fn new(names: Box<[Name]>) -> Self {
        debug_assert!(!names.is_empty() && names.is_sorted(), "a key without names is removed");
        Self(names)
    }

    /// The names, sorted.
    pub const fn as_slice(&self) -> &[Name] {
        &self.0
    }
}
