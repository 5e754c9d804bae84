//! The watch of the list of services, which starts a watch for each of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::{
    agent::{Agent, ConsulResponse},
    blocking::BlockingQuery,
    decode,
    service::ServiceWatch,
};
use crate::{
    config::{ConsulQuery, GuardRule, ImportRule, MemberRule, SourceQuery},
    model::{Import, Labels, Member, Name, Update, WatchSubject},
    source::{FollowedMember, SourceContext, Watch, WatchError, WatchOutbox, supervise},
};

/// Follows `/v1/catalog/services` for one `[[import]]`, and each imported service.
#[derive(Debug)]
pub(super) struct ImportWatch {
    blocking: BlockingQuery,
    imported: ImportedWatches,
    chooser: ServiceChooser,
}

/// The names of an import, each with the service's name in Consul.
type ImportedNames = BTreeMap<Name, String>;

/// Chooses services from Consul's list and names them.
#[derive(Debug)]
struct ServiceChooser {
    import: Import,
    rule: ImportRule,
    /// Services that could not be imported from the last list, with the reason; each is logged
    /// once.
    rejected: BTreeSet<String>,
}

/// The watches of imported services.
///
/// If two imports of one source into one namespace list the same service, each has a watch for the
/// same member, and both report the same.
///
/// Rejected: sharing the watch, which is not worth its bookkeeping.
#[derive(Debug)]
struct ImportedWatches {
    agent: Arc<Agent>,
    context: SourceContext,
    running: BTreeMap<Name, RunningWatch>,
}

/// One running watch; dropping it aborts its task.
#[derive(Debug)]
struct RunningWatch {
    service: String,
    task: AbortOnDropHandle<()>,
}

/// A watch that is in the source's status but does not run yet.
struct PreparedWatch {
    name: Name,
    service: String,
    future: BoxFuture<'static, ()>,
}

impl ImportWatch {
    pub(super) fn new(agent: &Arc<Agent>, import: Import, rule: ImportRule, context: SourceContext) -> Self {
        let dc = agent.settings.datacenter.clone();
        let parameters = dc.into_iter().map(|datacenter| ("dc", datacenter)).collect();
        Self {
            blocking: BlockingQuery::new(
                agent,
                &["v1", "catalog", "services"],
                parameters,
                "the token cannot read any service; grant it service:read".into(),
            )
            .notified(None),
            imported: ImportedWatches { agent: Arc::clone(agent), context, running: BTreeMap::new() },
            chooser: ServiceChooser { import, rule, rejected: BTreeSet::new() },
        }
    }

    /// The watch's name in status and logs.
    pub(super) fn name(&self) -> String {
        format!("import into {}", self.import().apex)
    }

    /// The import whose list the watch reports.
    pub(super) fn import(&self) -> &Import {
        &self.chooser.import
    }
}

impl Watch for ImportWatch {
    async fn run(&mut self, out: &mut WatchOutbox) -> Result<Infallible, WatchError> {
        let mut session = self.blocking.connect().await?;
        let mut last = None;
        loop {
            let response = session.next().await?;
            out.filtered(response.filtered);
            let listed = self.chooser.choose(&response)?;
            if last.as_ref() == Some(&listed) {
                continue;
            }
            // A name's last update precedes the list without it; its first update follows the list
            // with it.
            self.imported.stop_unlisted(&listed).await;
            let services = listed.keys().cloned().collect();
            let prepared = self.imported.prepare(&listed, &self.chooser.import);
            out.send(Update::Imported { import: self.chooser.import.clone(), services }).await?;
            self.imported.start(prepared);
            last = Some(listed);
        }
    }
}

impl ServiceChooser {
    /// Chooses the import's services from Consul's list and names them.
    fn choose(&mut self, response: &ConsulResponse) -> Result<ImportedNames, WatchError> {
        let names = decode::service_names(&response.body)
            .map_err(|error| WatchError::Malformed(error.to_string()))?;
        let mut listed = ImportedNames::new();
        let mut rejected = BTreeSet::new();
        for service in names.into_iter().filter(|service| self.rule.takes(service)) {
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
            rejected.insert(format!("{service:?}: {problem}"));
        }
        self.log_new(&rejected);
        self.rejected = rejected;
        Ok(listed)
    }

    /// The service's name in the namespace: one label under the apex.
    fn name(&self, service: &str) -> Result<Name, String> {
        if service.contains('.') {
            return Err("a label cannot contain a dot".into());
        }
        self.import.apex.join(service).map_err(|error| error.to_string())
    }

    /// Logs the services that cannot be imported and were not rejected before.
    fn log_new(&self, rejected: &BTreeSet<String>) {
        const SHOWN: usize = 20;
        let new: Vec<&str> = rejected.difference(&self.rejected).map(String::as_str).collect();
        if new.is_empty() {
            return;
        }
        let shown: Vec<&str> = new.iter().take(SHOWN).copied().collect();
        warn!(
            source = %self.import.source, namespace = %self.import.apex, count = new.len(),
            "services cannot be imported: {}", shown.join("; "),
        );
    }
}

impl ImportedWatches {
    /// Ends the watches of names that are not listed or that mean another service now; returns when
    /// they have ended.
    async fn stop_unlisted(&mut self, listed: &ImportedNames) {
        let unlisted: Vec<Name> = self
            .running
            .iter()
            .filter(|(name, watch)| listed.get(*name) != Some(&watch.service))
            .map(|(name, _)| name.clone())
            .collect();
        let stopped: Vec<_> = unlisted.iter().filter_map(|name| self.running.remove(name)).collect();
        for watch in stopped {
            watch.task.abort();
            // The result only tells that the task was aborted.
            let _ = watch.task.await;
        }
    }

    /// Makes a watch for each name that has none. This adds them to the source's status, so that a
    /// synced import does not make the source ready before its services have synced.
    fn prepare(&self, listed: &ImportedNames, import: &Import) -> Vec<PreparedWatch> {
        let missing = listed.iter().filter(|(name, _)| !self.running.contains_key(*name));
        missing
            .map(|(name, service)| {
                let watch = self.watch(name, service, import);
                let subject = WatchSubject::Members(vec![watch.member().clone()]);
                let future = supervise(watch, format!("service {service}"), subject, self.context.clone());
                PreparedWatch { name: name.clone(), service: service.clone(), future: future.boxed() }
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
            guard: GuardRule::default(),
            query: SourceQuery::Consul(query.clone()),
        };
        let member = Member { service: name.clone(), source: import.source.clone(), place: Member::IMPORTED };
        ServiceWatch::new(&self.agent, FollowedMember { member, rule }, query)
    }

    fn start(&mut self, prepared: Vec<PreparedWatch>) {
        for PreparedWatch { name, service, future } in prepared {
            self.running
                .insert(name, RunningWatch { service, task: AbortOnDropHandle::new(tokio::spawn(future)) });
        }
    }
}
