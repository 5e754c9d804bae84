//! One member: its instances, and what its source's words change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::{
    counts::HeldCounts,
    damping::Standing,
    doubt::{Doubt, Opinion},
    guarded_instance::GuardedInstance,
    removals::Removals,
};
use crate::{
    config::{GuardRule, RemovalLimit},
    model::{HoldReason, Instance, Member, Update},
};

/// What the guard remembers of one member.
#[derive(Clone, Debug)]
pub(super) struct GuardedMember {
    rule: GuardRule,
    instances: BTreeMap<Arc<str>, GuardedInstance>,
    /// The instances that damping may change as time passes.
    waiting: BTreeSet<Arc<str>>,
    /// The instances of which the source has said something since the last decision.
    heard: BTreeSet<Arc<str>>,
    /// Whether the source has sent its full list since the last decision.
    has_listed: bool,
    /// How many instances are answered as good.
    good: usize,
    /// The instances that a doubt is about.
    doubted: BTreeSet<Arc<str>>,
    /// How many doubts there have been.
    doubts: u64,
    removals: Removals,
    /// The instances that are to be probed.
    requests: Vec<OpinionRequest>,
    pub(super) held: HeldCounts,
    /// The deadline that it is filed under.
    pub(super) scheduled: Option<Instant>,
}

/// A request for a second opinion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) struct OpinionRequest {
    /// The instance as it was last answered.
    pub(in crate::source) instance: Instance,
    /// Tells the doubt from earlier ones of the instance.
    pub(in crate::source) doubt: u64,
}

impl GuardedMember {
    /// A member whose first list passes unchanged.
    pub(super) fn new(rule: GuardRule, instances: &[Instance]) -> Self {
        let listed =
            |instance: &Instance| (Arc::clone(&instance.id), GuardedInstance::listed(instance.clone()));
        Self {
            rule,
            good: instances.iter().filter(|instance| is_good(Some(instance))).count(),
            instances: instances.iter().map(listed).collect(),
            waiting: BTreeSet::new(),
            heard: BTreeSet::new(),
            has_listed: true,
            doubted: BTreeSet::new(),
            doubts: 0,
            removals: Removals::default(),
            requests: Vec::new(),
            held: HeldCounts::default(),
            scheduled: None,
        }
    }

    /// Follows another rule from now on. Probes that were under way belong to the guard before.
    pub(super) fn set_rule(&mut self, rule: GuardRule) {
        self.rule = rule;
        self.requests.clear();
        for id in &self.doubted {
            if let Some(doubt) = self.instances.get_mut(id).and_then(|instance| instance.doubt.as_mut()) {
                doubt.wait();
            }
        }
        self.heard.extend(self.doubted.iter().cloned());
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

    /// Hears a second opinion on an instance. Ignores it if the doubt is over.
    pub(super) fn hear_opinion(&mut self, id: &str, doubt: u64, opinion: Opinion, now: Instant) {
        let about = self.instances.get_mut(id).and_then(|instance| instance.doubt.as_mut());
        if let Some(about) = about.filter(|about| about.number == doubt) {
            about.hear(opinion, now);
        }
    }

    /// Takes the requests for second opinions.
    pub(super) fn take_requests(&mut self) -> Vec<OpinionRequest> {
        std::mem::take(&mut self.requests)
    }

    /// Decides on everything heard since the last decision, and on what time has changed: the
    /// updates that pass.
    ///
    /// *Order*: as of the updates of a source, new and changed instances before removed ones.
    pub(super) fn decide(&mut self, member: &Member, now: Instant) -> Vec<Update> {
        let mut ids = std::mem::take(&mut self.heard);
        ids.extend(self.waiting.iter().filter(|id| self.is_due(id, now)).cloned());
        let mut changed = BTreeSet::new();
        for id in &ids {
            self.follow(id, now, &mut changed);
        }
        if let Some(limit) = self.rule.removal_limit().filter(|_| !self.doubted.is_empty()) {
            self.settle_doubts(limit, now, &mut changed);
        }
        let updates = self.updates(member, &changed);
        ids.append(&mut changed);
        self.drop_finished(&ids, now);
        updates
    }

    fn updates(&mut self, member: &Member, changed: &BTreeSet<Arc<str>>) -> Vec<Update> {
        if std::mem::take(&mut self.has_listed) {
            let given = self.instances.values().filter_map(|instance| instance.given().cloned());
            return vec![Update::Reset { member: member.clone(), instances: given.collect() }];
        }
        let mut upserts = Vec::new();
        let mut removes = Vec::new();
        for id in changed {
            match self.instances.get(id).and_then(GuardedInstance::given) {
                Some(given) => {
                    upserts.push(Update::Upsert { member: member.clone(), instance: given.clone() });
                }
                None => removes.push(Update::Remove { member: member.clone(), id: Arc::clone(id) }),
            }
        }
        upserts.append(&mut removes);
        upserts
    }

    /// When time alone changes something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let instances = self.waiting.iter().filter_map(|id| self.instances.get(id));
        let damping = instances.filter_map(|instance| instance.deadline(&self.rule));
        let doubts = || self.doubted.iter().filter_map(|id| self.instances.get(id)?.doubt.as_ref());
        let opinions = doubts().filter_map(Doubt::deadline);
        let first_waiting = doubts().filter(|doubt| doubt.is_waiting()).map(|doubt| doubt.since).min();
        let limit = self.rule.removal_limit().zip(first_waiting);
        let limit = limit.map(|(limit, since)| self.removals.next(limit, self.good, since));
        // Only another rule leaves words that no decision has followed.
        let other_rule = doubts().map(|doubt| doubt.since).filter(|_| !self.heard.is_empty());
        damping.chain(opinions).chain(limit).chain(other_rule).min()
    }

