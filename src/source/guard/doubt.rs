//! A doubt: an instance is answered, or is to be answered again, against its source's word.

use std::time::{Duration, Instant};

use crate::model::HoldReason;

/// How long a second opinion is waited for. Without one in this time, the source's word counts.
const OPINION_LIMIT: Duration = Duration::from_secs(1);

/// How long the opinion that an instance accepts connections counts.
const OPEN_FOR: Duration = Duration::from_secs(5);

/// What a probe found of an instance that its source condemns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Opinion {
    /// It accepts connections.
    Open,
    /// It does not, or not in time.
    Closed,
    /// It could not be probed.
    Unknown,
}

/// One doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// Since when the source has condemned the instance.
    pub(super) since: Instant,
    /// Tells a probe's answer for this doubt from those for earlier ones of the instance.
    pub(super) number: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It waits for the limit, or to be probed.
    Waiting,
    /// It is probed. Whether an earlier probe found it open.
    Asked { until: Instant, was_open: bool },
    /// A probe found it open; it is probed again then.
    Open { again: Instant },
    /// A probe found it closed.
    Closed,
}

impl Doubt {
    pub(super) fn new(since: Instant, number: u64) -> Self {
        Self { since, number, state: State::Waiting }
    }

    /// Whether it waits for the limit, or to be probed.
    pub(super) fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// Whether a probe is due because the last one is too old.
    pub(super) fn is_outdated(&self, now: Instant) -> bool {
        matches!(self.state, State::Open { again } if again <= now)
    }

    /// Whether a probe has confirmed the source's word.
    pub(super) fn is_confirmed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether no opinion came in time.
    pub(super) fn is_unanswered(&self, now: Instant) -> bool {
        matches!(self.state, State::Asked { until, .. } if until <= now)
    }

    /// A probe begins.
    pub(super) fn ask(&mut self, now: Instant) {
        let was_open = matches!(self.state, State::Open { .. } | State::Asked { was_open: true, .. });
        self.state = State::Asked { until: now + OPINION_LIMIT, was_open };
    }

    /// The probe's opinion; ignored unless one was asked for.
    pub(super) fn hear(&mut self, opinion: Opinion, now: Instant) {
        if !matches!(self.state, State::Asked { .. }) {
            return;
        }
        match opinion {
            Opinion::Open => self.state = State::Open { again: now + OPEN_FOR },
            Opinion::Closed => self.state = State::Closed,
            Opinion::Unknown => {}
        }
    }

    /// The probe's opinion does not count any more, or will never come.
    pub(super) fn wait(&mut self) {
        self.state = State::Waiting;
    }

    /// When time alone changes it, apart from the limit.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting | State::Closed => None,
            State::Asked { until, .. } => Some(until),
            State::Open { again } => Some(again),
        }
    }

    /// Why the instance is held.
    pub(super) fn why(&self) -> HoldReason {
        match self.state {
            State::Open { .. } | State::Asked { was_open: true, .. } => HoldReason::Contradicted,
            _ => HoldReason::Limited,
        }
    }
}
