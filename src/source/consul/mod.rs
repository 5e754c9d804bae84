//! Consul: services by their health checks, over blocking queries.
//!
//! One supervised watch a service asks `/v1/health/service/<name>` without `?passing`, so that health is judged here and
//! an instance that is left out is known with its reason. Each answer holds every instance; what is sent is the difference.
//!
//! What a 200 may not be trusted in, each handled where it is read:
//! - an index that goes back ([`blocking`]): the answer is asked for again without waiting before it counts, since an
//!   agent whose stream to the servers broke answers a blocking query with an empty list and index 1;
//! - an answer that ACLs have emptied ([`service`], [`import`]): no permission, not "no instances";
//! - with `stale`, an answer from a server that has not heard from the leader for `max_lag` ([`blocking`]): it is asked
//!   for again in the default consistency mode. Queries wait no longer than about `max_lag` then, since the lag is
//!   told when a query begins to wait.
//!
//! More services than connections share them in turns ([`connection_pool`]).
//!
//! Rejected: one watch on `/v1/health/state/any` (every flip of any check would return every check of the datacenter),
//! and `?cached`, which an agent answers from memory however long it has been cut off.
//!
//! Imports [`crate::model`], the settings in [`crate::config`] and what all sources share.

mod agent;
mod blocking;
mod changes;
mod connection_pool;
mod decode;
mod import;
mod instances;
mod rate_limit;
mod service;
mod timing;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tracing::error;

use self::{agent::Agent, import::ImportWatch, service::ServiceWatch, timing::Timing};
use super::{FollowedMember, SourceContext, Subject, supervise};
use crate::{
    config::{ConsulSource, ImportRule, SourceQuery},
    model::Import,
};

/// Follows the members and imports of one Consul source; returns when the program is stopping or nothing is followed.
///
/// Members of other kinds of sources are left out. Dropping the future stops every watch.
pub async fn run(
    settings: ConsulSource,
    members: Vec<FollowedMember>,
    imports: Vec<(Import, ImportRule)>,
    context: SourceContext,
) {
    run_with(Agent::new(settings, Timing::default()), members, imports, context).await;
}

async fn run_with(
    agent: Arc<Agent>,
    members: Vec<FollowedMember>,
    imports: Vec<(Import, ImportRule)>,
    context: SourceContext,
) {
    // All are made before any runs, so that the first one knows how many there are to share connections with.
    let services: Vec<_> = members
        .into_iter()
        .filter_map(|followed| match followed.rule.query.clone() {
            SourceQuery::Consul(query) => Some(ServiceWatch::new(&agent, followed, query)),
            _ => None,
        })
        .collect();
    let imports: Vec<_> = imports
        .into_iter()
        .map(|(import, rule)| ImportWatch::new(&agent, import, rule, context.clone()))
        .collect();

    // Nor does any run before all are in the status: the source is not ready when the first of them is.
    let imports = imports.into_iter().map(|watch| {
        let (name, subject) = (watch.name(), Subject::Import(watch.import().clone()));
        supervise(watch, name, subject, context.clone()).boxed()
    });
    let services = services.into_iter().map(|watch| {
        let (name, subject) = (watch.name(), Subject::Members(vec![watch.member().clone()]));
        supervise(watch, name, subject, context.clone()).boxed()
    });
    let all: Vec<_> = imports.chain(services).collect();
    let mut watches: JoinSet<()> = all.into_iter().collect();
    while let Some(ended) = watches.join_next().await {
        if let Err(error) = ended {
            error!(source = %agent.settings.id, %error, "a watch ended unexpectedly");
        }
    }
}
