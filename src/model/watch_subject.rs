//! Subjects: what a watch delivers the state of.

use std::{collections::HashMap, time::Instant};

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

/// How stale a state is that is still answered. The older one is the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Staleness {
    /// When its watch last followed every change.
    pub since: Instant,
    /// When it expires unless the watch syncs before; `None` if it never does.
    pub until: Option<Instant>,
}

/// The members whose state is stale, if they have any.
pub type StaleMembers = HashMap<Member, Staleness>;

impl Staleness {
    /// For how many seconds it has been stale.
    pub fn seconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs()
    }

    /// In how many seconds it expires; `None` if it never does.
    pub fn seconds_left(&self, now: Instant) -> Option<u64> {
        Some(self.until?.saturating_duration_since(now).as_secs())
    }
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
