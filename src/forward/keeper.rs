//! What goes on beside the questions: upstreams that were put aside are probed, files such as resolv.conf are read, and it is
//! found out whether an upstream leads back to us.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hickory_proto::rr::RecordType;
use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::{
    Forwarder,
    ask::Question,
    rules::{Rule, Rules},
    system,
    upstream::Upstream,
};
use crate::model::Name;

/// How often upstreams and files are looked at.
const ROUND: Duration = Duration::from_secs(1);

/// How long a probe's answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Rounds after which an upstream that leads back to us is probed again.
const LOOP_ROUNDS: u64 = 30;

/// The first label of a probe's name, before a number of this process and one of the upstream.
const PREFIX: &[u8] = b"muster-loop-";

/// The probes of one server.
///
/// A probe is a question for a name that nobody else asks for, so one that comes in has come back: whoever it was sent to
/// leads to us. That finds loops through any number of other servers, for the price of one question an upstream at the start. Rejected:
/// an option of our own in every query, which most forwarders drop, and so find nothing.
#[derive(Debug)]
pub(super) struct Probes {
    nonce: u64,
    next: AtomicU64,
}

impl Probes {
    pub(super) fn new() -> Self {
        Self { nonce: rand::random(), next: AtomicU64::new(0) }
    }

    /// The number of a new upstream.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn label(&self, number: u64) -> Vec<u8> {
        [PREFIX, format!("{:016x}-{number:x}", self.nonce).as_bytes()].concat()
    }

    /// The number of the upstream that a question for `name` (wire format, lower case) was sent to, if it is a probe of ours.
    pub(super) fn recognise(&self, name: &[u8]) -> Option<u64> {
        let (length, rest) = name.split_first()?;
        let label = rest.get(..usize::from(*length))?;
        if !label.starts_with(PREFIX) {
            return None;
        }
        let number = label.rsplit(|byte| *byte == b'-').next()?;
        let number = u64::from_str_radix(std::str::from_utf8(number).ok()?, 16).ok()?;
        (label == self.label(number)).then_some(number)
    }

    /// The question that is sent to an upstream.
    fn question(&self, number: u64, suffix: &Name) -> Option<Question> {
        let name = suffix.child(&self.label(number)).ok()?;
        let [type0, type1] = u16::from(RecordType::TXT).to_be_bytes();
        let key = [name.as_wire(), &[type0, type1, 0]].concat();
        Some(Question::new(&key, &[]))
    }
}

/// Keeps the rules' upstreams up to date until dropped.
pub(super) async fn keep(forwarder: &Forwarder) {
    let mut running = JoinSet::new();
    let mut shown = labels(&forwarder.rules.load());
    let mut ticks = tokio::time::interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0_u64.. {
        ticks.tick().await;
        while running.try_join_next().is_some() {}
        let rules = forwarder.rules.load_full();
        for rule in rules.all() {
            follow_files(rule, forwarder).await;
            for upstream in rule.upstreams().iter() {
                let wanted = if upstream.is_loop() {
                    round.is_multiple_of(LOOP_ROUNDS)
                } else {
                    upstream.health.is_aside() || upstream.is_new()
                };
                if wanted && let Some(probe) = probe(rule, upstream, &forwarder.probes) {
                    running.spawn(probe);
                }
            }
        }
        let now = labels(&rules);
        for gone in shown.difference(&now) {
            forwarder.metrics.forward().forget_upstream(gone);
        }
        shown = now;
    }
}

/// The names of all upstreams, as metrics have them.
fn labels(rules: &Rules) -> BTreeSet<String> {
    let upstreams = rules.all().map(|rule| rule.upstreams());
    upstreams.flat_map(|all| all.iter().map(|one| one.label().to_owned()).collect::<Vec<_>>()).collect()
}

/// Looks whether the files that a rule names say something else.
async fn follow_files(rule: &Arc<Rule>, forwarder: &Forwarder) {
    if rule.files().next().is_none() {
        return;
    }
    let reader = Arc::clone(rule);
    let reading = move || reader.files().map(system::read).collect::<Vec<_>>();
    if let Ok(texts) = tokio::task::spawn_blocking(reading).await
        && rule.refresh(&texts, &forwarder.own, &forwarder.metrics)
    {
        // In another network other resolvers may say something else.
        forwarder.forget();
    }
}

/// Asks an upstream for a name of ours; any answer shows that it works, and none that came to us that it leads elsewhere.
fn probe(rule: &Rule, upstream: &Arc<Upstream>, probes: &Probes) -> Option<impl Future<Output = ()> + use<>> {
    let number = upstream.begin_probe(|| probes.number())?;
    let question = probes.question(number, &rule.settings.suffix)?;
    let upstream = Arc::clone(upstream);
    Some(async move {
        let _ = upstream.ask(&question, PATIENCE).await;
        upstream.end_probe();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_probes_are_recognised() {
        let (ours, others) = (Probes::new(), Probes::new());
        let suffix: Name = "corp.example".parse().unwrap();
        let question = ours.question(0x2a, &suffix).unwrap();
        assert_eq!(ours.recognise(question.name()), Some(0x2a));
        assert_eq!(others.recognise(question.name()), None);
        assert_eq!(ours.recognise(suffix.as_wire()), None);
        assert_eq!(ours.recognise(b"\x0cmuster-loop-\x00"), None);
        assert_eq!(ours.recognise(b"\x00"), None);
        assert_eq!(ours.recognise(b""), None);
    }
}
