//! Names that share a key, such as the instances of one address, and the tables that lead to them.

use crate::model::Name;

/// Names are hashed at every query, by a hash that is quick for short keys and seeded against
/// chosen collisions.
pub(super) type NameHasher = foldhash::fast::RandomState;

/// The table of one kind of links.
pub(super) type NamesByKey<K> = papaya::HashMap<K, Names, NameHasher>;

/// Names that have something in common: at least one, sorted, each once.
#[derive(Debug)]
pub struct Names(Box<[Name]>);

impl Names {
    /// Makes them of a list that is sorted and has each name once.
    pub(super) const fn new(names: Box<[Name]>) -> Self {
        Self(names)
    }

    /// The names.
    pub const fn as_slice(&self) -> &[Name] {
        &self.0
    }
}
