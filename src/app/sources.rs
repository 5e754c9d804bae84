//! The running sources, and which of them a new configuration restarts.
//!
//! A [`Job`] is what starts, stops and is compared as a whole. Two equal jobs are one: it keeps
//! running.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    config::{AnswerSettings, Config, ConsulSource, GuardRule, ImportRule, KubernetesSource, SourceQuery},
    model::{Freshness, Import, Member, Retained, SourceId, SourceKind, Update, WatchSubject},
    source::{
        FollowedMember, Outbox, SourceContext, consul,
        guard::{CarriedMemory, Guard, GuardRules, attend},
        kubernetes,
        probe::Prober,
        static_instances,
    },
    telemetry::{SourceStatus, StatusBoard},
};

/// Identifies a job: a source, or one probed static member. Probed members are jobs of their own,
/// so that an edit of one does not reset the probes of another.
type JobKey = (SourceId, Option<Member>);

/// Settings and members of one job.
#[derive(Debug, PartialEq, Eq)]
enum Job {
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

/// The jobs that a new configuration stops and starts.
#[derive(Debug)]
pub(super) struct JobChange {
    stop: Vec<JobKey>,
    start: BTreeMap<JobKey, Job>,
    /// Every source of the new configuration, and whether it has something to watch.
    sources: BTreeMap<SourceId, bool>,
    /// What the guards may go on with: the same query has the same answer.
    unchanged: Unchanged,
}

/// Members and imports that ask their source for the same before and after a reload.
#[derive(Debug, Default)]
struct Unchanged {
    members: HashSet<Member>,
    imports: HashSet<Import>,
}

/// The running sources; they stop when this is dropped.
#[derive(Debug)]
pub(super) struct Sources {
    updates: mpsc::Sender<Update>,
    board: Arc<StatusBoard>,
    running: BTreeMap<JobKey, RunningJob>,
    statuses: BTreeMap<SourceId, Arc<SourceStatus>>,
    shared: SharedByJobs,
}

/// State that jobs share and that outlives them.
#[derive(Debug, Default)]
struct SharedByJobs {
    /// The clusters of Kubernetes sources.
    clusters: BTreeMap<SourceId, Arc<kubernetes::Cluster>>,
    /// Probes the instances of all static members.
    prober: Arc<Prober>,
}

#[derive(Debug)]
struct RunningJob {
    outbox: Outbox,
    task: AbortOnDropHandle<()>,
    guard: Option<GuardTask>,
}

#[derive(Debug)]
struct GuardTask {
    guard: Arc<Guard>,
    _task: AbortOnDropHandle<()>,
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        self.outbox.shut();
    }
}

impl Sources {
    /// Without any source.
    pub(super) fn new(updates: mpsc::Sender<Update>, board: Arc<StatusBoard>) -> Self {
        let (running, statuses, shared) = Default::default();
        Self { updates, board, running, statuses, shared }
    }

    /// How fresh the state is that each watch has delivered.
    pub(super) fn freshness(&self) -> Vec<(Arc<WatchSubject>, Freshness)> {
        self.statuses.values().flat_map(|status| status.freshness()).collect()
    }

    /// Stops the jobs that the change stops. None of their updates is sent after this returns. Returns
    /// what their guards remember, for those of the jobs that take over.
    pub(super) async fn stop(&mut self, change: &JobChange) -> CarriedMemory {
        for (source, _) in change.start.iter().filter(|(_, job)| job.watches() > 0).map(|(key, _)| key) {
            if let Some(status) = self.statuses.get(source) {
                status.freeze();
            }
        }
        let stopped: Vec<RunningJob> =
            change.stop.iter().filter_map(|key| self.running.remove(key)).collect();
        // From here on no guard's memory changes.
        stopped.iter().for_each(|running| running.outbox.shut());
        let guards = stopped.iter().filter_map(|running| running.guard.as_ref());
        let mut carried: CarriedMemory = guards.flat_map(|task| task.guard.take_memory()).collect();
        carried.retain(|member, _| change.unchanged.contains(member));
        end(stopped).await;
        carried
    }

