//! Other names: asking upstreams, and keeping what they say.
//!
//! A question for a name of none of our zones comes with [`Forwarder::answer`]: what the cache holds is answered there, on the
//! worker's thread. What it does not hold goes with [`Forwarder::hand_off`] over a bounded queue to tasks, which ask upstreams and
//! answer by the [`Reply`] that came along, so that one slow question never delays the next. Equal questions that are on their way
//! at one time are one question to upstreams, which also ends loops: what comes back to us waits for itself, and goes no further.
//!
//! Messages pass through as bytes ([`message`], [`image`]), since nothing in between needs to understand them.
//!
//! Imports [`crate::config`], [`crate::model`] and [`crate::telemetry`]; the answer path feeds it. Rejected: hickory-net's clients,
//! which write requests and read answers anew, bring some thirty seconds of building, and leave ports, retries, health and
//! sharing to do all the same.

mod ask;
mod cache;
mod flights;
mod image;
mod keeper;
mod message;
mod resolve;
mod rules;
mod system;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod upstream;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

pub use self::{ask::Ask, image::Written, message::may_pass, upstream::SetupError};
use self::{
    ask::{Asker, Question},
    cache::{Cache, Held},
    flights::{Admitted, Flight, Flights, Landing, Waiter},
    image::Image,
    keeper::Probes,
    rules::Rules,
};
use crate::{
    config::Config,
    telemetry::{CacheLookup, Forwarded, Metrics},
};

/// Questions that may wait to be looked at by the tasks.
const QUEUE: usize = 4096;

/// After so long a client gets an answer past its time, if there is one, while upstreams are still asked (the client response
/// timer: "RECOMMENDED … 1.8 seconds", RFC 8767 section 5).
const CLIENT_PATIENCE: Duration = Duration::from_millis(1800);

/// How an answer reaches its client. Called once, from any thread; must not wait.
pub type Reply = Box<dyn FnOnce(&[u8]) + Send>;

/// What became of a question at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer is written.
    Answered(Written),
    /// Nobody is to be asked for such a name, or the client does not want it: REFUSED.
    Refused,
    /// Upstreams must be asked: [`Forwarder::hand_off`].
    Ask,
}

/// Forwards questions. Cheap to share; [`Engine::run`] must run beside it.
#[derive(Debug)]
pub struct Forwarder {
    rules: ArcSwap<Rules>,
    /// Whether there is any rule.
    active: AtomicBool,
    cache: Cache,
    queue: mpsc::Sender<Job>,
    flights: Mutex<Flights>,
    probes: Probes,
    /// The addresses that DNS is answered on.
    own: Vec<SocketAddr>,
    metrics: Arc<Metrics>,
}

/// The part of a [`Forwarder`] that runs.
#[derive(Debug)]
pub struct Engine {
    forwarder: Arc<Forwarder>,
    inbox: mpsc::Receiver<Job>,
}

/// A question, and who waits for its answer; nobody, where it is only to be kept.
#[derive(Debug)]
struct Job {
    question: Question,
    waiter: Option<Waiter>,
}

impl Forwarder {
    /// Makes a forwarder of `[forward]` and `[cache]`.
    ///
    /// # Errors
    /// When an upstream cannot be set up, such as for want of a file of authorities. Nothing is contacted.
    pub fn new(config: &Config, metrics: &Arc<Metrics>) -> Result<(Arc<Self>, Engine), SetupError> {
        let (queue, inbox) = mpsc::channel(QUEUE);
        let own = config.listen.dns.clone();
        let rules = Rules::new(&config.forward, &Rules::default(), &own, metrics)?;
        let forwarder = Arc::new(Self {
            active: AtomicBool::new(!rules.is_empty()),
            rules: ArcSwap::from_pointee(rules),
            cache: Cache::new(config.cache.clone()),
            queue,
            flights: Mutex::default(),
            probes: Probes::new(),
            own,
            metrics: Arc::clone(metrics),
        });
        let engine = Engine { forwarder: Arc::clone(&forwarder), inbox };
        Ok((forwarder, engine))
    }

