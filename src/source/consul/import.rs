//! The watch of the list of services, which brings a watch for each.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::{
    agent::{Agent, Answer},
    blocking::BlockingQuery,
    decode,
    service::ServiceWatch,
};
use crate::{
    config::{ConsulQuery, ImportRule, MemberRule, SourceQuery},
    model::{Import, Labels, Member, Name, Update},
    source::{FollowedMember, SourceContext, Subject, Watch, WatchError, WatchOutbox, supervise},
};

/// Follows `/v1/catalog/services` for one `[[import]]`, and each service that it brings.
#[derive(Debug)]
pub(super) struct ImportWatch {
    blocking: BlockingQuery,
    children: Children,
    chooser: Chooser,
}

/// The names that an import brings, each with Consul's own name of the service.
type Listed = BTreeMap<Name, String>;

/// Chooses services from Consul's list and names them.
#[derive(Debug)]
struct Chooser {
    import: Import,
    rule: ImportRule,
    /// Services that were left out of the last list and why, so that each is warned of once.
    left_out: BTreeSet<String>,
}

/// The watches of imported services.
///
/// Two imports of one source into one namespace that both list a service each have a watch of it, for the same member:
/// what both say is the same. Sharing them was not worth its bookkeeping.
#[derive(Debug)]
struct Children {
    agent: Arc<Agent>,
    context: SourceContext,
    running: BTreeMap<Name, Child>,
}

/// One of them; dropping it ends its task.
#[derive(Debug)]
struct Child {
    service: String,
    task: AbortOnDropHandle<()>,
}

/// A watch that is in the source's status and does not run yet.
struct Prepared {
    name: Name,
    service: String,
    watching: BoxFuture<'static, ()>,
}

impl ImportWatch {
    pub(super) fn new(agent: &Arc<Agent>, import: Import, rule: ImportRule, context: SourceContext) -> Self {
        let dc = agent.settings.datacenter.clone();
        let parameters = dc.into_iter().map(|datacenter| ("dc", datacenter)).collect();
        Self {
            blocking: BlockingQuery::new(agent, &["v1", "catalog", "services"], parameters),
            children: Children { agent: Arc::clone(agent), context, running: BTreeMap::new() },
            chooser: Chooser { import, rule, left_out: BTreeSet::new() },
        }
    }

    /// What it is called in status and logs.
    pub(super) fn name(&self) -> String {
        format!("import into {}", self.import().apex)
    }

    /// Whose list it reports.
    pub(super) fn import(&self) -> &Import {
        &self.chooser.import
    }
}

impl Watch for ImportWatch {
    async fn run(&mut self, out: &mut WatchOutbox) -> Result<Infallible, WatchError> {
        let mut connection = self.blocking.connect().await?;
        let mut last = None;
        loop {
            let listed = self.chooser.choose(&connection.next().await?)?;
            if last.as_ref() == Some(&listed) {
                continue;
            }
            // A name's last update comes before the list without it, its first one after the list with it.
            self.children.stop_others(&listed).await;
            let services = listed.keys().cloned().collect();
            let prepared = self.children.prepare(&listed, &self.chooser.import);
            out.send(Update::Imported { import: self.chooser.import.clone(), services }).await?;
            self.children.start(prepared);
            last = Some(listed);
        }
    }
}

impl Chooser {
    fn choose(&mut self, answer: &Answer) -> Result<Listed, WatchError> {
        let names =
            decode::service_names(&answer.body).map_err(|error| WatchError::Malformed(error.to_string()))?;
        if names.is_empty() && answer.filtered {
            return Err(WatchError::Denied(
                "the token may not read any service; give it service:read".into(),
            ));
        }
        let mut listed = Listed::new();
        let mut left_out = BTreeSet::new();
        for service in names.into_iter().filter(|service| self.wants(service)) {
            let problem = match self.name(&service) {
                Ok(name) => match listed.get(&name) {
                    Some(first) => format!("{first:?} has the same name"),
                    None => {
                        listed.insert(name, service);
                        continue;
                    }
                },
                Err(problem) => problem,
            };
            left_out.insert(format!("{service:?}: {problem}"));
        }
        self.warn_of(&left_out);
        self.left_out = left_out;
        Ok(listed)
    }

    fn wants(&self, service: &str) -> bool {
        self.rule.takes(service)
    }

    /// The service's name in the namespace: one label under the apex.
    fn name(&self, service: &str) -> Result<Name, String> {
        if service.contains('.') {
            return Err("a dot cannot be part of a label".into());
        }
        self.import.apex.join(service).map_err(|error| error.to_string())
    }

    /// Warns of services that are left out and were not before.
    fn warn_of(&self, left_out: &BTreeSet<String>) {
        const SHOWN: usize = 20;
        let new: Vec<&str> = left_out.difference(&self.left_out).map(String::as_str).collect();
        if new.is_empty() {
            return;
        }
        let shown = new.get(..new.len().min(SHOWN)).unwrap_or_default().join("; ");
        warn!(
            source = %self.import.source, namespace = %self.import.apex, count = new.len(),
            "services cannot be imported: {shown}",
        );
    }
}

impl Children {
    /// Ends the watches of names that are not listed or now mean another service; returns when they have ended.
    async fn stop_others(&mut self, listed: &Listed) {
        let is_other =
            |(name, child): (&Name, &Child)| (listed.get(name) != Some(&child.service)).then(|| name.clone());
        let others: Vec<Name> = self.running.iter().filter_map(is_other).collect();
        let stopped: Vec<Child> = others.iter().filter_map(|name| self.running.remove(name)).collect();
        for child in stopped {
            child.task.abort();
            // The result only says that the task was aborted.
            let _ = child.task.await;
        }
    }

    /// Makes a watch for each name that has none. All of them are in the source's status from here on, so that an
    /// import that has synced does not make the source ready before its services have.
    fn prepare(&self, listed: &Listed, import: &Import) -> Vec<Prepared> {
        let missing = listed.iter().filter(|(name, _)| !self.running.contains_key(*name));
        missing
            .map(|(name, service)| {
                let watch = self.watch(name, service, import);
                let subject = Subject::Members(vec![watch.member().clone()]);
                let watching = supervise(watch, format!("service {service}"), subject, self.context.clone());
                Prepared { name: name.clone(), service: service.clone(), watching: watching.boxed() }
            })
            .collect()
    }

    fn watch(&self, name: &Name, service: &str, import: &Import) -> ServiceWatch {
        let query = ConsulQuery {
            service: service.to_owned(),
            tags: Vec::new(),
            filter: None,
            datacenter: None,
            port: None,
        };
        let rule = MemberRule {
            source: import.source.clone(),
            labels: Labels::default(),
            port_name: None,
            query: SourceQuery::Consul(query.clone()),
        };
        let member = Member { service: name.clone(), source: import.source.clone(), place: Member::IMPORTED };
        ServiceWatch::new(&self.agent, FollowedMember { member, rule }, query)
    }

    fn start(&mut self, prepared: Vec<Prepared>) {
        for Prepared { name, service, watching } in prepared {
            self.running
                .insert(name, Child { service, task: AbortOnDropHandle::new(tokio::spawn(watching)) });
        }
    }
}