    /// Starts the jobs that the change starts, with what was retained and carried over for them, and
    /// updates the board. Returns one receiver for each job of static instances: it completes when
    /// their instances have been sent to the catalog.
    pub(super) fn start(
        &mut self,
        change: JobChange,
        retained: Retained,
        mut carried: CarriedMemory,
    ) -> Vec<oneshot::Receiver<()>> {
        self.statuses.retain(|source, _| change.sources.contains_key(source));
        self.shared.clusters.retain(|source, _| change.sources.contains_key(source));
        for (source, has_watches) in change.sources {
            let new = || Arc::new(SourceStatus::new(source.clone()));
            self.statuses.entry(source.clone()).or_insert_with(new).expect_watches(has_watches);
        }
        let retained = Arc::new(Mutex::new(retained));
        let mut synced = Vec::new();
        for (key, job) in change.start {
            let status = self.statuses.get(&key.0);
            debug_assert!(status.is_some(), "the source of every job has a status");
            let Some(status) = status else { continue };
            let guard = Guard::new(job.guard_rules(), &mut carried, status);
            let outbox = Outbox::guarded(self.updates.clone(), guard.clone());
            let guard = guard.map(|guard| {
                let attend = attend(Arc::clone(&guard), outbox.clone(), Arc::clone(&self.shared.prober));
                GuardTask { guard, _task: AbortOnDropHandle::new(tokio::spawn(attend)) }
            });
            let context = SourceContext {
                outbox: outbox.clone(),
                status: Arc::clone(status),
                max_stale: job.max_stale(),
                retained: Arc::clone(&retained),
            };
            self.running.insert(
                key,
                RunningJob {
                    outbox,
                    task: AbortOnDropHandle::new(job.run(context, &mut self.shared, &mut synced)),
                    guard,
                },
            );
        }
        self.board.replace(self.statuses.values().cloned().collect());
        synced
    }

    /// Stops all jobs.
    pub(super) async fn shutdown(&mut self) {
        end(std::mem::take(&mut self.running).into_values()).await;
    }
}

/// Closes all outboxes, then waits for the tasks.
async fn end(stopped: impl IntoIterator<Item = RunningJob>) {
    let stopped: Vec<_> = stopped.into_iter().collect();
    for running in &stopped {
        running.outbox.shut();
        running.task.abort();
    }
    for mut running in stopped {
        // The task was aborted; the panic hook has reported a panic, if there was one.
        let _ = (&mut running.task).await;
    }
}

impl JobChange {
    /// The change from one configuration, if there is one, to another.
    pub(super) fn new(from: Option<&Config>, to: &Config) -> Self {
        let before = from.map(jobs).unwrap_or_default();
        let mut start = jobs(to);
        let mut sources = BTreeMap::new();
        for ((source, _), job) in &start {
            *sources.entry(source.clone()).or_default() |= job.watches() > 0;
        }
        let mut stop = Vec::new();
        let unchanged = Unchanged::new(&before, &start);
        for (key, job) in before {
            if start.get(&key) == Some(&job) {
                start.remove(&key);
            } else {
                stop.push(key);
            }
        }
        Self { stop, start, sources, unchanged }
    }

    /// The sources that start or restart, without the static one.
    pub(super) fn restarted(&self) -> HashSet<SourceId> {
        let sources = self.start.keys().map(|(source, _)| source);
        sources.filter(|source| source.kind != SourceKind::Static).cloned().collect()
    }

    /// The static members whose probes start or restart.
    pub(super) fn probed(&self) -> HashSet<Member> {
        self.start.keys().filter_map(|(_, member)| member.clone()).collect()
    }
}

