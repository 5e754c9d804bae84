//! The static source: instances that the configuration itself lists, and the probes that say how they are.
//!
//! What exists never changes while it runs, only health does: one `Reset` a member at the start, then one `Upsert` for
//! each change of health. A change of the configuration stops it and starts it anew with what is known: an instance that
//! was there before keeps its health, so that an edit does not bring dead ones back until they are probed. A member cannot fail, so [`supervise`](super::supervise()) with its tries and its staleness was
//! not taken: a watch's handle is all that status needs. One task that goes round all instances was rejected too: a
//! dead instance would hold up the others for its whole timeout.
//!
//! Imports [`crate::model`], the settings in [`crate::config`], and [`super`].

mod http_probe;
mod probe_loop;
mod probe_result;
mod prober;
mod rise_fall;
mod tcp_probe;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::{sync::oneshot, task::JoinSet};
use tracing::{error, info, warn};

use self::{probe_loop::ProbeLoop, prober::Prober};
use super::{FollowedMember, SourceContext};
use crate::{
    config::{HealthCheck, SourceQuery},
    model::{Health, Instance, Update},
    telemetry::WatchHandle,
};

/// Reports the instances of `members` and probes those that have a check; ends when nobody takes updates any more.
///
/// Every member is synced as soon as its one `Reset` is sent, and `said` is told when all are. Dropping the future stops every probe.
pub async fn run(members: Vec<FollowedMember>, context: SourceContext, said: oneshot::Sender<()>) {
    let watched: Vec<(FollowedMember, Arc<WatchHandle>)> = members
        .into_iter()
        .map(|followed| {
            let handle = context.status.watch(format!("service {}", followed.member.service));
            (followed, Arc::new(handle))
        })
        .collect();
    let prober = Arc::new(Prober::new());
    let mut probes = JoinSet::new();
    for (followed, handle) in &watched {
        let SourceQuery::Static(query) = &followed.rule.query else {
            warn!(service = %followed.member.service, "not a static member: left out");
            continue;
        };
        let retained = context.retained().instances.remove(&followed.member).unwrap_or_default();
        let instances: Vec<Instance> = query
            .instances
            .iter()
            .map(|instance| at_start(followed.apply_rule(instance.clone()), query.check.as_ref(), &retained))
            .collect();
        let reset = Update::Reset { member: followed.member.clone(), instances: instances.clone() };
        if context.outbox.send(reset).await.is_err() {
            return;
        }
        handle.sent(1);
        handle.synced();
        for (instance, check) in instances.into_iter().zip(query.check.iter().cycle()) {
            let probe_loop = ProbeLoop {
                member: followed.member.clone(),
                instance,
                check: check.clone(),
                outbox: context.outbox.clone(),
                handle: Arc::clone(handle),
            };
            probes.spawn(probe_loop.run(Arc::clone(&prober)));
        }
    }
    let _ = said.send(());
    info!(source = %context.status.id(), members = watched.len(), probed = probes.len(), "synced");
    loop {
        tokio::select! {
            () = context.outbox.closed() => return,
            Some(ended) = probes.join_next() => if let Err(failure) = ended {
                error!("an instance is no longer probed, its health stays as it is: {failure}");
            }
        }
    }
}

/// The instance as it is reported before any probe; `retained` are those of a run before.
fn at_start(mut instance: Instance, check: Option<&HealthCheck>, retained: &[Instance]) -> Instance {
    let before =
        retained.iter().find(|before| before.target == instance.target && before.port == instance.port);
    (instance.health, instance.reason) = match (check, before) {
        (None, _) => (Health::Healthy, Some("no check".into())),
        (Some(_), Some(before)) => (before.health, before.reason.clone()),
        (Some(_), None) => (Health::Unknown, Some("not probed yet".into())),
    };
    instance
}
