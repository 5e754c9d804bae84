//! The instances that cannot be probed now: a note in the source's status.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{model::Member, telemetry::SourceStatus};

/// The topic of the note in the source's status.
const TOPIC: &str = "probes";

/// The instances that cannot be probed now, each with the reason.
#[derive(Debug, Default)]
pub(in crate::source) struct Untried {
    reasons: Mutex<BTreeMap<Key, String>>,
}

/// An instance: its member and its id.
type Key = (Member, Arc<str>);

impl Untried {
    /// Changes one instance's reason, and the note.
    fn set(&self, key: &Key, reason: Option<&str>, status: &SourceStatus) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => reasons.insert(key.clone(), reason.to_owned()),
            None => reasons.remove(key),
        };
        // Under the lock, so that the last note is about the last change.
        status.note(TOPIC, note(&reasons));
    }
}

/// One sentence about all of them.
fn note(reasons: &BTreeMap<Key, String>) -> Option<String> {
    let ((member, id), reason) = reasons.first_key_value()?;
    let count = match reasons.len() {
        1 => "1 instance cannot be probed and keeps its health".to_owned(),
        count => format!("{count} instances cannot be probed and keep their health, for example"),
    };
    Some(format!("{count}: {id} of {}: {reason}", member.service))
}

/// Whether one instance can be probed. Dropping it takes the instance out of the note.
#[derive(Debug)]
pub(in crate::source) struct UntriedEntry {
    untried: Arc<Untried>,
    status: Arc<SourceStatus>,
    key: Key,
    is_untried: bool,
}

impl UntriedEntry {
    /// Makes the entry of an instance that can be probed.
    pub(in crate::source) fn new(
        untried: &Arc<Untried>,
        status: &Arc<SourceStatus>,
        member: Member,
        id: Arc<str>,
    ) -> Self {
        let (untried, status) = (Arc::clone(untried), Arc::clone(status));
        Self { untried, status, key: (member, id), is_untried: false }
    }

    /// Says why the instance cannot be probed, or that it can be; returns whether that has changed.
    pub(in crate::source) fn set(&mut self, reason: Option<&str>) -> bool {
        if reason.is_some() == self.is_untried {
            return false;
        }
        self.is_untried = reason.is_some();
        self.untried.set(&self.key, reason, &self.status);
        true
    }
}

impl Drop for UntriedEntry {
    fn drop(&mut self) {
        self.set(None);
    }
}
