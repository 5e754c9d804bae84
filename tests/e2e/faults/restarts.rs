//! Restarts while the source is away: a hundred kills, each in the middle of changes.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::spread;
use crate::{consul::Consul, muster::Muster, rig::free_port};

/// How often muster is killed.
const KILLS: usize = 100;
/// Instances of the service; the first of them flaps.
const INSTANCES: u8 = 20;
/// What was known before must be answered this soon after a start.
const SOON: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make faults"]
async fn a_hundred_kills_cost_no_name_while_the_source_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let consul = Arc::new(Consul::start("consul", folder.path()).await);
    for at in 0..INSTANCES {
        consul.register_ttl("web", &format!("web-{at}"), &address(at).to_string(), 80).await;
    }
    let sources = format!("state = \"state\"\n[consul.vms]\naddress = \"{}\"", consul.address());
    let zone = "namespace = \"shop\"\nmax_answers = 20\n\
        [services.web]\nfrom = [{ consul = \"vms\", service = \"web\" }]\n\
        [[import]]\nconsul = \"vms\"\nexclude = [\"consul\", \"web\"]";
    let dns = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let steady: BTreeSet<IpAddr> = (1..INSTANCES).map(address).collect();
    let all: BTreeSet<IpAddr> = (0..INSTANCES).map(address).collect();

    let mut muster = Muster::start_on(folder.path(), dns, &sources, zone).await;
    wait_for_all(&muster, &steady).await;
    // The first state is written within a few seconds of the first word.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut took = Vec::new();
    let mut late = 0;
    for round in 0..KILLS {
        let flapping = Flapping::start(&consul);
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..600))).await;
        // The source is away before muster is killed, so that the flip under way is nowhere lost.
        flapping.end().await;
        consul.pause();
        muster.process().kill();
        let started = Instant::now();
        muster = Muster::start_on(folder.path(), dns, &sources, zone).await;
        let answer: BTreeSet<IpAddr> = muster.addresses("web.shop").await.into_iter().collect();
        let time = started.elapsed();
        assert!(answer.is_superset(&steady) && answer.is_subset(&all), "after {round} kills: {answer:?}");
        let log = muster.process().log();
        assert!(!log.contains("starting without"), "after {round} kills:\n{log}");
        late += usize::from(time > SOON);
        took.push(time);
        consul.resume();
        wait_for_all(&muster, &steady).await;
    }
    println!(
        "{KILLS} kills under churn, the source away at each start: {KILLS} complete answers, {late} later than \
         {SOON:?}; from the start of the process: {}",
        spread(&mut took),
    );
}

async fn wait_for_all(muster: &Muster, steady: &BTreeSet<IpAddr>) {
    crate::rig::wait_for("all steady instances", || async {
        let answer: BTreeSet<IpAddr> = muster.addresses("web.shop").await.into_iter().collect();
        answer.is_superset(steady).then_some(())
    })
    .await;
}

fn address(at: u8) -> IpAddr {
    [10, 0, 0, at + 1].into()
}

/// Flips the check of the first instance until it ends.
struct Flapping {
    done: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Flapping {
    fn start(consul: &Arc<Consul>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let (consul, done) = (Arc::clone(consul), Arc::clone(&done));
            async move {
                for to in ["fail", "pass"].into_iter().cycle() {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    consul.flip("web-0", to).await;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
        Self { done, task }
    }

    async fn end(self) {
        self.done.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}
