//! From stored records to updates.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{
    record::{ImportRecord, MemberRecord, decode, import_of, member_of},
    rules::Rules,
    store::Stored,
};
use crate::model::{Import, Member, Name, Retained, RetainedImport, SourceKind, Update};

/// What a start answers from.
#[derive(Debug, Default)]
pub struct Restored {
    /// The updates that bring the catalog to the stored state, imports first.
    pub updates: Vec<Update>,
    /// The same for the sources, with the ages.
    pub retained: Retained,
}

/// How many records were restored or not.
#[derive(Debug, Default)]
struct Counts {
    restored: usize,
    expired: usize,
    changed: usize,
    unreadable: usize,
}

/// The clocks at one moment, to turn times of day into ages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// Milliseconds since 1970.
    pub(super) wall: u64,
    pub(super) monotonic: Instant,
}

impl Clocks {
    /// The moment that was `wall` milliseconds after 1970. If the clock has gone back since, it is
    /// now.
    fn moment(self, wall: u64) -> (Instant, Duration) {
        let age = Duration::from_millis(self.wall.saturating_sub(wall));
        (self.monotonic.checked_sub(age).unwrap_or(self.monotonic), age)
    }
}

/// Makes updates of all records whose rule is unchanged and that are not older than `max_stale`.
pub(super) fn restore(stored: Stored, rules: &Rules, max_stale: Duration, clocks: Clocks) -> Restored {
    let mut counts = Counts::default();
    let mut restored = Restored::default();
    let stale: HashMap<_, _> = stored.stale_imports.into_iter().collect();
    let mut listed: HashSet<(Import, Name)> = HashSet::new();
    let age_of = |stale: &HashMap<String, u64>, key: &str| {
        let (since, age) = clocks.moment(stale.get(key).copied().unwrap_or(stored.alive));
        (age <= max_stale).then_some(since)
    };
    for (key, value) in stored.imports {
        let (Some(import), Some(record)) = (import_of(&key), decode::<ImportRecord>(&value)) else {
            counts.unreadable += 1;
            continue;
        };
        if rules.import(&import) != Some(record.rule) {
            counts.changed += 1;
            continue;
        }
        let Some(stale_since) = age_of(&stale, &key) else {
            counts.expired += 1;
            continue;
        };
        let Ok(services) = record.names.iter().map(|name| name.parse()).collect::<Result<Vec<Name>, _>>()
        else {
            counts.unreadable += 1;
            continue;
        };
        listed.extend(services.iter().map(|name| (Import { place: 0, ..import.clone() }, name.clone())));
        restored.retained.imports.insert(import.clone(), RetainedImport { is_complete: true, stale_since });
        restored.updates.push(Update::Imported { import, services });
        counts.restored += 1;
    }
    let stale: HashMap<_, _> = stored.stale_members.into_iter().collect();
    for (key, value) in stored.members {
        let (Some(member), Some(record)) = (member_of(&key), decode::<MemberRecord>(&value)) else {
            counts.unreadable += 1;
            continue;
        };
        if rules.member(&member) != Some(record.rule) || !is_listed(&member, &listed) {
            counts.changed += 1;
            continue;
        }
        let Some(since) = age_of(&stale, &key) else {
            counts.expired += 1;
            continue;
        };
        let instances = record.instances.into_iter().map(|record| record.instance());
        let Some(instances) = instances.collect::<Option<Vec<_>>>() else {
            counts.unreadable += 1;
            continue;
        };
        counts.restored += 1;
        let retained = &mut restored.retained;
        if member.source.kind == SourceKind::Static {
            retained.doubtful.insert(member.clone());
            retained.instances.insert(member, instances);
        } else {
            retained.members.insert(member.clone(), since);
            restored.updates.push(Update::Reset { member, instances });
        }
    }
    if counts.unreadable > 0 {
        warn!(records = counts.unreadable, "records of the stored state cannot be read and are dropped");
    }
    info!(
        restored = counts.restored,
        expired = counts.expired,
        changed = counts.changed,
        "last known good state",
    );
    restored
}

/// Whether a restored import lists the name of an imported member; true for all other members.
fn is_listed(member: &Member, listed: &HashSet<(Import, Name)>) -> bool {
    if member.place != Member::IMPORTED {
        return true;
    }
    let Some(apex) = member.service.parent() else { return false };
    let import = Import { apex, source: member.source.clone(), place: 0 };
    listed.contains(&(import, member.service.clone()))
}
