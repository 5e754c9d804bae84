//! The sources that run, and which of them a new configuration touches.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    config::{AnswerSettings, Config, ConsulSource, ImportRule, KubernetesSource, SourceQuery},
    model::{Import, Member, Retained, SourceId, SourceKind, Update},
    source::{FollowedMember, Outbox, SourceContext, consul, kubernetes, static_instances},
    telemetry::{SourceStatus, StatusBoard},
};

/// What runs by itself: a source, or one static member that is probed, so that an edit of another does not forget what its
/// probes have found.
type Key = (SourceId, Option<Member>);

/// What one of them is asked to do. Of two that are equal one need not be stopped for the other.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    Consul {
        settings: ConsulSource,
        members: Vec<FollowedMember>,
        imports: Vec<(Import, ImportRule)>,
        max_stale: Duration,
    },
    Kubernetes {
        settings: KubernetesSource,
        members: Vec<FollowedMember>,
        max_stale: Duration,
    },
    Static {
        members: Vec<FollowedMember>,
    },
}

/// What a change of the configuration stops and starts.
#[derive(Debug)]
pub(super) struct Plan {
    stop: Vec<Key>,
    start: BTreeMap<Key, Order>,
    /// Every source of the new configuration, and whether it has something to follow.
    sources: BTreeMap<SourceId, bool>,
}

/// The sources that run; they stop when this is dropped.
#[derive(Debug)]
pub(super) struct Sources {
    updates: mpsc::Sender<Update>,
    board: Arc<StatusBoard>,
    running: BTreeMap<Key, Running>,
    statuses: BTreeMap<SourceId, Arc<SourceStatus>>,
}

#[derive(Debug)]
struct Running {
    outbox: Outbox,
    task: AbortOnDropHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.outbox.shut();
    }
}

impl Sources {
    /// Makes it without any source.
    pub(super) fn new(updates: mpsc::Sender<Update>, board: Arc<StatusBoard>) -> Self {
        Self { updates, board, running: BTreeMap::new(), statuses: BTreeMap::new() }
    }

    /// Stops what the plan stops. Not one update of it is sent after this has returned.
    pub(super) async fn stop(&mut self, plan: &Plan) {
        for (source, _) in plan.start.iter().filter(|(_, order)| order.watches() > 0).map(|(key, _)| key) {
            if let Some(status) = self.statuses.get(source) {
                status.hold();
            }
        }
        let stopped: Vec<Running> = plan.stop.iter().filter_map(|key| self.running.remove(key)).collect();
        end(stopped).await;
    }

    /// Starts what the plan starts, with what is known of it already, and puts the sources on the board. Returns what tells when
    /// that is said which the configuration itself knows: static instances, each kind of them once.
    pub(super) fn start(&mut self, plan: Plan, retained: Retained) -> Vec<oneshot::Receiver<()>> {
        self.statuses.retain(|source, _| plan.sources.contains_key(source));
        for (source, has_watches) in plan.sources {
            let new = || Arc::new(SourceStatus::new(source.clone()));
            self.statuses.entry(source.clone()).or_insert_with(new).expect_watches(has_watches);
        }
        let retained = Arc::new(Mutex::new(retained));
        let mut said = Vec::new();
        for (key, order) in plan.start {
            let Some(status) = self.statuses.get(&key.0) else { continue };
            let outbox = Outbox::new(self.updates.clone());
            let context = SourceContext {
                outbox: outbox.clone(),
                status: Arc::clone(status),
                max_stale: order.max_stale(),
                retained: Arc::clone(&retained),
            };
            self.running
                .insert(key, Running { outbox, task: AbortOnDropHandle::new(order.run(context, &mut said)) });
        }
        self.board.replace(self.statuses.values().cloned().collect());
        said
    }

    /// Stops all of them.
    pub(super) async fn shutdown(&mut self) {
        end(std::mem::take(&mut self.running).into_values()).await;
    }
}

/// Shuts all gates, then waits for the tasks.
async fn end(stopped: impl IntoIterator<Item = Running>) {
    let stopped: Vec<_> = stopped.into_iter().collect();
    for running in &stopped {
        running.outbox.shut();
        running.task.abort();
    }
    for mut running in stopped {
        // That it was aborted is known; a panic has been reported by the panic hook.
        let _ = (&mut running.task).await;
    }
}