    fn is_due(&self, id: &str, now: Instant) -> bool {
        let deadline = self.instances.get(id).and_then(|instance| instance.deadline(&self.rule));
        deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Follows the source's last word on an instance, unless that would take it out of answers and
    /// removals are limited.
    fn follow(&mut self, id: &Arc<str>, now: Instant, changed: &mut BTreeSet<Arc<str>>) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let wanted = instance.wanted(now);
        let is_condemned = Standing::of(wanted.as_ref()) == Standing::Bad;
        let is_limited = self.rule.removal_limit().is_some();
        if !is_condemned || !is_limited {
            instance.doubt = None;
            self.doubted.remove(id);
            self.removals.take(id);
        }
        if is_condemned && is_limited && is_good(instance.given()) {
            if instance.doubt.is_none() {
                self.doubts += 1;
                instance.doubt = Some(Doubt::new(now, self.doubts));
                self.doubted.insert(Arc::clone(id));
            }
        } else {
            self.give(id, wanted, changed);
        }
        self.note_waiting(id);
    }

    /// Lets as many of the condemned instances go as the limit allows. If that is not all, asks for
    /// second opinions, where configured.
    fn settle_doubts(&mut self, limit: RemovalLimit, now: Instant, changed: &mut BTreeSet<Arc<str>>) {
        self.removals.forget_old(limit, now);
        let confirmed = self.doubted_where(Doubt::is_confirmed);
        confirmed.into_iter().for_each(|id| self.let_go(&id, None, now, changed));
        for id in self.doubted_where(|doubt| doubt.is_unanswered(now)) {
            let is_last = self.good == 1 && self.is_answered(&id);
            match self.doubt_of(&id) {
                Some(doubt) if is_last => doubt.wait(),
                _ => self.let_go(&id, None, now, changed),
            }
        }
        let waiting = self.doubted_where(Doubt::is_waiting);
        let oldest = waiting.first().and_then(|id| self.doubt_of(id)).map(|doubt| doubt.since);
        let in_question = self.doubted.len() - waiting.len();
        let allowed = self.removals.allowed(limit, self.good, oldest, now).saturating_sub(in_question);
        let asks = self.rule.asks_for_second_opinions() && waiting.len() > allowed;
        if !asks {
            waiting.iter().take(allowed).for_each(|id| self.let_go(id, Some(now), now, changed));
        } else {
            let gone = self.removals.ids();
            waiting.iter().for_each(|id| self.ask(id, now));
            gone.iter().for_each(|id| self.ask_of_gone(id, now));
        }
        let outdated = self.doubted_where(|doubt| doubt.is_outdated(now));
        outdated.iter().for_each(|id| self.ask(id, now));
        let kept: Vec<_> = self.doubted.iter().cloned().collect();
        kept.iter().for_each(|id| self.keep(id, changed));
    }

