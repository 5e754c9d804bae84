//! Truth while checks flap: every answer is compared with what Consul had told a watcher beside
//! muster by then.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Flips, account::Account, spread};
use crate::{
    consul::Consul,
    load::{Answer, Client},
    muster::Muster,
};

/// Instances of the service.
const INSTANCES: usize = 20;
/// How long checks flap at each rate.
const LASTS: Duration = Duration::from_secs(20);
/// An answer may be this much older than what Consul has told the watcher.
pub(super) const TOLERATED: Duration = Duration::from_millis(50);
/// Consul may tell muster this much earlier than the watcher, which shares two cores with everything
/// else here.
const EARLY: Duration = Duration::from_millis(50);

/// The healthy instances as Consul told them, and when.
pub(super) type Truth = Vec<(Instant, BTreeSet<IpAddr>)>;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make faults"]
async fn flapping_checks_of_consul_cost_no_wrong_answer() {
    let folder = tempfile::tempdir().unwrap();
    let consul = Arc::new(Consul::start("consul", folder.path()).await);
    for at in 0..INSTANCES {
        consul.register_ttl("web", &format!("web-{at}"), &address(at).to_string(), 80).await;
    }
    let sources = format!("[consul.vms]\naddress = \"{}\"", consul.address());
    let zone = "namespace = \"shop\"\nmax_answers = 20\n\
        [services.web]\nfrom = [{ consul = \"vms\", service = \"web\" }]";
    let mut muster = Muster::start(folder.path(), &sources, zone).await;
    let all: Vec<String> = (0..INSTANCES).map(|at| address(at).to_string()).collect();
    muster.wait_for_addresses("web.shop", &all.iter().map(String::as_str).collect::<Vec<_>>()).await;

    println!("Consul, one service of {INSTANCES} instances, checks that flap for {LASTS:?} a row:");
    for rate in [4, 20, 50] {
        let accounts = [Account::open(consul.id()), Account::open(muster.process().id())];
        let watcher = Watcher::start(&consul).await;
        let load = Client::new(muster.dns, "web.shop", "127.0.0.1").keep_asking();
        let flips = flap(&consul, rate).await;
        // The last change has time to arrive.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (answers, truth) = (load.end(), watcher.end(&consul).await);
        let [agent, own] = accounts.map(|account| account.percent());
        let wrong = answers.iter().filter(|answer| has_dead(answer, &truth)).count();
        let lacking = answers.iter().filter(|answer| lacks_live(answer, &truth)).count();
        let mut delays = delays(&answers, &truth);
        println!(
            "  {rate}/s: {flips} flips, {} answers, {wrong} with a dead address, {lacking} without a live one; \
             from Consul to the answer: {}; agent {agent:.0} % of a core, muster {own:.0} %",
            answers.len(),
            spread(&mut delays),
        );
        assert!(truth.len() > flips / 4, "the watcher has seen {} states", truth.len());
        assert_eq!((wrong, lacking), (0, 0), "older than {TOLERATED:?}");
    }
}

fn address(at: usize) -> IpAddr {
    [10, 0, 0, u8::try_from(at).unwrap() + 1].into()
}

/// Flips the checks of random instances at this rate; at least half stay healthy. Returns the number
/// of flips.
async fn flap(consul: &Consul, rate: u32) -> usize {
    let mut next = Flips::new(INSTANCES);
    let mut flips = 0;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let began_at = Instant::now();
    while began_at.elapsed() < LASTS {
        ticks.tick().await;
        let Some((at, passes)) = next.next() else { continue };
        consul.flip(&format!("web-{at}"), if passes { "pass" } else { "fail" }).await;
        flips += 1;
    }
    for at in next.dead {
        consul.flip(&format!("web-{at}"), "pass").await;
    }
    flips
}

/// Follows the service as muster does, without pacing.
struct Watcher {
    done: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Truth>,
}

impl Watcher {
    async fn start(consul: &Arc<Consul>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (mut index, healthy) = consul.healthy("web", 0).await;
        let mut truth = vec![(Instant::now(), healthy)];
        let task = tokio::spawn({
            let (consul, done) = (Arc::clone(consul), Arc::clone(&done));
            async move {
                while !done.load(Ordering::Relaxed) {
                    let (next, healthy) = consul.healthy("web", index).await;
                    index = next;
                    truth.push((Instant::now(), healthy));
                }
                truth
            }
        });
        Self { done, task }
    }

    /// Ends it; a last change ends its query.
    async fn end(self, consul: &Consul) -> Truth {
        self.done.store(true, Ordering::Relaxed);
        consul.flip("web-0", "warn").await;
        let truth = self.task.await.unwrap();
        consul.flip("web-0", "pass").await;
        truth
    }
}

/// The states that Consul had told by the time that the answer may be old, until the answer came, and
/// those that muster may have heard of before the watcher did.
fn known<'t>(answer: &Answer, truth: &'t Truth) -> &'t [(Instant, BTreeSet<IpAddr>)] {
    let oldest = answer.asked.checked_sub(TOLERATED).unwrap();
    let from = truth.partition_point(|(told, _)| *told <= oldest).saturating_sub(1);
    let to = truth.partition_point(|(told, _)| *told <= answer.came + EARLY);
    &truth[from..to.max(from + 1)]
}

/// Whether an address was dead in all of those states.
pub(super) fn has_dead(answer: &Answer, truth: &Truth) -> bool {
    let states = known(answer, truth);
    answer.addresses.iter().any(|address| states.iter().all(|(_, healthy)| !healthy.contains(address)))
}

/// Whether an address that was alive in all of those states is missing.
pub(super) fn lacks_live(answer: &Answer, truth: &Truth) -> bool {
    let states = known(answer, truth);
    let always =
        states[0].1.iter().filter(|address| states.iter().all(|(_, healthy)| healthy.contains(address)));
    always.into_iter().any(|address| !answer.addresses.contains(address))
}

/// From each state that Consul told to the first answer that shows it or a later one.
pub(super) fn delays(answers: &[Answer], truth: &Truth) -> Vec<Duration> {
    let mut delays = Vec::new();
    for (at, pair) in truth.windows(2).enumerate() {
        let [(_, before), (told, after)] = pair else { continue };
        let Some(changed) = before.symmetric_difference(after).next() else { continue };
        let there = after.contains(changed);
        // Until the address changes again.
        let until = truth[at + 1..].iter().find(|(_, healthy)| healthy.contains(changed) != there);
        let until = until.map_or_else(Instant::now, |(told, _)| *told);
        let from = answers.partition_point(|answer| answer.came < *told);
        let shows = |answer: &&Answer| answer.addresses.contains(changed) == there;
        if let Some(first) = answers[from..].iter().find(shows).filter(|first| first.came < until) {
            delays.push(first.came.saturating_duration_since(*told));
        }
    }
    delays
}
