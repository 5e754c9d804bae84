//! What the running configuration leaves to sources that a reload restarts.

use std::collections::{HashMap, HashSet};

use super::{Import, Instance, Member};

/// What the catalog keeps over a reload, handed to the sources that the reload restarts.
///
/// Each entry is taken by the one watch that follows the same member or import.
#[derive(Debug, Default)]
pub struct Retained {
    /// Members whose last reported instances are still answered.
    pub members: HashSet<Member>,
    /// Imports whose names are still answered, and whether the import's list still tells which
    /// names do not exist.
    pub imports: HashMap<Import, bool>,
    /// The instances of probed members, with the health that earlier probes found.
    pub instances: HashMap<Member, Vec<Instance>>,
}

/// How much of what a watch follows is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Nothing: the watch starts without data.
    Nothing,
    /// Some of the members, or an import's names without its full list.
    Some,
    /// Everything: the watch can be answered from before it syncs.
    All,
}

impl Retained {
    /// Takes these members' entries.
    pub fn take_members(&mut self, members: &[Member]) -> Retention {
        match members.iter().filter(|member| self.members.remove(member)).count() {
            0 => Retention::Nothing,
            taken if taken == members.len() => Retention::All,
            _ => Retention::Some,
        }
    }

    /// Takes an import's entry; the members of its names stay, for their own watches.
    pub fn take_import(&mut self, import: &Import) -> Retention {
        match self.imports.remove(import) {
            None => Retention::Nothing,
            Some(false) => Retention::Some,
            Some(true) => Retention::All,
        }
    }

    /// Takes the members of an import that no watch has taken: their watches would have come with
    /// the import's list.
    pub fn take_rest(&mut self, import: &Import) -> Vec<Member> {
        let belongs = |member: &Member| {
            member.place == Member::IMPORTED
                && member.source == import.source
                && member.service.parent().as_ref() == Some(&import.apex)
        };
        self.members.extract_if(belongs).collect()
    }
}