    /// The instances with such a doubt, those that were condemned first before others.
    fn doubted_where(&self, matches: impl Fn(&Doubt) -> bool) -> Vec<Arc<str>> {
        let doubt = |id: &Arc<str>| {
            let doubt = self.instances.get(id)?.doubt.as_ref()?;
            matches(doubt).then(|| (doubt.since, Arc::clone(id)))
        };
        let mut found: Vec<_> = self.doubted.iter().filter_map(doubt).collect();
        found.sort();
        found.into_iter().map(|(_, id)| id).collect()
    }

    fn doubt_of(&mut self, id: &str) -> Option<&mut Doubt> {
        self.instances.get_mut(id)?.doubt.as_mut()
    }

    fn is_answered(&self, id: &str) -> bool {
        is_good(self.instances.get(id).and_then(GuardedInstance::given))
    }

    /// Follows the source's word on a condemned instance. `counted`: it went by the limit alone.
    fn let_go(
        &mut self,
        id: &Arc<str>,
        counted: Option<Instant>,
        now: Instant,
        changed: &mut BTreeSet<Arc<str>>,
    ) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        instance.doubt = None;
        let wanted = instance.wanted(now);
        let was = instance.given().filter(|given| is_good(Some(given))).cloned();
        self.doubted.remove(id);
        match (counted, was) {
            (Some(at), Some(was)) => {
                self.removals.note(Arc::clone(id), Instance { held: None, ..was }, at);
            }
            _ => {
                self.removals.take(id);
            }
        }
        self.give(id, wanted, changed);
        self.note_waiting(id);
    }

    fn ask(&mut self, id: &Arc<str>, now: Instant) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let was_gone = self.removals.get(id).map(|(_, instance)| instance);
        let answered = instance.given().filter(|given| is_good(Some(given))).or(was_gone).cloned();
        match (instance.doubt.as_mut(), answered) {
            (Some(doubt), Some(answered)) => {
                doubt.ask(now);
                self.requests.push(OpinionRequest { instance: answered, doubt: doubt.number });
            }
            // It went so long ago that there is nothing left to take in again.
            _ => {
                instance.doubt = None;
                self.doubted.remove(id);
            }
        }
    }

    /// Asks about an instance that went a short time ago: it was the first of many.
    fn ask_of_gone(&mut self, id: &Arc<str>, now: Instant) {
        let instance = self.instances.entry(Arc::clone(id)).or_insert_with(GuardedInstance::new);
        if instance.doubt.is_none() {
            self.doubts += 1;
            let since = self.removals.get(id).map_or(now, |(at, _)| *at);
            instance.doubt = Some(Doubt::new(since, self.doubts));
            self.doubted.insert(Arc::clone(id));
            self.ask(id, now);
        }
    }

    /// Keeps a condemned instance in answers, or takes it in again if a probe found it open.
    fn keep(&mut self, id: &Arc<str>, changed: &mut BTreeSet<Arc<str>>) {
        let Some(instance) = self.instances.get(id) else { return };
        let Some(why) = instance.doubt.as_ref().map(Doubt::why) else { return };
        let answered = match instance.given().filter(|given| is_good(Some(given))) {
            Some(given) => Some(given.clone()),
            None if why == HoldReason::Contradicted => self.removals.take(id),
            None => None,
        };
        if let Some(answered) = answered {
            let kept = instance.kept(answered, why);
            self.give(id, Some(kept), changed);
        }
    }

    /// Changes what the catalog has of an instance.
    fn give(&mut self, id: &Arc<str>, given: Option<Instance>, changed: &mut BTreeSet<Arc<str>>) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        if instance.given() == given.as_ref() {
            return;
        }
        let (before, was_good) = (instance.held(), is_good(instance.given()));
        instance.give(given);
        self.held.change(before, instance.held());
        self.good = self.good + usize::from(is_good(instance.given())) - usize::from(was_good);
        changed.insert(Arc::clone(id));
    }

    fn note_waiting(&mut self, id: &Arc<str>) {
        let waits = self.instances.get(id).is_some_and(|instance| instance.deadline(&self.rule).is_some());
        if waits {
            self.waiting.insert(Arc::clone(id));
        } else {
            self.waiting.remove(id);
        }
    }

    /// Forgets the instances that there is nothing to remember of.
    fn drop_finished(&mut self, ids: &BTreeSet<Arc<str>>, now: Instant) {
        for id in ids {
            if self.instances.get(id).is_some_and(|instance| instance.is_over(&self.rule, now)) {
                self.instances.remove(id);
                self.waiting.remove(id);
            }
        }
    }
}

fn is_good(instance: Option<&Instance>) -> bool {
    Standing::of(instance) == Standing::Good
}
