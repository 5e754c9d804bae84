//! The watch of one service.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc};

use tracing::warn;

use super::{
    agent::{Agent, ConsulResponse},
    blocking::BlockingQuery,
    changes::{self, InstancesById},
    host_names::Circles,
    instances,
};
use crate::{
    config::ConsulQuery,
    model::Member,
    source::{FollowedMember, Watch, WatchError, WatchOutbox},
};

/// Follows the instances of one service for one member.
#[derive(Debug)]
pub(super) struct ServiceWatch {
    blocking: BlockingQuery,
    reader: InstanceReader,
}

/// Turns responses into instances.
#[derive(Debug)]
struct InstanceReader {
    followed: FollowedMember,
    query: ConsulQuery,
    agent: Arc<Agent>,
    /// The nodes in the last response.
    nodes: BTreeSet<u64>,
    /// Ids without a usable address in the last response; each is logged once.
    unusable: Vec<String>,
    /// Host names that led back to the service in the last response; each is logged once.
    circles: Circles,
}

impl ServiceWatch {
    pub(super) fn new(agent: &Arc<Agent>, followed: FollowedMember, query: ConsulQuery) -> Self {
        let mut parameters = Vec::new();
        if let Some(datacenter) = query.datacenter.as_ref().or(agent.settings.datacenter.as_ref()) {
            parameters.push(("dc", datacenter.clone()));
        }
        parameters.extend(query.tags.iter().map(|tag| ("tag", tag.clone())));
        parameters.extend(query.filter.iter().map(|filter| ("filter", filter.clone())));
        let denial = format!(
            "the token cannot read any instance of {:?}; grant it service:read and node:read",
            query.service
        );
        let path = ["v1", "health", "service", &query.service];
        let mut blocking = BlockingQuery::new(agent, &path, parameters, denial);
        // The notifiers follow the source's datacenter.
        if query.datacenter.is_none() || query.datacenter == agent.settings.datacenter {
            blocking = blocking.notified(Some(&query.service));
        }
        let reader = InstanceReader {
            followed,
            query,
            agent: Arc::clone(agent),
            nodes: BTreeSet::new(),
            unusable: Vec::new(),
            circles: Circles::default(),
        };
        Self { blocking, reader }
    }

    /// The watch's name in status and logs.
    pub(super) fn name(&self) -> String {
        format!("service {}", self.reader.query.service)
    }

    /// The member whose instances the watch reports.
    pub(super) fn member(&self) -> &Member {
        &self.reader.followed.member
    }
}

impl Watch for ServiceWatch {
    async fn run(&mut self, out: &mut WatchOutbox) -> Result<Infallible, WatchError> {
        let mut session = self.blocking.connect().await?;
        let mut last = self.reader.read(&session.next().await?, out)?;
        session.set_nodes(&mut self.reader.nodes);
        let member = self.reader.followed.member.clone();
        out.send(changes::reset(&member, &last)).await?;
        loop {
            let next = self.reader.read(&session.next().await?, out)?;
            session.set_nodes(&mut self.reader.nodes);
            out.send_all(changes::between(&member, &last, &next)).await?;
            last = next;
        }
    }
}

impl InstanceReader {
    fn read(&mut self, response: &ConsulResponse, out: &WatchOutbox) -> Result<InstancesById, WatchError> {
        out.filtered(response.filtered);
        let mut parsed = instances::parse(&response.body, &self.query)?;
        self.nodes = std::mem::take(&mut parsed.nodes);
        let circles = self.agent.host_names.break_circles(&self.followed.member, &mut parsed);
        if circles != self.circles {
            self.circles = circles;
            self.log_circles();
        }
        if parsed.unusable != self.unusable {
            self.unusable = parsed.unusable;
            self.log_unusable();
        }
        let instances = parsed.instances.into_iter().map(|instance| self.followed.apply_rule(instance));
        Ok(instances.map(|instance| (Arc::clone(&instance.id), instance)).collect())
    }

    fn log_unusable(&self) {
        self.log(&self.unusable, "instances without a usable address are ignored");
    }

    fn log_circles(&self) {
        let Circles { by_node, removed } = &self.circles;
        self.log(
            by_node,
            "the node's address is used for instances whose address in Consul is a name that leads back to \
             this service; register an IP address",
        );
        self.log(
            removed,
            "instances are ignored whose address is a name that leads back to this service, and whose node \
             has no IP address",
        );
    }

    /// Logs a problem of some instances, if there are any.
    fn log(&self, instances: &[String], problem: &str) {
        const SHOWN: usize = 10;
        if instances.is_empty() {
            return;
        }
        let shown: Vec<&str> = instances.iter().take(SHOWN).map(String::as_str).collect();
        warn!(
            source = %self.followed.member.source, service = self.query.service, count = instances.len(),
            "{problem}: {}", shown.join(", "),
        );
    }
}

impl Drop for InstanceReader {
    fn drop(&mut self) {
        self.agent.host_names.remove(&self.followed.member);
    }
}
