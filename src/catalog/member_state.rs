//! The last state of one member: its instances, and since when each has its health.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::model::{Health, Instance, Member};

/// The last state of one member.
#[derive(Debug, Default)]
pub(super) struct MemberState {
    pub(super) synced: bool,
    /// Since when the state was stale at the last start or reload, if it was; a `Reset` clears it.
    pub(super) stale_since: Option<Instant>,
    /// Whether its source failed before it synced, or since it expired.
    pub(super) failed: bool,
    /// Whether it synced once, and its source has been lost for longer than `max_stale` since.
    pub(super) expired: bool,
    pub(super) instances: MemberInstances,
}

/// The instances of one member, by id.
pub(super) type MemberInstances = BTreeMap<Arc<str>, DatedInstance>;

/// One member's report of one instance.
pub(super) type Report<'a> = (&'a Member, &'a DatedInstance);

impl MemberState {
    /// The member's reports.
    pub(super) fn reports<'s>(&'s self, member: &'s Member) -> impl Iterator<Item = Report<'s>> {
        self.instances.values().map(move |dated| (member, dated))
    }

    /// The instances as the source reports them, without what holds make of them.
    pub(super) fn source_words(&self) -> Vec<Instance> {
        self.instances.values().filter_map(|dated| dated.instance.source_word().cloned()).collect()
    }

    /// What `instance` is now, IPv4-mapped addresses as IPv4, given the last report of it.
    pub(super) fn dated(&self, instance: Instance, now: u32) -> DatedInstance {
        let instance = instance.with_plain_ipv4();
        let before = self.instances.get(&instance.id);
        let unchanged = before.filter(|before| before.instance.health == instance.health);
        let same = before.filter(|before| before.instance.target == instance.target);
        let was_healthy = same.is_some_and(|before| before.ever_healthy);
        DatedInstance {
            since: unchanged.map_or(now, |before| before.since),
            ever_healthy: match instance.health {
                Health::Healthy | Health::Warning => true,
                Health::Unknown => was_healthy,
                // An instance that is unhealthy in the first list may have failed a year ago: it
                // counts as one that was healthy.
                Health::Unhealthy | Health::Draining => was_healthy || !self.synced,
            },
            withdrawn: false,
            instance,
        }
    }
}

/// An instance with what earlier reports tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DatedInstance {
    pub(super) instance: Instance,
    /// Since when it has had its health, in seconds since the catalog began. Not an `Instant`,
    /// since there may be a million of these.
    pub(super) since: u32,
    /// Whether it was healthy (or warned) at any time since it has had its target.
    pub(super) ever_healthy: bool,
    /// Whether the source has withdrawn it: only its health counts, and only while the source has
    /// no other report of the instance.
    pub(super) withdrawn: bool,
}

#[cfg(test)]
impl From<Instance> for DatedInstance {
    /// A first report of an instance.
    fn from(instance: Instance) -> Self {
        MemberState::default().dated(instance, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: u8, health: Health) -> Instance {
        Instance { health, ..Instance::at("i", [10, 0, 0, address].into(), 80) }
    }

    /// Whether the instance counts as one that was healthy, after each of these reports.
    fn ever_healthy(synced: bool, reports: &[Instance]) -> Vec<bool> {
        let mut state = MemberState { synced, ..MemberState::default() };
        let report = |instance: &Instance| {
            let dated = state.dated(instance.clone(), 0);
            let ever_healthy = dated.ever_healthy;
            state.instances.insert("i".into(), dated);
            ever_healthy
        };
        reports.iter().map(report).collect()
    }

    #[test]
    fn a_starting_instance_was_never_healthy_until_it_is() {
        use Health::{Draining, Healthy, Unhealthy, Unknown, Warning};
        let starts = [Unknown, Unhealthy, Warning, Unhealthy, Unknown].map(|health| at(1, health));
        assert_eq!(ever_healthy(true, &starts), [false, false, true, true, true]);
        assert_eq!(ever_healthy(true, &[at(1, Healthy), at(2, Unhealthy)]), [true, false], "another address");
        assert_eq!(ever_healthy(true, &[at(1, Draining)]), [false]);
        assert_eq!(ever_healthy(false, &[at(1, Unknown)]), [false]);
        assert_eq!(ever_healthy(false, &[at(1, Unhealthy)]), [true], "it may have been healthy before");
    }
}
