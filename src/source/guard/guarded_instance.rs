//! One instance: its source's last word, and what the catalog has of it.

use std::time::Instant;

use super::{
    damping::{Damper, Standing},
    doubt::Doubt,
};
use crate::{
    config::{Damping, GuardRule},
    model::{Health, Held, HoldReason, Instance},
};

/// What the guard remembers of one instance.
///
/// Updates are always made of the last word, so an older word cannot overwrite a newer one.
#[derive(Clone, Debug)]
pub(super) struct GuardedInstance {
    /// The source's last word; `None`: it does not report the instance.
    word: Option<Instance>,
    /// The instance as the catalog has it; `None`: it does not.
    given: Option<Instance>,
    damper: Damper,
    /// The doubt whether its source is right to condemn it.
    pub(super) doubt: Option<Doubt>,
}

impl GuardedInstance {
    /// An instance of a member's first list, which passes unchanged.
    pub(super) fn listed(instance: Instance) -> Self {
        Self { word: Some(instance.clone()), given: Some(instance), damper: Damper::default(), doubt: None }
    }

    /// An instance that the source has not reported yet.
    pub(super) fn new() -> Self {
        Self { word: None, given: None, damper: Damper::default(), doubt: None }
    }

    /// Hears the source's word.
    pub(super) fn hear(&mut self, word: Option<Instance>, rule: &GuardRule, now: Instant) {
        let is_new = self.word.is_none() && self.given.is_none() && self.forgets(rule).is_none();
        let (from, to) = (Standing::of(self.word.as_ref()), Standing::of(word.as_ref()));
        let damping = rule.damping.unwrap_or_default();
        // That a new instance appears is no change, but it has to settle.
        let flapping = damping.flapping.filter(|_| !is_new);
        self.damper.hear(from, to, Damping { flapping, ..damping }, now);
        self.word = word;
    }

    /// Changes what the catalog has of it.
    pub(super) fn give(&mut self, given: Option<Instance>) {
        self.given = given;
    }

    /// The instance as it was answered, kept against its source's last word.
    pub(super) fn kept(&self, answered: Instance, why: HoldReason) -> Instance {
        answered.held(Held { why, until: None, word: self.word.clone() })
    }

    /// The instance as the catalog has it.
    pub(super) fn given(&self) -> Option<&Instance> {
        self.given.as_ref()
    }

    /// Why it is held.
    pub(super) fn held(&self) -> Option<HoldReason> {
        self.given.as_ref()?.held.as_ref().map(|held| held.why)
    }

    /// When time alone changes it.
    pub(super) fn deadline(&self, rule: &GuardRule) -> Option<Instant> {
        let held = self.given.as_ref().and_then(|given| given.held.as_ref());
        held.and_then(|held| held.until).or_else(|| self.forgets(rule))
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_over(&self, rule: &GuardRule, now: Instant) -> bool {
        let is_gone = self.word.is_none() && self.given.is_none() && self.doubt.is_none();
        is_gone && self.forgets(rule).is_none_or(|at| at <= now)
    }

    /// When a missing instance is forgotten.
    fn forgets(&self, rule: &GuardRule) -> Option<Instant> {
        let is_gone = self.word.is_none() && self.given.is_none();
        self.damper.forgets(rule.damping.unwrap_or_default()).filter(|_| is_gone)
    }

    /// The instance as damping lets it pass now: its source's last word, unless it has to wait.
    pub(super) fn wanted(&self, now: Instant) -> Option<Instance> {
        let word = self.word.as_ref()?;
        // Damping keeps instances out, but never takes one out.
        let waits =
            Standing::of(Some(word)) == Standing::Good && Standing::of(self.given.as_ref()) != Standing::Good;
        match self.damper.hold(now).filter(|_| waits) {
            Some((why, until)) => Some(self.kept_out(word, why, until)),
            None => Some(word.clone()),
        }
    }

    /// The source's word with the health that it had before.
    fn kept_out(&self, word: &Instance, why: HoldReason, until: Instant) -> Instance {
        let before = self.given.as_ref().map(|given| given.health);
        let (health, reason) = if why == HoldReason::Flapping {
            (Health::Unhealthy, "health changes too often")
        } else {
            (before.unwrap_or(Health::Unknown), "healthy for too short a time")
        };
        let held = Held { why, until: Some(until), word: Some(word.clone()) };
        Instance { health, reason: Some(reason.into()), ..word.clone() }.held(held)
    }
}
