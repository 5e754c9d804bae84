//! The guard's memory of all members of one source, and its decisions: pure, so that the time is an
//! argument.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{
    counts::HeldCounts,
    doubt::Opinion,
    guarded_member::{GuardedMember, OpinionRequest},
};
use crate::{
    config::GuardRule,
    model::{Instance, Member, Name, Update},
};

/// How the members of one source are guarded.
#[derive(Clone, Debug, Default)]
pub struct GuardRules {
    /// The rule of the source itself.
    pub source: GuardRule,
    /// The rules of members that have their own, completed by the source's.
    pub members: HashMap<Member, GuardRule>,
}

impl GuardRules {
    /// Whether any member is guarded.
    pub fn are_on(&self) -> bool {
        self.source.is_on() || self.members.values().any(GuardRule::is_on)
    }

    /// The rule of a member, if it is guarded. Members that only identify clients are not answered,
    /// so they are not.
    fn of(&self, member: &Member) -> Option<&GuardRule> {
        let rule = self.members.get(member).unwrap_or(&self.source);
        (rule.is_on() && member.place != Member::CLIENTS).then_some(rule)
    }
}

/// What the guard remembers, by member. It survives the source that it was made for.
pub type CarriedMemory = HashMap<Member, CarriedMember>;

/// What the guard remembers of one member.
#[derive(Clone, Debug)]
pub struct CarriedMember(GuardedMember);

/// A second opinion on an instance.
#[derive(Clone, Debug)]
pub(in crate::source) struct SecondOpinion {
    pub(super) member: Member,
    pub(super) id: Arc<str>,
    /// The number of the doubt that it was asked for.
    pub(super) doubt: u64,
    pub(super) opinion: Opinion,
}

/// What the guard remembers of one source.
#[derive(Debug, Default)]
pub(in crate::source) struct GuardMemory {
    rules: GuardRules,
    members: HashMap<Member, GuardedMember>,
    deadlines: BTreeSet<(Instant, Member)>,
    held: HeldCounts,
    requests: Vec<(Member, OpinionRequest)>,
}

impl GuardMemory {
    /// A memory that goes on with what was carried over for the members that are still guarded.
    pub(super) fn new(rules: GuardRules, carried: &mut CarriedMemory) -> Self {
        let mut memory = Self { rules, ..Self::default() };
        let guarded = carried.extract_if(|member, _| memory.rules.of(member).is_some());
        let members: HashMap<_, _> = guarded.map(|(member, carried)| (member, carried.0)).collect();
        for (member, mut guarded) in members {
            guarded.set_rule(memory.rules.of(&member).cloned().unwrap_or_default());
            memory.put_back(member, guarded);
        }
        memory
    }

    /// Gives away what it remembers.
    pub(super) fn take(&mut self) -> CarriedMemory {
        self.deadlines.clear();
        self.held = HeldCounts::default();
        self.requests.clear();
        self.members.drain().map(|(member, guarded)| (member, CarriedMember(guarded))).collect()
    }

    /// Judges an update. Returns the part of it that passes now, if any.
    pub(super) fn judge(&mut self, update: Update, now: Instant) -> Option<Update> {
        let mut passed = Vec::new();
        let mut heard = Vec::new();
        self.hear(update, now, &mut passed, &mut heard);
        for member in heard {
            self.decide(&member, now, &mut passed);
        }
        Update::together(passed)
    }

    /// Hears second opinions. Returns the updates that follow, if any.
    pub(super) fn hear_opinions(&mut self, opinions: Vec<SecondOpinion>, now: Instant) -> Option<Update> {
        let mut passed = Vec::new();
        let mut heard = Vec::new();
        for SecondOpinion { member, id, doubt, opinion } in opinions {
            if let Some(guarded) = self.members.get_mut(&member) {
                guarded.hear_opinion(&id, doubt, opinion, now);
                if !heard.contains(&member) {
                    heard.push(member);
                }
            }
        }
        for member in heard {
            self.decide(&member, now, &mut passed);
        }
        Update::together(passed)
    }

    /// Takes the requests for second opinions.
    pub(super) fn take_requests(&mut self) -> Vec<(Member, OpinionRequest)> {
        std::mem::take(&mut self.requests)
    }

