//! Subjects: what a watch delivers the state of.

use std::time::Instant;

use super::{Import, Member, Update};

/// What a watch delivers the state of. This expires when the watch fails for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchSubject {
    /// The instances of members: usually of one, of several if one watch feeds them all.
    Members(Vec<Member>),
    /// The names of an import.
    Import(Import),
}

/// Whether a subject's state follows every change, or since when it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It follows every change.
    Current,
    /// Its watch has not synced since this time.
    StaleSince(Instant),
}

impl Freshness {
    /// Since when it is stale; `None` if it is current.
    pub fn stale_since(self) -> Option<Instant> {
        match self {
            Self::Current => None,
            Self::StaleSince(since) => Some(since),
        }
    }
}

impl WatchSubject {
    /// The update that expires the subject's state: one, however many members there are.
    pub fn expired(&self) -> Update {
        match self {
            Self::Members(members) => {
                let expired = |member: &Member| Update::Expired { member: member.clone() };
                match members.as_slice() {
                    [member] => expired(member),
                    _ => Update::Changes(members.iter().map(expired).collect()),
                }
            }
            Self::Import(import) => Update::ImportExpired { import: import.clone() },
        }
    }
}
