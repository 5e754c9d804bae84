//! The work that no query causes, once a second: reread files such as resolv.conf, probe upstreams,
//! and drop the metrics of upstreams that are gone.

use std::{collections::BTreeSet, time::Duration};

use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::{probe, rules::RuleTable, shared::Shared};

/// How often upstreams and files are looked at.
const ROUND: Duration = Duration::from_secs(1);

/// Keeps the upstreams of all rules up to date, until dropped.
pub(super) async fn run(shared: &Shared) {
    let mut probes = JoinSet::new();
    let mut shown = labels(&shared.rules.load());
    let mut ticks = tokio::time::interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0_u64.. {
        ticks.tick().await;
        while probes.try_join_next().is_some() {}
        let rules = shared.rules.load_full();
        for rule in rules.all() {
            if rule.reread_files(&shared.own, &shared.metrics).await {
                // In another network other resolvers may give other answers.
                shared.clear_cache();
            }
            for upstream in rule.upstreams().iter().filter(|upstream| probe::is_due(upstream, round)) {
                if let Some(probe) = probe::probe(&shared.probes, rule, upstream) {
                    probes.spawn(probe);
                }
            }
        }
        let now = labels(&rules);
        for gone in shown.difference(&now) {
            shared.metrics.forward().forget_upstream(gone);
        }
        shown = now;
    }
}

/// The labels of all upstreams in metrics.
fn labels(rules: &RuleTable) -> BTreeSet<String> {
    let upstreams = rules.all().map(|rule| rule.upstreams());
    upstreams.flat_map(|all| all.iter().map(|one| one.label().to_owned()).collect::<Vec<_>>()).collect()
}