    /// Whether second opinions are asked for.
    pub(super) fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Returns the updates that are due, if any.
    pub(super) fn release(&mut self, now: Instant) -> Option<Update> {
        let mut passed = Vec::new();
        let due: Vec<_> = self.deadlines.iter().take_while(|(at, _)| *at <= now).cloned().collect();
        for (_, member) in due {
            self.decide(&member, now, &mut passed);
        }
        Update::together(passed)
    }

    /// When [`release`](Self::release) is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// How many instances are held.
    pub(super) fn held(&self) -> HeldCounts {
        self.held
    }

    /// Hears the words in an update, so that all of them are judged as one. An update that is not about
    /// instances passes at once. The memory of members that it drops is cleared.
    fn hear(&mut self, update: Update, now: Instant, passed: &mut Vec<Update>, heard: &mut Vec<Member>) {
        let (member, word) = match update {
            Update::Changes(changes) => {
                changes.into_iter().for_each(|change| self.hear(change, now, passed, heard));
                return;
            }
            Update::Reset { member, instances } => (member, Word::List(instances)),
            Update::Upsert { member, instance } => (member, Word::Instance(instance)),
            Update::Remove { member, id } => (member, Word::Removal(id)),
            other => {
                self.forget(&other);
                passed.push(other);
                return;
            }
        };
        let Some(rule) = self.rules.of(&member) else {
            passed.push(word.update(member));
            return;
        };
        match (self.members.get_mut(&member), word) {
            (Some(guarded), Word::List(instances)) => guarded.hear_all(instances, now),
            (Some(guarded), Word::Instance(instance)) => {
                guarded.hear(instance.id.clone(), Some(instance), now);
            }
            (Some(guarded), Word::Removal(id)) => guarded.hear(id, None, now),
            (None, Word::List(instances)) => {
                self.members.insert(member.clone(), GuardedMember::new(rule.clone(), &instances));
            }
            // A member that is not synced: the catalog has nothing of it that could be guarded.
            (None, word) => {
                passed.push(word.update(member));
                return;
            }
        }
        if !heard.contains(&member) {
            heard.push(member);
        }
    }

    fn decide(&mut self, member: &Member, now: Instant, passed: &mut Vec<Update>) {
        let Some(mut guarded) = self.take_out(member) else { return };
        passed.append(&mut guarded.decide(member, now));
        let requests = guarded.take_requests();
        self.requests.extend(requests.into_iter().map(|request| (member.clone(), request)));
        self.put_back(member.clone(), guarded);
    }

    /// Forgets the members that an update drops.
    fn forget(&mut self, update: &Update) {
        match update {
            Update::Expired { member } => {
                self.take_out(member);
            }
            Update::Imported { import, services } => {
                let listed: HashSet<&Name> = services.iter().collect();
                let is_dropped =
                    |member: &&Member| member.is_imported_by(import) && !listed.contains(&member.service);
                let dropped: Vec<_> = self.members.keys().filter(is_dropped).cloned().collect();
                for member in dropped {
                    self.take_out(&member);
                }
            }
            _ => {}
        }
    }

    fn take_out(&mut self, member: &Member) -> Option<GuardedMember> {
        let guarded = self.members.remove(member)?;
        self.held = self.held.minus(guarded.held);
        if let Some(deadline) = guarded.scheduled {
            self.deadlines.remove(&(deadline, member.clone()));
        }
        Some(guarded)
    }

    fn put_back(&mut self, member: Member, mut guarded: GuardedMember) {
        self.held = self.held.plus(guarded.held);
        guarded.scheduled = guarded.deadline();
        if let Some(deadline) = guarded.scheduled {
            self.deadlines.insert((deadline, member.clone()));
        }
        self.members.insert(member, guarded);
    }
}

/// What a source says of a member.
enum Word {
    List(Vec<Instance>),
    Instance(Instance),
    Removal(Arc<str>),
}

impl Word {
    fn update(self, member: Member) -> Update {
        match self {
            Self::List(instances) => Update::Reset { member, instances },
            Self::Instance(instance) => Update::Upsert { member, instance },
            Self::Removal(id) => Update::Remove { member, id },
        }
    }
}
