//! Data that is still answered when the source that reported it starts: after a reload from the
//! running configuration, after a start from the last known good state.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use super::{Import, Instance, Member, WatchSubject};

/// What the catalog already answers from, handed to the sources that start.
///
/// Each entry is taken by the one watch that follows the same member or import.
#[derive(Debug, Default)]
pub struct Retained {
    /// Members whose last reported instances are still answered, and since when they are stale.
    pub members: HashMap<Member, Instant>,
    /// Imports whose names are still answered.
    pub imports: HashMap<Import, RetainedImport>,
    /// The instances of probed members, with the health that earlier probes found.
    pub instances: HashMap<Member, Vec<Instance>>,
    /// Members in `instances` whose first probe decides alone: their health is from before a
    /// restart.
    pub doubtful: HashSet<Member>,
}

/// What is retained of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedImport {
    /// Whether its list still tells which names do not exist.
    pub is_complete: bool,
    /// Since when the list is stale.
    pub stale_since: Instant,
}

/// How much of what a watch follows is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Nothing: the watch starts without data.
    Nothing,
    /// Some of the members, or an import's names without its full list; stale since this time.
    Some(Instant),
    /// Everything: the watch can be answered from before it syncs. Stale since this time.
    All(Instant),
}

impl Retained {
    /// The members of a subject that nothing is retained of.
    pub fn lacking(&self, subject: &WatchSubject) -> Vec<Member> {
        let WatchSubject::Members(members) = subject else { return Vec::new() };
        members.iter().filter(|member| !self.members.contains_key(*member)).cloned().collect()
    }

    /// Takes a subject's entries. The members of an import's names stay, for their own watches.
    pub fn take(&mut self, subject: &WatchSubject) -> Retention {
        match subject {
            WatchSubject::Members(members) => self.take_members(members),
            WatchSubject::Import(import) => match self.imports.remove(import) {
                None => Retention::Nothing,
                Some(import) if import.is_complete => Retention::All(import.stale_since),
                Some(import) => Retention::Some(import.stale_since),
            },
        }
    }

    /// The oldest member decides for all that share a watch.
    fn take_members(&mut self, members: &[Member]) -> Retention {
        let taken: Vec<_> = members.iter().filter_map(|member| self.members.remove(member)).collect();
        match taken.iter().min() {
            None => Retention::Nothing,
            Some(oldest) if taken.len() == members.len() => Retention::All(*oldest),
            Some(oldest) => Retention::Some(*oldest),
        }
    }

    /// Takes the members of an import that no watch has taken: their watches would have come with
    /// the import's list.
    pub fn take_rest(&mut self, import: &Import) -> Vec<Member> {
        self.members.extract_if(|member, _| member.is_imported_by(import)).map(|(member, _)| member).collect()
    }
}