    /// Takes another `[forward]` and `[cache]`, for questions from now on. Suffixes whose settings are the same keep their connections
    /// and what they have learnt; where any is not, answers that are kept are forgotten.
    ///
    /// # Errors
    /// As [`new`](Self::new); then nothing changes.
    pub fn reload(&self, config: &Config) -> Result<(), SetupError> {
        let before = self.rules.load_full();
        if !before.are(&config.forward) {
            let rules = Rules::new(&config.forward, &before, &self.own, &self.metrics)?;
            self.active.store(!rules.is_empty(), Ordering::Relaxed);
            self.rules.store(Arc::new(rules));
            self.forget();
        }
        let evicted = self.cache.set(config.cache.clone());
        self.show_cache(evicted);
        Ok(())
    }

    /// Forgets all answers, those too that are on their way: after those whom they came from are no longer asked.
    fn forget(&self) {
        self.cache.clear();
        self.show_cache(0);
    }

    fn show_cache(&self, evicted: usize) {
        let Held { entries, bytes } = self.cache.held();
        self.metrics.forward().cache_holds(entries, bytes, evicted);
    }

    /// Whether anything is forwarded. *Cost*: one load.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Whether somebody is to be asked for `name` (wire format, lower case). *Cost*: one hash look-up for each label.
    pub fn covers(&self, name: &[u8]) -> bool {
        self.rules.load().find(name).is_some()
    }

    /// Who is asked for `name` (wire format, lower case), for people: the suffix that it is below and its upstreams.
    pub fn upstreams_of(&self, name: &[u8]) -> Option<(String, Vec<String>)> {
        let rules = self.rules.load();
        let settings = &rules.find(name)?.settings;
        Some((settings.suffix.to_string(), settings.upstreams.iter().map(ToString::to_string).collect()))
    }

    /// Answers `ask` from the cache into `out`, or tells what else is to be done.
    ///
    /// A client that does not want recursion (RD clear) gets what is there, and otherwise REFUSED. *Cost*: one look-up, and the copy
    /// of the message. Never waits; allocates only for an answer that is to be fetched anew.
    pub fn answer(&self, ask: &Ask<'_>, out: &mut Vec<u8>) -> Verdict {
        // With options that could change the answer, only the upstream knows it. What is kept belongs to a rule.
        if !ask.has_options {
            let key = ask.key();
            if let Some(hit) = self.cache.answer(ask, &key, out) {
                let result = if hit.stale { CacheLookup::Stale } else { CacheLookup::Hit };
                self.metrics.forward().lookup(result);
                if hit.prefetch {
                    self.prefetch(&key);
                }
                return Verdict::Answered(hit.written);
            }
        }
        if !self.covers(ask.name) {
            return Verdict::Refused;
        }
        if !ask.has_options {
            self.metrics.forward().lookup(CacheLookup::Miss);
        }
        if ask.recursion_desired { Verdict::Ask } else { Verdict::Refused }
    }

    fn prefetch(&self, key: &[u8]) {
        let job = Job { question: Question::new(key, &[]), waiter: None };
        if self.queue.try_send(job).is_ok() {
            self.metrics.forward().prefetch();
        }
    }

    /// Has upstreams asked for a question that [`answer`](Self::answer) could not answer; `request` is the client's message.
    ///
    /// Never waits. When too much is on its way already, the reply is SERVFAIL at once.
    pub fn hand_off(&self, ask: &Ask<'_>, request: &[u8], reply: Reply) {
        let waiter = Waiter { asker: Asker::new(ask), reply };
        if let Some(number) = self.probes.recognise(ask.name) {
            self.note_loop(number);
            return waiter.fail();
        }
        let options = if ask.has_options { message::request_options(request) } else { Vec::new() };
        let job = Job { question: Question::new(&ask.key(), &options), waiter: Some(waiter) };
        if let Err(error) = self.queue.try_send(job) {
            let (mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) = error;
            self.drop_job(&job.question, job.waiter);
        }
    }

    /// A probe of ours has come back.
    fn note_loop(&self, number: u64) {
        self.metrics.forward().question(Forwarded::Loop);
        for rule in self.rules.load().all() {
            for upstream in rule.upstreams().iter().filter(|upstream| upstream.number() == Some(number)) {
                upstream.found_loop();
            }
        }
    }