impl Unchanged {
    fn new(from: &BTreeMap<JobKey, Job>, to: &BTreeMap<JobKey, Job>) -> Self {
        let members = |jobs| queries(jobs).collect::<HashMap<_, _>>();
        let imports = |jobs| import_rules(jobs).collect::<HashMap<_, _>>();
        let (members_before, imports_before) = (members(from), imports(from));
        let same_members = queries(to).filter(|(member, query)| members_before.get(member) == Some(query));
        let same_imports = import_rules(to).filter(|(import, rule)| imports_before.get(import) == Some(rule));
        Self {
            members: same_members.map(|(member, _)| member.clone()).collect(),
            imports: same_imports.map(|(import, _)| import.clone()).collect(),
        }
    }

    fn contains(&self, member: &Member) -> bool {
        self.members.contains(member) || self.imports.iter().any(|import| member.is_imported_by(import))
    }
}

fn queries(jobs: &BTreeMap<JobKey, Job>) -> impl Iterator<Item = (&Member, &SourceQuery)> {
    jobs.values().flat_map(Job::members).map(|followed| (&followed.member, &followed.rule.query))
}

fn import_rules(jobs: &BTreeMap<JobKey, Job>) -> impl Iterator<Item = (&Import, &ImportRule)> {
    jobs.values().flat_map(Job::imports).map(|(import, rule)| (import, rule))
}

impl Job {
    fn members(&self) -> &[FollowedMember] {
        match self {
            Self::Consul { members, .. } | Self::Kubernetes { members, .. } | Self::Static { members } => {
                members
            }
        }
    }

    fn imports(&self) -> &[(Import, ImportRule)] {
        match self {
            Self::Consul { imports, .. } => imports,
            Self::Kubernetes { .. } | Self::Static { .. } => &[],
        }
    }

    /// How far the word of its source is followed.
    fn guard_rules(&self) -> GuardRules {
        let source = match self {
            Self::Consul { settings, .. } => settings.guard.clone(),
            Self::Kubernetes { settings, .. } => settings.guard.clone(),
            Self::Static { .. } => GuardRule::default(),
        };
        let with_own = self.members().iter().filter(|followed| followed.rule.guard != GuardRule::default());
        let members = with_own
            .map(|FollowedMember { member, rule }| (member.clone(), rule.guard.clone().over(&source)));
        GuardRules { members: members.collect(), source }
    }

    /// How many watches the job starts with.
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

    fn run(
        self,
        context: SourceContext,
        shared: &mut SharedByJobs,
        all_synced: &mut Vec<oneshot::Receiver<()>>,
    ) -> JoinHandle<()> {
        match self {
            Self::Consul { settings, members, imports, .. } => {
                tokio::spawn(consul::run(settings, members, imports, context))
            }
            Self::Kubernetes { settings, members, .. } => {
                let identify_clients = settings.identify_clients;
                let known =
                    shared.clusters.get(&settings.id).filter(|cluster| cluster.is_reached_by(&settings));
                let cluster =
                    known.cloned().unwrap_or_else(|| Arc::new(kubernetes::Cluster::new(settings.clone())));
                shared.clusters.insert(settings.id, Arc::clone(&cluster));
                tokio::spawn(kubernetes::run(cluster, identify_clients, members, context))
            }
            Self::Static { members } => {
                let (synced, when_synced) = oneshot::channel();
                all_synced.push(when_synced);
                tokio::spawn(static_instances::run(members, context, Arc::clone(&shared.prober), synced))
            }
        }
    }
}

