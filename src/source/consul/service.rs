//! The watch of one service.

use std::{convert::Infallible, sync::Arc};

use tracing::warn;

use super::{
    agent::{Agent, Answer},
    blocking::BlockingQuery,
    changes::{self, Instances},
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
    reader: Reader,
}

/// Makes instances of answers.
#[derive(Debug)]
struct Reader {
    followed: FollowedMember,
    query: ConsulQuery,
    /// Ids that were last seen to have no usable address, so that each is warned of once.
    unusable: Vec<String>,
}

impl ServiceWatch {
    pub(super) fn new(agent: &Arc<Agent>, followed: FollowedMember, query: ConsulQuery) -> Self {
        let mut parameters = Vec::new();
        if let Some(datacenter) = query.datacenter.as_ref().or(agent.settings.datacenter.as_ref()) {
            parameters.push(("dc", datacenter.clone()));
        }
        parameters.extend(query.tags.iter().map(|tag| ("tag", tag.clone())));
        parameters.extend(query.filter.iter().map(|filter| ("filter", filter.clone())));
        let blocking = BlockingQuery::new(agent, &["v1", "health", "service", &query.service], parameters);
        Self { blocking, reader: Reader { followed, query, unusable: Vec::new() } }
    }

    /// What it is called in status and logs.
    pub(super) fn name(&self) -> String {
        format!("service {}", self.reader.query.service)
    }

    /// Whose instances it reports.
    pub(super) fn member(&self) -> &Member {
        &self.reader.followed.member
    }
}

impl Watch for ServiceWatch {
    async fn run(&mut self, out: &mut WatchOutbox) -> Result<Infallible, WatchError> {
        let mut connection = self.blocking.connect().await?;
        let mut last = self.reader.read(&connection.next().await?)?;
        let member = self.reader.followed.member.clone();
        out.send(changes::reset(&member, &last)).await?;
        loop {
            let next = self.reader.read(&connection.next().await?)?;
            for update in changes::between(&member, &last, &next) {
                out.send(update).await?;
            }
            last = next;
        }
    }
}

impl Reader {
    fn read(&mut self, answer: &Answer) -> Result<Instances, WatchError> {
        let reading = instances::read(&answer.body, &self.query)?;
        if reading.instances.is_empty() && answer.filtered {
            return Err(WatchError::Denied(format!(
                "the token may not read any instance of {:?}; give it service:read and node:read",
                self.query.service
            )));
        }
        if reading.unusable != self.unusable {
            self.unusable = reading.unusable;
            self.warn_of_unusable();
        }
        let dressed = reading.instances.into_iter().map(|instance| self.followed.apply_rule(instance));
        Ok(dressed.map(|instance| (Arc::clone(&instance.id), instance)).collect())
    }

    fn warn_of_unusable(&self) {
        const SHOWN: usize = 10;
        let Some(first) = self.unusable.get(..self.unusable.len().min(SHOWN)).filter(|ids| !ids.is_empty())
        else {
            return;
        };
        warn!(
            source = %self.followed.member.source, service = self.query.service, count = self.unusable.len(),
            "instances without a usable address are left out: {}", first.join(", "),
        );
    }
}
