//! Damping: when an instance that its source reports as good has to wait.

use std::{collections::VecDeque, time::Instant};

use crate::{
    config::Damping,
    model::{Health, HoldReason, Instance},
};

/// What a source's word means for an instance's place in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Healthy, with or without a warning.
    Good,
    /// No check has had a result yet.
    Unknown,
    /// Unhealthy, or not reported.
    Bad,
    /// Taken out on purpose. This tells nothing about the instance's health.
    Draining,
}

impl Standing {
    /// The standing of an instance that is reported so, or not at all.
    pub(super) fn of(instance: Option<&Instance>) -> Self {
        match instance.map(|instance| instance.health) {
            Some(Health::Healthy | Health::Warning) => Self::Good,
            Some(Health::Unknown) => Self::Unknown,
            Some(Health::Unhealthy) | None => Self::Bad,
            Some(Health::Draining) => Self::Draining,
        }
    }
}

/// The memory of one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Damper {
    /// When it will have been good for long enough, if it is good.
    settles: Option<Instant>,
    /// When it changed between good and bad, oldest first: at most as many as make it flap.
    changes: VecDeque<Instant>,
    /// When it will have been quiet for long enough, if it flaps.
    quiet: Option<Instant>,
}

impl Damper {
    /// Hears that the source's word has changed from one standing to another.
    pub(super) fn hear(&mut self, from: Standing, to: Standing, rule: Damping, now: Instant) {
        if to != Standing::Good {
            self.settles = None;
        } else if matches!(from, Standing::Bad | Standing::Draining) && !rule.settle.is_zero() {
            // The first result of a check decides alone, as that of a probe does.
            self.settles = Some(now + rule.settle);
        }
        if matches!((from, to), (Standing::Good, Standing::Bad) | (Standing::Bad, Standing::Good)) {
            self.count_change(rule, now);
        }
    }

    fn count_change(&mut self, rule: Damping, now: Instant) {
        let Some(rule) = rule.flapping else { return };
        if self.quiet.is_some_and(|quiet| quiet <= now) {
            (self.quiet, self.changes) = (None, VecDeque::new());
        }
        self.changes.push_back(now);
        if self.changes.len() > usize::from(rule.changes) {
            self.changes.pop_front();
        }
        let first = self.changes.front().filter(|_| self.changes.len() == usize::from(rule.changes));
        if self.quiet.is_some() || first.is_some_and(|first| now.duration_since(*first) <= rule.window) {
            self.quiet = Some(now + rule.hold);
        }
    }

    /// Why and until when the instance has to wait, if it is good.
    pub(super) fn hold(&self, now: Instant) -> Option<(HoldReason, Instant)> {
        let waits = |until: Option<Instant>| until.filter(|until| *until > now);
        let flaps = waits(self.quiet).map(|until| (HoldReason::Flapping, until));
        let settles = waits(self.settles).map(|until| (HoldReason::Settling, until));
        flaps.into_iter().chain(settles).max_by_key(|(_, until)| *until)
    }

    /// When nothing that it remembers counts any more; `None` if it remembers nothing.
    pub(super) fn forgets(&self, rule: Damping) -> Option<Instant> {
        let last = self.changes.back()?;
        let window = rule.flapping.map(|flapping| flapping.window).unwrap_or_default();
        Some(self.quiet.unwrap_or(*last).max(*last + window))
    }
}
