//! The static source: instances that the configuration lists, and probes that check their health.
//!
//! ```text
//! settings ─▶ run ─── one Reset for each member ────────────────────────▶ Outbox ─▶ catalog
//!              └─▶ ProbeLoop, one for each instance ─ Upsert on a turn ─▶ Outbox
//!                    ├─▶ Prober ─▶ ProbeResult
//!                    └─▶ RiseFall: results in, health out
//! ```
//!
//! While the source runs, its instances stay the same and only their health changes. A reload that
//! changes them restarts the source, and an instance that was there before keeps its health
//! ([`Retained`](crate::model::Retained)): an edit does not bring dead instances back until the
//! next probe. After a restart of the program it keeps its health until its first probe, which
//! decides alone.
//!
//! Imports [`crate::model`], [`crate::telemetry`], the settings in [`crate::config`], and what all
//! sources share.
//!
//! Rejected: [`supervise`](super::supervise()), since a static member cannot fail and never gets
//! stale. Rejected: one task that probes all instances in turn, since a dead one would delay the
//! others by its whole timeout.

mod probe_loop;
mod rise_fall;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::{sync::oneshot, task::JoinSet};
use tracing::{error, info};

use self::probe_loop::ProbeLoop;
use super::{
    FollowedMember, SourceContext,
    probe::{Prober, UntriedEntry},
};
use crate::{
    config::{HealthCheck, SourceQuery},
    model::{Health, Instance, Update, WatchSubject},
    telemetry::WatchHandle,
};

/// Reports the instances of `members` and probes those that have a health check, until the catalog
/// takes no more updates.
///
/// A member is synced once its one `Reset` is sent; `synced` is notified when all are. Dropping the
/// future stops every probe. All members share `prober`, and thus its limits.
pub async fn run(
    members: Vec<FollowedMember>,
    context: SourceContext,
    prober: Arc<Prober>,
    synced: oneshot::Sender<()>,
) {
    let watched: Vec<(FollowedMember, Arc<WatchHandle>)> = members
        .into_iter()
        .map(|followed| {
            let handle = context.status.watch(format!("service {}", followed.member.service));
            handle.follow(WatchSubject::Members(vec![followed.member.clone()]));
            (followed, Arc::new(handle))
        })
        .collect();
    let mut probes = JoinSet::new();
    for (followed, handle) in &watched {
        let SourceQuery::Static(query) = &followed.rule.query else {
            debug_assert!(false, "a member of the static source has a static query");
            continue;
        };
        let (retained, is_doubtful) = {
            let mut retained = context.retained();
            let instances = retained.instances.remove(&followed.member).unwrap_or_default();
            (instances, retained.doubtful.remove(&followed.member))
        };
        let instances: Vec<Instance> = query
            .instances
            .iter()
            .map(|instance| initial(followed.apply_rule(instance.clone()), query.check.as_ref(), &retained))
            .collect();
        let reset = Update::Reset { member: followed.member.clone(), instances: instances.clone() };
        if context.outbox.send(reset).await.is_err() {
            return;
        }
        handle.sent(1);
        handle.synced();
        for (instance, check) in instances.into_iter().zip(query.check.iter().cycle()) {
            let (member, id) = (followed.member.clone(), Arc::clone(&instance.id));
            let probe_loop = ProbeLoop {
                untried: UntriedEntry::new(&prober.untried, &context.status, member, id),
                member: followed.member.clone(),
                instance,
                check: check.clone(),
                outbox: context.outbox.clone(),
                handle: Arc::clone(handle),
                first_decides: is_doubtful,
            };
            // The operator's word counts, whatever a probe would find.
            if probe_loop.instance.health != Health::Draining {
                probes.spawn(probe_loop.run(Arc::clone(&prober)));
            }
        }
    }
    let _ = synced.send(());
    info!(source = %context.status.id(), members = watched.len(), probed = probes.len(), "synced");
    loop {
        tokio::select! {
            () = context.outbox.closed() => return,
            Some(ended) = probes.join_next() => if let Err(failure) = ended {
                error!("probe task failed; instance health is frozen: {failure}");
            }
        }
    }
}

/// The instance as it is reported before its first probe. `retained` holds the instances of the run
/// before.
fn initial(mut instance: Instance, check: Option<&HealthCheck>, retained: &[Instance]) -> Instance {
    if instance.health == Health::Draining {
        return instance;
    }
    let is_before = |before: &&Instance| {
        before.target == instance.target && before.port == instance.port && before.health != Health::Draining
    };
    let before = retained.iter().find(is_before);
    (instance.health, instance.reason) = match (check, before) {
        (None, _) => (Health::Healthy, Some("no check".into())),
        (Some(_), Some(before)) => (before.health, before.reason.clone()),
        (Some(_), None) => (Health::Unknown, Some("not probed yet".into())),
    };
    instance
}
