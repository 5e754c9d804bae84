//! The change log: which members and imports have changed since their state was last taken.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    config::Config,
    model::{Import, Member},
};

/// The changes since they were last taken.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    pub(super) members: BTreeSet<Member>,
    pub(super) imports: BTreeSet<Import>,
    /// The new configuration, if it has changed: members may mean something else now.
    pub(super) config: Option<Arc<Config>>,
}
