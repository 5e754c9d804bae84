//! The guard of one outbox: its memory, and the signal that its next deadline may have changed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};
use tracing::{info, warn};

use super::{
    guarded_member::OpinionRequest,
    memory::{CarriedMemory, GuardMemory, GuardRules, SecondOpinion},
};
use crate::{
    model::{HoldReason, Member, Update},
    telemetry::{HeldHandle, SourceStatus},
};

/// Decides which updates of a source pass to the catalog now.
#[derive(Debug)]
pub struct Guard {
    memory: Mutex<GuardMemory>,
    /// Notified when the next deadline has changed, or a second opinion is asked for.
    pub(super) changed: Notify,
    /// Whether a probe contradicts the source.
    is_contradicted: AtomicBool,
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
        let guard = Self {
            memory,
            changed: Notify::new(),
            is_contradicted: AtomicBool::new(false),
            held: status.guard(),
        };
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

    /// Hears second opinions. Returns the updates that follow, if any.
    pub(in crate::source) fn hear_opinions(&self, opinions: Vec<SecondOpinion>) -> Option<Update> {
        self.decide(|memory, now| memory.hear_opinions(opinions, now))
    }

    /// Takes the requests for second opinions.
    pub(super) fn take_requests(&self) -> Vec<(Member, OpinionRequest)> {
        self.lock().take_requests()
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
        if memory.deadline() != before || memory.has_requests() {
            self.changed.notify_one();
        }
        passed
    }

    fn report(&self, memory: &GuardMemory) {
        let counts: BTreeMap<_, _> = memory.held().by_reason().collect();
        let contradicted = counts.get(&HoldReason::Contradicted).copied();
        self.held.set(counts.into_iter().map(|(why, count)| (why.as_str(), count)).collect());
        let source = self.held.source();
        match (contradicted, self.is_contradicted.swap(contradicted.is_some(), Ordering::Relaxed)) {
            (Some(instances), false) => warn!(
                %source, instances,
                "the source reports instances as gone or unhealthy that accept connections; they stay answered",
            ),
            (None, true) => info!(%source, "probes agree with the source again"),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, GuardMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