    /// Answers where there is no room to ask: what is past its time is better than nothing.
    fn drop_job(&self, question: &Question, waiter: Option<Waiter>) {
        let key = question.is_plain().then(|| question.key());
        self.reply_stale(waiter, key, Forwarded::Dropped);
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a job: lets it wait with an equal one, or returns what is to be asked now.
    fn take(&self, job: Job) -> Option<Flight> {
        let Job { question, mut waiter } = job;
        // While it waited, an equal one may have been answered.
        if question.is_plain()
            && let Some(one) = waiter
        {
            let mut answer = Vec::with_capacity(512);
            if self.cache.answer(&one.asker.ask(), question.key(), &mut answer).is_some() {
                self.metrics.forward().question(Forwarded::Answered);
                (one.reply)(&answer);
                return None;
            }
            waiter = Some(one);
        }
        // First of all: whoever is found then is asked at least until it changes.
        let epoch = self.cache.epoch();
        let Some(rule) = self.rules.load().find(question.name()).cloned() else {
            self.reply_stale(waiter, None, Forwarded::Failed);
            return None;
        };
        let flight = Flight { question, rule, epoch };
        let admitted = self.flights().admit(&flight, waiter);
        match admitted {
            Admitted::First(count) => {
                self.metrics.forward().in_flight(count);
                Some(flight)
            }
            Admitted::Shares => {
                self.metrics.forward().shared();
                None
            }
            Admitted::Full(waiter) => {
                self.drop_job(&flight.question, waiter);
                None
            }
        }
    }

    /// Asks for one question, answers all who wait for it, and keeps the answer.
    async fn fly(self: Arc<Self>, flight: Flight) {
        let mut landing = Landing::new(&self, &flight);
        let question = &flight.question;
        let image = self.ask(&flight).await;
        let waiters = landing.land();
        let settled = image.as_ref().is_some_and(|image| matches!(image.code(), 0 | 3 | 6));
        let may_be_kept = question.is_plain() && self.cache.epoch() == flight.epoch;
        if !settled && may_be_kept && self.cache.mark_failed(question.key()) {
            return self.reply_stale(waiters, Some(question.key()), Forwarded::Failed);
        }
        let result = if image.is_some() { Forwarded::Answered } else { Forwarded::Failed };
        let image = image.unwrap_or_else(|| Image::failure(&question.wire()));
        for waiter in waiters {
            self.metrics.forward().question(result);
            waiter.reply(&image);
        }
        if may_be_kept {
            let evicted = self.cache.keep(question.key(), image, flight.epoch);
            self.show_cache(evicted);
        }
    }

    /// Asks upstreams. When that takes long, those who wait get an answer past its time if there is one.
    async fn ask(&self, flight: &Flight) -> Option<Image> {
        let Flight { question, rule, .. } = flight;
        let resolving = resolve::resolve(rule, question);
        tokio::pin!(resolving);
        tokio::select! {
            image = &mut resolving => return image,
            () = sleep(CLIENT_PATIENCE), if question.is_plain() => {}
        }
        if self.cache.mark_failed(question.key()) {
            let waiters = self.flights().let_go(flight);
            self.reply_stale(waiters, Some(question.key()), Forwarded::Failed);
        }
        resolving.await
    }

    /// Replies with the answer under `key` that is past its time, or that there is none, which counts as `otherwise`.
    fn reply_stale(
        &self,
        waiters: impl IntoIterator<Item = Waiter>,
        key: Option<&[u8]>,
        otherwise: Forwarded,
    ) {
        let mut answer = Vec::new();
        for waiter in waiters {
            match key.and_then(|key| self.cache.stale_answer(&waiter.asker.ask(), key, &mut answer)) {
                Some(_) => {
                    self.metrics.forward().question(Forwarded::Stale);
                    (waiter.reply)(&answer);
                }
                None => {
                    self.metrics.forward().question(otherwise);
                    waiter.fail();
                }
            }
        }
    }
}

impl Engine {
    /// Asks upstreams and keeps an eye on them, until dropped.
    pub async fn run(mut self) {
        let forwarder = &self.forwarder;
        let keeping = keeper::keep(forwarder);
        let asking = async {
            let mut flights = JoinSet::new();
            loop {
                tokio::select! {
                    Some(job) = self.inbox.recv() => {
                        if let Some(flight) = forwarder.take(job) {
                            flights.spawn(Arc::clone(forwarder).fly(flight));
                        }
                    }
                    Some(_) = flights.join_next() => {}
                    else => return,
                }
            }
        };
        tokio::join!(keeping, asking);
    }
}
