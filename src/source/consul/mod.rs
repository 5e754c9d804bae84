//! The Consul source: services with their health checks, over blocking queries.
//!
//! ```text
//! Agent ── AgentClient: one HTTP exchange
//!   └─▶ BlockingQuery ─ paced by rate_limit, connection_pool ─▶ ConsulResponse
//!         ├─▶ ServiceWatch ─▶ decode ─▶ instances ─▶ changes ─▶ WatchOutbox
//!         └─▶ ImportWatch ─▶ Update::Imported ─▶ WatchOutbox
//!               └─▶ one supervised ServiceWatch for each imported name
//! ```
//!
//! Each service has one supervised watch on `/v1/health/service/<name>`. The query leaves out
//! `?passing`, so that health is judged here and an instance that is not answered still shows its
//! reason. Each response holds every instance; the watch sends the difference.
//!
//! A 200 can still be wrong. These cases are handled where the response is read:
//!
//! - The index goes back, also after a reconnection, or a list becomes empty ([`trust`]). A server
//!   that has just joined answers `stale` queries before it has loaded its state, and an agent that
//!   lost its stream to the servers answers blocking queries with an empty list and index 1. muster
//!   trusts such a response once the leader has confirmed it: it repeats the query in the default
//!   consistency mode, without waiting.
//! - ACLs have emptied the response ([`blocking`]). That means no permission, not "no instances",
//!   unless the last trusted response was filtered too. Without a token, an empty response under a
//!   default policy of `deny` means that the token is missing ([`agent`]).
//! - With `stale`, the server has had no contact with the leader for longer than `max_lag`
//!   ([`blocking`]). muster repeats the query in the default consistency mode. Queries with `stale`
//!   wait no longer than about `max_lag`, since Consul reports the lag when a query begins to wait.
//!
//! When there are more watches than connections, a few queries say which services have changed
//! ([`notifiers`]), and the watches query only then ([`notices`]). Where those are not permitted, the
//! watches take turns ([`connection_pool`]).
//!
//! Imports [`crate::model`], the settings in [`crate::config`], and what all sources share.
//!
//! Rejected: one watch on `/v1/health/state/any`, since every flip of any check would return every
//! check of the datacenter. Rejected: `?cached`, which an agent answers from memory however long it
//! has been cut off.

mod agent;
mod blocking;
mod body;
mod changes;
mod connection_pool;
mod decode;
mod host_names;
mod import;
mod instances;
mod notices;
mod notifiers;
mod rate_limit;
mod service;
mod timing;
mod trust;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tracing::error;

use self::{agent::Agent, import::ImportWatch, service::ServiceWatch, timing::ConsulTiming};
use super::{FollowedMember, SourceContext, supervise};
use crate::{
    config::{ConsulSource, ImportRule, SourceQuery},
    model::{Import, WatchSubject},
};

/// Follows the members and imports of one Consul source; returns when the program is stopping or
/// nothing is followed.
///
/// Dropping the future stops every watch.
pub async fn run(
    settings: ConsulSource,
    members: Vec<FollowedMember>,
    imports: Vec<(Import, ImportRule)>,
    context: SourceContext,
) {
    run_with(Agent::new(settings, ConsulTiming::default()), members, imports, context).await;
}

async fn run_with(
    agent: Arc<Agent>,
    members: Vec<FollowedMember>,
    imports: Vec<(Import, ImportRule)>,
    context: SourceContext,
) {
    // Every watch joins the connection pool before the first one runs, so that all know how many
    // share it.
    let services: Vec<_> = members
        .into_iter()
        .filter_map(|followed| match followed.rule.query.clone() {
            SourceQuery::Consul(query) => Some(ServiceWatch::new(&agent, followed, query)),
            _ => {
                debug_assert!(false, "a member of a Consul source has a Consul query");
                None
            }
        })
        .collect();
    let imports: Vec<_> = imports
        .into_iter()
        .map(|(import, rule)| ImportWatch::new(&agent, import, rule, context.clone()))
        .collect();

    // Every watch is in the status before the first one runs: the source is not ready when only
    // that one has synced.
    let imports = imports.into_iter().map(|watch| {
        let (name, subject) = (watch.name(), WatchSubject::Import(watch.import().clone()));
        supervise(watch, name, subject, context.clone()).boxed()
    });
    let services = services.into_iter().map(|watch| {
        let (name, subject) = (watch.name(), WatchSubject::Members(vec![watch.member().clone()]));
        supervise(watch, name, subject, context.clone()).boxed()
    });
    let all: Vec<_> = imports.chain(services).collect();
    let mut watches: JoinSet<()> = all.into_iter().collect();
    let all_end = async {
        while let Some(ended) = watches.join_next().await {
            if let Err(error) = ended {
                error!(source = %agent.settings.id, %error, "a watch task failed; its state is frozen");
            }
        }
    };
    tokio::select! {
        () = all_end => {}
        never = notifiers::run(&agent, &context.status) => match never {},
    }
}
