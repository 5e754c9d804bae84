//! State changes: what the last known good state on disk still lacks.

use super::{Import, Instance, Member, Name};

/// State of the catalog that has changed since it was last taken. What is not synced is `None`.
#[derive(Debug, Default)]
pub struct StateChanges {
    /// Members, each with all of its instances.
    pub members: Vec<(Member, Option<Vec<Instance>>)>,
    /// Imports, each with all names that it lists.
    pub imports: Vec<(Import, Option<Vec<Name>>)>,
    /// Whether there is more to take.
    pub has_more: bool,
}
