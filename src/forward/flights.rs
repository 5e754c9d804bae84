//! Questions that are on their way, and who waits for them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    Forwarder, Reply,
    ask::{Asker, Question},
    image::{Age, Image},
    rules::Rule,
};

/// Different questions on their way at one time.
const MOST_FLIGHTS: usize = 4096;

/// Clients that may wait for all of their answers.
const MOST_WAITERS: usize = 16_384;

/// The share of both that one rule may take, whose upstreams could all be dead.
const SHARE: usize = 2;

/// The questions that are on their way, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Flights {
    /// By question and epoch: nobody waits for the answer of an upstream that is no longer asked.
    pub(super) waiters: HashMap<(Question, u64), Vec<Waiter>>,
    /// How many wait for all of them.
    waiting: usize,
}

/// A question on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) question: Question,
    pub(super) rule: Arc<Rule>,
    /// That of the cache before the rule was found. If it is another one when the answer is there, those who gave it may be no
    /// longer asked.
    pub(super) epoch: u64,
}

/// What a rule has on its way; changed under the lock of all flights only.
#[derive(Debug, Default)]
pub(super) struct Load {
    flights: AtomicUsize,
    waiting: AtomicUsize,
}

impl Flight {
    fn key(&self) -> (Question, u64) {
        (self.question.clone(), self.epoch)
    }
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
    First(usize),
    /// It waits for the answer to an equal one.
    Shares,
    /// There is no room for it.
    Full(Option<Waiter>),
}

impl Flights {
    pub(super) fn admit(&mut self, flight: &Flight, waiter: Option<Waiter>) -> Admitted {
        let (count, load) = (self.waiters.len(), &flight.rule.load);
        let is_full = |now: usize, of_rule: &AtomicUsize, most: usize| {
            now >= most || of_rule.load(Ordering::Relaxed) >= most / SHARE
        };
        let too_many_wait = is_full(self.waiting, &load.waiting, MOST_WAITERS);
        let more = usize::from(waiter.is_some());
        if waiter.is_some() && too_many_wait {
            return Admitted::Full(waiter);
        }
        let admitted = match self.waiters.entry(flight.key()) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().extend(waiter);
                Admitted::Shares
            }
            Entry::Vacant(_) if is_full(count, &load.flights, MOST_FLIGHTS) => return Admitted::Full(waiter),
            Entry::Vacant(entry) => {
                entry.insert(waiter.into_iter().collect());
                load.flights.fetch_add(1, Ordering::Relaxed);
                Admitted::First(count + 1)
            }
        };
        self.waiting += more;
        load.waiting.fetch_add(more, Ordering::Relaxed);
        admitted
    }

    /// Takes out those who wait for a question, which stays on its way.
    pub(super) fn let_go(&mut self, flight: &Flight) -> Vec<Waiter> {
        let waiters = self.waiters.get_mut(&flight.key()).map(std::mem::take).unwrap_or_default();
        self.waiting = self.waiting.saturating_sub(waiters.len());
        flight.rule.load.waiting.fetch_sub(waiters.len(), Ordering::Relaxed);
        waiters
    }

    /// Takes a question off, with those who wait for it.
    fn end(&mut self, flight: &Flight) -> Vec<Waiter> {
        let waiters = self.let_go(flight);
        if self.waiters.remove(&flight.key()).is_some() {
            flight.rule.load.flights.fetch_sub(1, Ordering::Relaxed);
        }
        waiters
    }
}

/// Ends a flight however it ends, so that no later question waits for one that nobody asks.
pub(super) struct Landing<'f> {
    forwarder: &'f Forwarder,
    flight: &'f Flight,
    landed: bool,
}

impl<'f> Landing<'f> {
    pub(super) fn new(forwarder: &'f Forwarder, flight: &'f Flight) -> Self {
        Self { forwarder, flight, landed: false }
    }

    /// Ends the flight; returns who waits for its answer still. From then on an equal question has a flight of its own.
    pub(super) fn land(&mut self) -> Vec<Waiter> {
        if std::mem::replace(&mut self.landed, true) {
            return Vec::new();
        }
        let mut flights = self.forwarder.flights();
        let waiters = flights.end(self.flight);
        self.forwarder.metrics.forward().in_flight(flights.waiters.len());
        waiters
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        drop(self.land());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, forward::rules::Rules, telemetry::Metrics};

    #[tokio::test]
    async fn one_rule_leaves_room_for_the_others_and_what_ends_makes_room() {
        let text = "[forward]\ndead = \"192.0.2.1\"\ngood = \"192.0.2.2\"\n".to_owned();
        let config = config::load_from(&[("muster.toml".into(), text)]).unwrap().config;
        let metrics = Metrics::new().unwrap();
        let rules = Rules::new(&config.forward, &Rules::default(), &[], &metrics).unwrap();
        let flight = |suffix: &[u8], at: usize| {
            let rule = Arc::clone(rules.find(suffix).unwrap());
            Flight { question: Question::new(&at.to_be_bytes(), &[]), rule, epoch: 0 }
        };
        let (dead, good) = (|at| flight(b"\x04dead\x00", at), |at| flight(b"\x04good\x00", at));
        let mut flights = Flights::default();
        let mut goes = |flight: &Flight| matches!(flights.admit(flight, None), Admitted::First(_));
        assert_eq!((0..MOST_FLIGHTS).take_while(|at| goes(&dead(*at))).count(), MOST_FLIGHTS / SHARE);
        assert_eq!(
            (0..MOST_FLIGHTS).map(|at| at + MOST_FLIGHTS).take_while(|at| goes(&good(*at))).count(),
            2048
        );
        flights.end(&dead(0));
        assert!(matches!(flights.admit(&good(0), None), Admitted::Full(_)), "its share is taken");
        assert!(matches!(flights.admit(&dead(0), None), Admitted::First(MOST_FLIGHTS)));
    }
}
