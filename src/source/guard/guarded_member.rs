//! One member: its instances, and what its source's words change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::{counts::HeldCounts, guarded_instance::GuardedInstance};
use crate::{
    config::GuardRule,
    model::{Instance, Member, Update},
};

/// What the guard remembers of one member.
#[derive(Clone, Debug)]
pub(super) struct GuardedMember {
    rule: GuardRule,
    instances: BTreeMap<Arc<str>, GuardedInstance>,
    /// The instances that time alone may change.
    waiting: BTreeSet<Arc<str>>,
    /// The instances of which the source has said something since the last decision.
    heard: BTreeSet<Arc<str>>,
    /// Whether the source has sent its full list since the last decision.
    has_listed: bool,
    pub(super) held: HeldCounts,
    /// The deadline that it is filed under.
    pub(super) scheduled: Option<Instant>,
}

impl GuardedMember {
    /// A member whose first list passes unchanged.
    pub(super) fn new(rule: GuardRule, instances: &[Instance]) -> Self {
        let listed =
            |instance: &Instance| (Arc::clone(&instance.id), GuardedInstance::listed(instance.clone()));
        Self {
            rule,
            instances: instances.iter().map(listed).collect(),
            waiting: BTreeSet::new(),
            heard: BTreeSet::new(),
            has_listed: true,
            held: HeldCounts::default(),
            scheduled: None,
        }
    }

    /// Follows another rule from now on.
    pub(super) fn set_rule(&mut self, rule: GuardRule) {
        self.rule = rule;
    }

    /// Hears the source's full list, as a difference to its last words.
    pub(super) fn hear_all(&mut self, instances: Vec<Instance>, now: Instant) {
        let mut words: BTreeMap<Arc<str>, Option<Instance>> =
            self.instances.keys().map(|id| (Arc::clone(id), None)).collect();
        words.extend(instances.into_iter().map(|instance| (Arc::clone(&instance.id), Some(instance))));
        for (id, word) in words {
            self.hear(id, word, now);
        }
        self.has_listed = true;
    }

    /// Hears of one instance; `None`: it is gone.
    pub(super) fn hear(&mut self, id: Arc<str>, word: Option<Instance>, now: Instant) {
        let instance = self.instances.entry(Arc::clone(&id)).or_insert_with(GuardedInstance::new);
        instance.hear(word, &self.rule, now);
        self.heard.insert(id);
    }

    /// Decides on everything heard since the last decision, and on what time has changed: the
    /// updates that pass.
    ///
    /// *Order*: as of the updates of a source, new and changed instances before removed ones.
    pub(super) fn decide(&mut self, member: &Member, now: Instant) -> Vec<Update> {
        let mut ids = std::mem::take(&mut self.heard);
        ids.extend(self.waiting.iter().filter(|id| self.is_due(id, now)).cloned());
        let mut upserts = Vec::new();
        let mut removes = Vec::new();
        for id in ids {
            match self.advance(&id, now) {
                Passed::Nothing => {}
                Passed::Instance(instance) => {
                    upserts.push(Update::Upsert { member: member.clone(), instance });
                }
                Passed::Removal => removes.push(Update::Remove { member: member.clone(), id }),
            }
        }
        if std::mem::take(&mut self.has_listed) {
            return vec![Update::Reset { member: member.clone(), instances: self.given() }];
        }
        upserts.append(&mut removes);
        upserts
    }

    /// When time alone changes something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let instances = self.waiting.iter().filter_map(|id| self.instances.get(id));
        instances.filter_map(|instance| instance.deadline(&self.rule)).min()
    }

    fn is_due(&self, id: &str, now: Instant) -> bool {
        let deadline = self.instances.get(id).and_then(|instance| instance.deadline(&self.rule));
        deadline.is_some_and(|deadline| deadline <= now)
    }

    fn advance(&mut self, id: &Arc<str>, now: Instant) -> Passed {
        let Some(instance) = self.instances.get_mut(id) else { return Passed::Nothing };
        let before = instance.held();
        let has_changed = instance.advance(now);
        self.held.change(before, instance.held());
        let given = instance.given().cloned();
        if instance.is_over(&self.rule, now) {
            self.instances.remove(id);
            self.waiting.remove(id);
        } else if instance.deadline(&self.rule).is_some() {
            self.waiting.insert(Arc::clone(id));
        } else {
            self.waiting.remove(id);
        }
        match given {
            _ if !has_changed => Passed::Nothing,
            Some(instance) => Passed::Instance(instance),
            None => Passed::Removal,
        }
    }

    fn given(&self) -> Vec<Instance> {
        self.instances.values().filter_map(|instance| instance.given().cloned()).collect()
    }
}

/// The update of one instance that passes.
enum Passed {
    Nothing,
    Instance(Instance),
    Removal,
}
