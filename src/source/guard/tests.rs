//! Tests of the memory, with times of their own, and of an outbox with a guard.

mod damping;
mod outbox;
mod properties;
mod removals;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    doubt::Opinion,
    memory::{CarriedMemory, GuardMemory, GuardRules, SecondOpinion},
};
use crate::{
    config::{Damping, Flapping, GuardRule},
    model::{Health, HoldReason, Instance, Member, SourceId, SourceKind, Update},
};

fn member(service: &str) -> Member {
    let source = SourceId { kind: SourceKind::Consul, name: "vms".into() };
    Member { service: service.parse().unwrap(), source, place: 0 }
}

fn web() -> Member {
    member("web.shop")
}

fn instance(last: u8, health: Health) -> Instance {
    Instance { health, ..Instance::at(&format!("i{last:03}"), [10, 0, 0, last].into(), 80) }
}

fn reset(instances: Vec<Instance>) -> Update {
    Update::Reset { member: web(), instances }
}

fn upsert(last: u8, health: Health) -> Update {
    Update::Upsert { member: web(), instance: instance(last, health) }
}

fn remove(last: u8) -> Update {
    Update::Remove { member: web(), id: instance(last, Health::Healthy).id }
}

fn healthy(numbers: std::ops::Range<u8>) -> Vec<Instance> {
    numbers.map(|last| instance(last, Health::Healthy)).collect()
}

fn damping(settle: u64, flapping: Option<(u64, u8, u64)>) -> GuardRule {
    let flapping = flapping.map(|(hold, changes, window)| Flapping {
        hold: Duration::from_secs(hold),
        changes,
        window: Duration::from_secs(window),
    });
    GuardRule {
        damping: Some(Damping { settle: Duration::from_secs(settle), flapping }),
        ..GuardRule::default()
    }
}

/// A memory, what the catalog has after all that passed, and a clock.
struct Bed {
    memory: GuardMemory,
    catalog: BTreeMap<Arc<str>, Instance>,
    began: Instant,
    now: Instant,
}

impl Bed {
    fn new(rule: GuardRule) -> Self {
        let rules = GuardRules { source: rule, members: Default::default() };
        let now = Instant::now();
        let memory = GuardMemory::new(rules, &mut CarriedMemory::new());
        Self { memory, catalog: BTreeMap::new(), began: now, now }
    }

    /// Sends an update at a number of milliseconds after the beginning; releases what is due until
    /// then.
    fn at(&mut self, milliseconds: u64, update: Update) -> Option<Update> {
        self.wait_until(milliseconds);
        let passed = self.memory.judge(update, self.now);
        self.apply(passed.clone());
        passed
    }

    /// Releases what is due until a number of milliseconds after the beginning.
    fn wait_until(&mut self, milliseconds: u64) {
        let end = self.began + Duration::from_millis(milliseconds);
        while let Some(deadline) = self.memory.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            let passed = self.memory.release(self.now);
            self.apply(passed);
        }
        self.now = end;
    }

    fn apply(&mut self, passed: Option<Update>) {
        match passed {
            None => {}
            Some(Update::Changes(changes)) => changes.into_iter().for_each(|change| self.apply(Some(change))),
            Some(Update::Reset { instances, .. }) => {
                self.catalog = instances.into_iter().map(|i| (Arc::clone(&i.id), i)).collect();
            }
            Some(Update::Upsert { instance, .. }) => {
                self.catalog.insert(Arc::clone(&instance.id), instance);
            }
            Some(Update::Remove { id, .. }) => {
                self.catalog.remove(&id);
            }
            Some(Update::Expired { .. }) => self.catalog.clear(),
            Some(other) => panic!("{other:?}"),
        }
    }

    fn health(&self, last: u8) -> Option<Health> {
        self.catalog.get(&instance(last, Health::Healthy).id).map(|instance| instance.health)
    }

    /// How many instances are answered as good.
    fn good(&self) -> usize {
        self.catalog.values().filter(|instance| instance.health <= Health::Warning).count()
    }

    /// The doubts that the guard asks for second opinions on.
    fn asked(&mut self) -> Vec<(Arc<str>, u64)> {
        let requests = self.memory.take_requests().into_iter();
        requests.map(|(_, request)| (request.instance.id, request.doubt)).collect()
    }

    /// Sends an opinion on some doubts at a number of milliseconds after the beginning.
    fn hear(&mut self, milliseconds: u64, doubts: &[(Arc<str>, u64)], opinion: Opinion) {
        self.wait_until(milliseconds);
        let heard = |(id, doubt): &(Arc<str>, u64)| SecondOpinion {
            member: web(),
            id: Arc::clone(id),
            doubt: *doubt,
            opinion,
        };
        let passed = self.memory.hear_opinions(doubts.iter().map(heard).collect(), self.now);
        self.apply(passed);
    }

    /// Hands the memory to another guard, as a reload does.
    fn take_over(&mut self, rule: GuardRule) {
        let rules = GuardRules { source: rule, members: Default::default() };
        self.memory = GuardMemory::new(rules, &mut self.memory.take());
    }

    /// Why an instance is held, and until how many milliseconds after the beginning.
    fn held(&self, last: u8) -> Option<(HoldReason, Option<u64>)> {
        let held = self.catalog.get(&instance(last, Health::Healthy).id)?.held.as_ref()?;
        let until = held.until.map(|until| until.duration_since(self.began).as_millis() as u64);
        Some((held.why, until))
    }
}