impl Plan {
    /// What is to be done to get from one configuration, if there is one, to another.
    pub(super) fn new(from: Option<&Config>, to: &Config) -> Self {
        let before = from.map(orders).unwrap_or_default();
        let mut start = orders(to);
        let mut sources = BTreeMap::new();
        for ((source, _), order) in &start {
            *sources.entry(source.clone()).or_default() |= order.watches() > 0;
        }
        let mut stop = Vec::new();
        for (key, order) in before {
            if start.get(&key) == Some(&order) {
                start.remove(&key);
            } else {
                stop.push(key);
            }
        }
        Self { stop, start, sources }
    }

    /// The sources, apart from the static one, that start anew or for the first time.
    pub(super) fn restarted(&self) -> HashSet<SourceId> {
        let sources = self.start.keys().map(|(source, _)| source);
        sources.filter(|source| source.kind != SourceKind::Static).cloned().collect()
    }

    /// The members that are probed anew or for the first time.
    pub(super) fn probed(&self) -> HashSet<Member> {
        self.start.keys().filter_map(|(_, member)| member.clone()).collect()
    }
}

impl Order {
    /// How many watches it begins with.
    fn watches(&self) -> usize {
        match self {
            Self::Consul { members, imports, .. } => members.len() + imports.len(),
            Self::Kubernetes { settings, members, .. } => {
                members.len() + usize::from(settings.identify_clients)
            }
            Self::Static { members } => members.len(),
        }
    }

    fn max_stale(&self) -> Duration {
        match self {
            Self::Consul { max_stale, .. } | Self::Kubernetes { max_stale, .. } => *max_stale,
            // Never lost, so never stale.
            Self::Static { .. } => Duration::MAX,
        }
    }

    fn run(self, context: SourceContext, all_said: &mut Vec<oneshot::Receiver<()>>) -> JoinHandle<()> {
        match self {
            Self::Consul { settings, members, imports, .. } => {
                tokio::spawn(consul::run(settings, members, imports, context))
            }
            Self::Kubernetes { settings, members, .. } => {
                tokio::spawn(kubernetes::run(settings, members, context))
            }
            Self::Static { members } => {
                let (said, when_said) = oneshot::channel();
                all_said.push(when_said);
                tokio::spawn(static_instances::run(members, context, said))
            }
        }
    }
}

/// Everything that a configuration asks for.
fn orders(config: &Config) -> BTreeMap<Key, Order> {
    let max_stale = config.max_stale;
    let mut orders = BTreeMap::new();
    let mut members = members(config);
    let mut imports = imports(config);
    for settings in &config.consul {
        let id = settings.id.clone();
        let (members, imports) =
            (members.remove(&id).unwrap_or_default(), imports.remove(&id).unwrap_or_default());
        let order = Order::Consul { settings: settings.clone(), members, imports, max_stale };
        orders.insert((id, None), order);
    }
    for settings in &config.kubernetes {
        let id = settings.id.clone();
        let members = members.remove(&id).unwrap_or_default();
        orders.insert((id, None), Order::Kubernetes { settings: settings.clone(), members, max_stale });
    }
    let static_members = members.into_iter().filter(|(source, _)| source.kind == SourceKind::Static);
    for (source, members) in static_members {
        let is_probed = |followed: &FollowedMember| matches!(&followed.rule.query, SourceQuery::Static(query) if query.check.is_some());
        let (probed, unprobed): (Vec<_>, Vec<_>) = members.into_iter().partition(is_probed);
        if !unprobed.is_empty() {
            orders.insert((source.clone(), None), Order::Static { members: unprobed });
        }
        for followed in probed {
            let key = (source.clone(), Some(followed.member.clone()));
            orders.insert(key, Order::Static { members: vec![followed] });
        }
    }
    orders
}

/// The members of all services, by their source.
fn members(config: &Config) -> BTreeMap<SourceId, Vec<FollowedMember>> {
    let services = config.namespaces.iter().flat_map(|namespace| &namespace.services);
    let mut members: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (member, rule) in services.flat_map(|service| service.members()) {
        let followed = FollowedMember { member, rule: rule.clone() };
        members.entry(rule.source.clone()).or_default().push(followed);
    }
    members
}

/// The imports of all namespaces, by their source, which does not care what answers look like.
fn imports(config: &Config) -> BTreeMap<SourceId, Vec<(Import, ImportRule)>> {
    let mut imports: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (import, rule) in config.namespaces.iter().flat_map(|namespace| namespace.imports()) {
        let rule = ImportRule { answers: AnswerSettings::default(), ..rule.clone() };
        imports.entry(rule.source.clone()).or_default().push((import, rule));
    }
    imports
}