/// All jobs of a configuration.
fn jobs(config: &Config) -> BTreeMap<JobKey, Job> {
    let max_stale = config.max_stale;
    let mut jobs = BTreeMap::new();
    let mut members = members(config);
    let mut imports = imports(config);
    for settings in &config.consul {
        let id = settings.id.clone();
        let (members, imports) =
            (members.remove(&id).unwrap_or_default(), imports.remove(&id).unwrap_or_default());
        let job = Job::Consul { settings: settings.clone(), members, imports, max_stale };
        jobs.insert((id, None), job);
    }
    for settings in &config.kubernetes {
        let id = settings.id.clone();
        let members = members.remove(&id).unwrap_or_default();
        jobs.insert((id, None), Job::Kubernetes { settings: settings.clone(), members, max_stale });
    }
    let static_members = members.into_iter().filter(|(source, _)| source.kind == SourceKind::Static);
    for (source, members) in static_members {
        let is_probed = |followed: &FollowedMember| matches!(&followed.rule.query, SourceQuery::Static(query) if query.check.is_some());
        let (probed, unprobed): (Vec<_>, Vec<_>) = members.into_iter().partition(is_probed);
        if !unprobed.is_empty() {
            jobs.insert((source.clone(), None), Job::Static { members: unprobed });
        }
        for followed in probed {
            let key = (source.clone(), Some(followed.member.clone()));
            jobs.insert(key, Job::Static { members: vec![followed] });
        }
    }
    jobs
}

/// The members of all services, by source.
fn members(config: &Config) -> BTreeMap<SourceId, Vec<FollowedMember>> {
    let services = config.namespaces.iter().flat_map(|namespace| &namespace.services);
    let mut members: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (member, rule) in services.flat_map(|service| service.members()) {
        let followed = FollowedMember { member, rule: rule.clone() };
        members.entry(rule.source.clone()).or_default().push(followed);
    }
    members
}

/// The imports of all namespaces, by source. Without answer settings: they do not concern the
/// source, so a change of them must not restart it.
fn imports(config: &Config) -> BTreeMap<SourceId, Vec<(Import, ImportRule)>> {
    let mut imports: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (import, rule) in config.namespaces.iter().flat_map(|namespace| namespace.imports()) {
        let rule = ImportRule { answers: AnswerSettings::default(), ..rule.clone() };
        imports.entry(rule.source.clone()).or_default().push((import, rule));
    }
    imports
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config;

    fn config(source: &str, member: &str) -> Config {
        let zone =
            format!("namespace = \"shop\"\n[services.web]\nfrom = [{{ kubernetes = \"eks\", {member} }}]");
        let main = format!("[kubernetes.eks]\n{source}");
        let files = [("muster.toml".into(), main), (PathBuf::from("zones/shop.toml"), zone)];
        config::load_from(&files).unwrap().config
    }

    #[tokio::test]
    async fn a_cluster_stays_while_its_members_change() {
        let (updates, _inbox) = mpsc::channel(8);
        let mut sources = Sources::new(updates, Arc::default());
        let mut cluster = async |from: Option<&Config>, to: &Config| {
            let change = JobChange::new(from, to);
            let carried = sources.stop(&change).await;
            sources.start(change, Retained::default(), carried);
            sources.shared.clusters.values().next().cloned()
        };
        let first = "kubeconfig = \"/nonexistent/first\"";
        let configs = [
            config(first, "namespace = \"a\", selector = \"app=web\""),
            config(first, "namespace = \"b\", service = \"web\""),
            config(
                &format!("{first}\nidentify_clients = true\ndamping = {{ settle = \"1s\" }}"),
                "namespace = \"b\", service = \"web\"",
            ),
            config("kubeconfig = \"/nonexistent/second\"", "namespace = \"b\", service = \"web\""),
        ];
        let one = cluster(None, &configs[0]).await.unwrap();
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            let same = cluster(Some(&configs[from]), &configs[to]).await.unwrap();
            assert!(Arc::ptr_eq(&one, &same), "{from} to {to}");
        }
        let other = cluster(Some(&configs[0]), &configs[3]).await.unwrap();
        assert!(!Arc::ptr_eq(&one, &other), "another kubeconfig");
        let none = config::load_from(&[("muster.toml".into(), String::new())]).unwrap().config;
        assert!(cluster(Some(&configs[3]), &none).await.is_none());
    }
}
