//! Removals: how many instances of a member may go within a time.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::{
    config::{Amount, RemovalLimit},
    model::Instance,
};

/// The instances that a source's word took out of answers a short time ago, by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Removals {
    gone: BTreeMap<Arc<str>, (Instant, Instance)>,
}

impl Removals {
    /// Forgets those that went longer ago than the limit counts.
    pub(super) fn forget_old(&mut self, limit: RemovalLimit, now: Instant) {
        self.gone.retain(|_, (at, _)| *at + limit.window > now);
    }

    /// How many more may go now, if `good` are answered and `oldest` is the first that waits. At least
    /// one may, but the last one only after a whole window without another.
    pub(super) fn allowed(
        &self,
        limit: RemovalLimit,
        good: usize,
        oldest: Option<Instant>,
        now: Instant,
    ) -> usize {
        let all = good + self.gone.len();
        let most = match limit.amount {
            Amount::Count(count) => count as usize,
            Amount::Percent(percent) => all * usize::from(percent) / 100,
        };
        let left = most.max(1).saturating_sub(self.gone.len());
        let is_last_over =
            good == 1 && self.gone.is_empty() && oldest.is_some_and(|since| since + limit.window <= now);
        left.min(if is_last_over { 1 } else { good.saturating_sub(1) })
    }

    /// When more may go, if `good` are answered and `oldest` is the first that waits.
    pub(super) fn next(&self, limit: RemovalLimit, good: usize, oldest: Instant) -> Instant {
        let times = || self.gone.values().map(|(at, _)| *at + limit.window);
        match good {
            0 | 1 => times().max().unwrap_or(oldest).max(oldest + limit.window),
            _ => times().min().unwrap_or(oldest),
        }
    }

    /// Notes that an instance has gone, and what it was.
    pub(super) fn note(&mut self, id: Arc<str>, instance: Instance, now: Instant) {
        self.gone.insert(id, (now, instance));
    }

    /// Forgets one instance; returns what it was.
    pub(super) fn take(&mut self, id: &str) -> Option<Instance> {
        self.gone.remove(id).map(|(_, instance)| instance)
    }

    /// When an instance went, and the instance as it was.
    pub(super) fn get(&self, id: &str) -> Option<&(Instant, Instance)> {
        self.gone.get(id)
    }

    /// The ids of all of them.
    pub(super) fn ids(&self) -> Vec<Arc<str>> {
        self.gone.keys().cloned().collect()
    }
}
