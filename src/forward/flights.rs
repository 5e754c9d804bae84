//! Questions that are on their way, and who waits for them.

use std::collections::{HashMap, hash_map::Entry};

use super::{
    Forwarder, Reply,
    ask::{Asker, Question},
    image::{Age, Image},
};

/// Different questions on their way at one time; each has a socket.
const MOST_FLIGHTS: usize = 4096;

/// Clients that may wait for all of their answers.
const MOST_WAITERS: usize = 16_384;

/// The questions that are on their way, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Flights {
    pub(super) waiters: HashMap<Question, Vec<Waiter>>,
    /// How many wait for all of them.
    waiting: usize,
}

/// A client that waits.
pub(super) struct Waiter {
    pub(super) asker: Asker,
    pub(super) reply: Reply,
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.asker.fmt(f)
    }
}

impl Waiter {
    pub(super) fn reply(self, image: &Image) {
        let mut answer = Vec::with_capacity(512);
        image.write(&self.asker.ask(), Age::New, &mut answer);
        (self.reply)(&answer);
    }

    /// Replies that nobody answered.
    pub(super) fn fail(self) {
        let image = Image::failure(self.asker.ask().question);
        self.reply(&image);
    }
}

/// What became of a question that was to go on its way.
pub(super) enum Admitted {
    /// It is to be asked now; that many are on their way.
    First(Question, usize),
    /// It waits for the answer to an equal one.
    Shares,
    /// There is no room for it.
    Full(Option<Waiter>),
}

impl Flights {
    pub(super) fn admit(&mut self, question: Question, waiter: Option<Waiter>) -> Admitted {
        let count = self.waiters.len();
        if self.waiting >= MOST_WAITERS && waiter.is_some() {
            return Admitted::Full(waiter);
        }
        let admitted = match self.waiters.entry(question) {
            Entry::Occupied(mut entry) => {
                self.waiting += usize::from(waiter.is_some());
                entry.get_mut().extend(waiter);
                return Admitted::Shares;
            }
            Entry::Vacant(_) if count >= MOST_FLIGHTS => return Admitted::Full(waiter),
            Entry::Vacant(entry) => {
                let question = entry.key().clone();
                self.waiting += usize::from(waiter.is_some());
                entry.insert(waiter.into_iter().collect());
                question
            }
        };
        Admitted::First(admitted, count + 1)
    }

    /// Takes out those who wait for a question, which stays on its way.
    pub(super) fn let_go(&mut self, question: &Question) -> Vec<Waiter> {
        let waiters = self.waiters.get_mut(question).map(std::mem::take).unwrap_or_default();
        self.waiting = self.waiting.saturating_sub(waiters.len());
        waiters
    }
}

/// Ends a flight however it ends, so that no later question waits for one that nobody asks.
pub(super) struct Landing<'f> {
    forwarder: &'f Forwarder,
    question: &'f Question,
    landed: bool,
}

impl<'f> Landing<'f> {
    pub(super) fn new(forwarder: &'f Forwarder, question: &'f Question) -> Self {
        Self { forwarder, question, landed: false }
    }

    /// Ends the flight; returns who waits for its answer still. From then on an equal question has a flight of its own.
    pub(super) fn land(&mut self) -> Vec<Waiter> {
        if std::mem::replace(&mut self.landed, true) {
            return Vec::new();
        }
        let mut flights = self.forwarder.flights();
        let waiters = flights.let_go(self.question);
        flights.waiters.remove(self.question);
        self.forwarder.metrics.forward().in_flight(flights.waiters.len());
        waiters
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        drop(self.land());
    }
}
