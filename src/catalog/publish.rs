//! Publishing: what has changed is compiled, and put before the readers.

use std::{sync::Arc, time::Instant};

use super::{
    compile::Compiler,
    merge::merge,
    state::{Catalog, HealthCounts},
};
use crate::{
    model::{Member, Name},
    policy,
};

impl Catalog {
    /// Compiles every service that has changed since the last time and puts it before the readers.
    ///
    /// Returns how many services were compiled.
    pub fn publish(&mut self) -> usize {
        self.publish_at(Instant::now())
    }

    /// As [`publish`](Self::publish), at a time of the caller's.
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
            self.publish_one(name, now);
        }
        self.reverse_index.publish(&self.snapshot);
        touched.len()
    }

    /// When to publish next at the latest, even if no update comes.
    pub fn due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Publishes what is known of the addresses whose instances have changed.
    fn publish_clients(&mut self) {
        let (services, clients) = (&self.services, &self.clients);
        let find = |member: &Member, id: &Arc<str>| {
            let of_service = || services.get(&member.service)?.members.get(member);
            clients.get(member).or_else(of_service)?.instances.get(id).map(|held| &held.instance)
        };
        for (address, known) in self.client_index.changed(self.snapshot.localities(), find) {
            self.snapshot.put_client(address, known);
        }
    }

    fn publish_one(&mut self, name: &Name, now: Instant) {
        let Some(service) = self.services.get_mut(name) else { return };
        if service.members.is_empty() && !service.configured {
            if let Some(service) = self.services.remove(name) {
                replace_counts(&mut self.health, &service.health, &HealthCounts::default());
                self.reverse_index.clear(service.reverse_entries);
                if let Some(at) = service.due {
                    self.due.remove(&(at, name.clone()));
                }
                for owner_name in service.owner_names {
                    self.snapshot.take_out(&owner_name.name);
                    self.snapshot.count_empty_non_terminals(&owner_name.name, &service.apex, -1);
                    owner_name.rotations.give_back(&mut self.rotation_ids);
                }
            }
            return;
        }
        // The longest apex wins: a name that another namespace covers is that one's.
        let Some((zone, _)) =
            self.snapshot.zone(name.as_wire()).filter(|(zone, _)| zone.apex == service.apex)
        else {
            return;
        };
        let candidates = merge(service.reports(), self.snapshot.localities());
        let all_synced = service.all_synced();
        let mut counts = HealthCounts::default();
        for candidate in &candidates {
            if let Some(count) = counts.get_mut(candidate.health as usize) {
                *count += 1;
            }
        }
        replace_counts(&mut self.health, &service.health, &counts);
        service.health = counts;
        self.reverse_index.set(&mut service.reverse_entries, (name, zone), &candidates, all_synced);
        let mut due = None;
        for owner_name in &mut service.owner_names {
            let localities = self.snapshot.localities();
            let policy = &owner_name.policy;
            let plan = policy::plan(policy, &candidates, localities, &mut owner_name.memory, all_synced, now);
            let compiler = Compiler {
                name: &owner_name.name,
                zone,
                answers: &policy.answers,
                all_synced,
                tests: &self.client_index.tests,
                rotations: &mut owner_name.rotations,
                ids: &mut self.rotation_ids,
            };
            let compiled = match &owner_name.alias {
                Some(target) => compiler.alias(target),
                None => compiler.compile(&candidates, &plan),
            };
            self.snapshot.put(compiled);
            due = [due, plan.until].into_iter().flatten().min();
        }
        if let Some(before) = std::mem::replace(&mut service.due, due) {
            self.due.remove(&(before, name.clone()));
        }
        self.due.extend(due.map(|at| (at, name.clone())));
    }
}

/// Takes one service's `old` counts out of the total and puts the `new` ones in.
fn replace_counts(total: &mut HealthCounts, old: &HealthCounts, new: &HealthCounts) {
    for ((total, old), new) in total.iter_mut().zip(old).zip(new) {
        *total = (*total + new).saturating_sub(*old);
    }
}
