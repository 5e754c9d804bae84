//! What is still answered of sources that start anew.

use std::collections::{HashMap, HashSet};

use super::{Import, Instance, Member};

/// What the catalog has carried over a change of the configuration, told to the sources that start anew because of it.
///
/// Each entry is taken by the one watch that it is about.
#[derive(Debug, Default)]
pub struct Known {
    /// Members that are answered from what the source said before.
    pub members: HashSet<Member>,
    /// Imports whose names are still there, and whether their list still says which names do not exist.
    pub imports: HashMap<Import, bool>,
    /// The instances of members that are probed.
    pub instances: HashMap<Member, Vec<Instance>>,
}

/// How much of what a watch is about is answered already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// Nothing.
    Nothing,
    /// Some of it.
    Some,
    /// All of it.
    All,
}

impl Known {
    /// Takes what is known of these members.
    pub fn take_members(&mut self, members: &[Member]) -> Carried {
        match members.iter().filter(|member| self.members.remove(member)).count() {
            0 => Carried::Nothing,
            known if known == members.len() => Carried::All,
            _ => Carried::Some,
        }
    }

    /// Takes what is known of an import's list; its names' members stay, for their own watches.
    pub fn take_import(&mut self, import: &Import) -> Carried {
        match self.imports.remove(import) {
            None => Carried::Nothing,
            Some(false) => Carried::Some,
            Some(true) => Carried::All,
        }
    }

    /// Takes the members of an import that no watch has taken: those whose watches were to come with its list.
    pub fn take_rest(&mut self, import: &Import) -> Vec<Member> {
        let is_of_it = |member: &Member| {
            member.place == Member::IMPORTED
                && member.source == import.source
                && member.service.parent().as_ref() == Some(&import.apex)
        };
        self.members.extract_if(is_of_it).collect()
    }
}
