//! The guard of one outbox: its memory, and the signal that its next deadline may have changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{sync::Notify, time::Instant};

use super::memory::{CarriedMemory, GuardMemory, GuardRules};
use crate::{
    model::Update,
    telemetry::{HeldHandle, SourceStatus},
};

/// Decides which updates of a source pass to the catalog now.
#[derive(Debug)]
pub struct Guard {
    memory: Mutex<GuardMemory>,
    pub(super) deadline_changed: Notify,
    held: HeldHandle,
}

impl Guard {
    /// Makes the guard of a source, which goes on with what was carried over from before a reload;
    /// `None` if no member is guarded.
    pub fn new(
        rules: GuardRules,
        carried: &mut CarriedMemory,
        status: &Arc<SourceStatus>,
    ) -> Option<Arc<Self>> {
        if !rules.are_on() {
            return None;
        }
        let memory = Mutex::new(GuardMemory::new(rules, carried));
        let guard = Self { memory, deadline_changed: Notify::new(), held: status.guard() };
        guard.report(&guard.lock());
        Some(Arc::new(guard))
    }

    /// Gives away what it remembers, for the guard that takes over after a reload.
    pub fn take_memory(&self) -> CarriedMemory {
        self.lock().take()
    }

    /// Judges an update. Returns the part of it that passes now, if any.
    pub(in crate::source) fn judge(&self, update: Update) -> Option<Update> {
        self.decide(|memory, now| memory.judge(update, now))
    }

    /// Returns the updates that are due, if any.
    pub(in crate::source) fn release(&self) -> Option<Update> {
        self.decide(GuardMemory::release)
    }

    /// When the next release is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lock().deadline().map(Instant::from_std)
    }

    fn decide(
        &self,
        decide: impl FnOnce(&mut GuardMemory, std::time::Instant) -> Option<Update>,
    ) -> Option<Update> {
        let mut memory = self.lock();
        let before = memory.deadline();
        let passed = decide(&mut memory, Instant::now().into_std());
        self.report(&memory);
        if memory.deadline() != before {
            self.deadline_changed.notify_one();
        }
        passed
    }

    fn report(&self, memory: &GuardMemory) {
        let counts = memory.held().by_reason();
        self.held.set(counts.map(|(why, count)| (why.as_str(), count)).collect());
    }

    fn lock(&self) -> MutexGuard<'_, GuardMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
