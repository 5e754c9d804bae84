//! Publishing: compiling the services that changed, and putting them before the readers.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use super::{
    compile::Compiler,
    merge::merge,
    state::{Catalog, HealthCounts},
};
use crate::{
    model::{Member, Name},
    policy::{self, Candidate},
};

impl Catalog {
    /// Compiles every service that has changed since the last time and puts it before the readers.
    ///
    /// Returns how many services were compiled.
    pub fn publish(&mut self) -> usize {
        self.publish_at(Instant::now())
    }

    /// As [`publish`](Self::publish), at the given time.
    pub fn publish_at(&mut self, now: Instant) -> usize {
        self.set_time(now);
        self.publish_clients();
        while let Some((at, name)) = self.due.first()
            && *at <= now
        {
            self.touched.insert(name.clone());
            self.due.pop_first();
        }
        let touched = std::mem::take(&mut self.touched);
        for name in &touched {
            self.publish_service(name);
        }
        self.reverse_index.publish(&self.snapshot);
        touched.len()
    }

    /// When to publish next at the latest, even without an update: when the next hold-down ends.
    pub fn due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Publishes the client profiles of the addresses whose instances have changed.
    fn publish_clients(&mut self) {
        let (services, clients) = (&self.services, &self.clients);
        let find = |member: &Member, id: &Arc<str>| {
            let of_service = || services.get(&member.service)?.members.get(member);
            clients.get(member).or_else(of_service)?.instances.get(id).map(|dated| &dated.instance)
        };
        for (address, profile) in self.client_index.changed(self.snapshot.localities(), find) {
            self.snapshot.put_client(address, profile);
        }
    }

    fn publish_service(&mut self, name: &Name) {
        match self.services.get(name) {
            // No import lists it any more.
            Some(service) if service.members.is_empty() && !service.configured => self.withdraw(name),
            Some(_) => self.recompile(name),
            None => {}
        }
    }

    /// Removes a service and everything that leads to it.
    fn withdraw(&mut self, name: &Name) {
        let Some(service) = self.services.remove(name) else { return };
        replace_counts(&mut self.health, &service.health, &HealthCounts::default());
        self.reverse_index.clear(service.reverse_entries);
        reschedule(&mut self.due, name, service.due, None);
        for owner_name in service.owner_names {
            self.snapshot.remove(&owner_name.name);
            self.snapshot.count_empty_non_terminals(&owner_name.name, &service.apex, -1);
            owner_name.rotations.give_back(&mut self.rotation_ids);
        }
    }

    /// Merges the reports of a service's members and compiles each of its owner names.
    fn recompile(&mut self, name: &Name) {
        let Some(service) = self.services.get_mut(name) else { return };
        // The longest apex wins: a name that an inner namespace covers belongs to that one.
        let Some((zone, _)) = self.snapshot.zone(name.wire()).filter(|(zone, _)| zone.apex == service.apex)
        else {
            return;
        };
        let localities = self.snapshot.localities();
        service.drop_withdrawn(self.now);
        let candidates = merge(service.reports(), localities);
        let (coverage, all_synced) = (service.coverage(), service.all_synced());
        let health = count_health(&candidates);
        replace_counts(&mut self.health, &service.health, &health);
        service.health = health;
        self.reverse_index.set(&mut service.reverse_entries, (name, zone), &candidates, all_synced);
        let mut due = service.withdrawn.until();
        for owner_name in &mut service.owner_names {
            let policy = &owner_name.policy;
            let memory = &owner_name.memory;
            let (plan, memory) = policy::plan(policy, &candidates, localities, memory, coverage, self.now);
            owner_name.memory = memory;
            let compiler = Compiler {
                name: &owner_name.name,
                zone,
                answers: &policy.answers,
                all_synced,
                tests: &self.client_index.tests,
                rotations: &mut owner_name.rotations,
                ids: &mut self.rotation_ids,
            };
            self.snapshot.put(match &owner_name.alias {
                Some(target) => compiler.alias(target),
                None => compiler.compile(&candidates, &plan),
            });
            due = [due, plan.until].into_iter().flatten().min();
        }
        reschedule(&mut self.due, name, std::mem::replace(&mut service.due, due), due);
    }
}

/// Moves a service from one place of the schedule to another.
fn reschedule(
    schedule: &mut BTreeSet<(Instant, Name)>,
    name: &Name,
    before: Option<Instant>,
    after: Option<Instant>,
) {
    if let Some(at) = before {
        schedule.remove(&(at, name.clone()));
    }
    schedule.extend(after.map(|at| (at, name.clone())));
}

fn count_health(candidates: &[Candidate]) -> HealthCounts {
    let mut counts = HealthCounts::default();
    for candidate in candidates {
        if let Some(count) = counts.get_mut(candidate.health as usize) {
            *count += 1;
        }
    }
    debug_assert_eq!(counts.iter().sum::<usize>(), candidates.len(), "each health has a count");
    counts
}

/// Replaces one service's `old` counts in the total by its `new` ones.
fn replace_counts(total: &mut HealthCounts, old: &HealthCounts, new: &HealthCounts) {
    for ((total, old), new) in total.iter_mut().zip(old).zip(new) {
        debug_assert!(*total >= *old, "the total contains each service's counts");
        *total = (*total + new).saturating_sub(*old);
    }
}
