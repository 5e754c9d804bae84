//! The source against a fake API server, over real sockets: the updates that follow from responses.

mod client_pods;
mod failures;
mod following;
mod sharing;

use std::{collections::VecDeque, io::Write, path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Cluster,
    fake::{ApiServer, DEADLINE, id, line, list, settings},
    run,
    timing::KubernetesTiming,
};
use crate::{
    config::{
        GuardRule, KubernetesObjects, KubernetesQuery, KubernetesSource, MemberRule, PortRef, SourceQuery,
    },
    model::{Health, Instance, Labels, Member, Target, Update},
    source::{FollowedMember, Outbox, SourceContext},
    telemetry::{SourceStatus, StatusBoard},
};

const PODS: &str = "/api/v1/namespaces/shop/pods";
const NODES: &str = "/api/v1/nodes";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";

/// A running source and its updates; it stops when dropped.
struct Source {
    inbox: mpsc::Receiver<Update>,
    /// The rest of the changes that came in one update.
    changes: VecDeque<Update>,
    status: Arc<SourceStatus>,
    cluster: Arc<Cluster>,
    context: SourceContext,
    task: AbortOnDropHandle<()>,
    folder: TempDir,
}

impl Source {
    fn start(server: &ApiServer, members: Vec<FollowedMember>) -> Self {
        let user = json!({ "token": "first" });
        Self::start_as(members, quick(), |path| write_kubeconfig(path, server, user))
    }

    /// Starts a source that follows all pods of the cluster in addition to its members.
    fn identifying(server: &ApiServer, members: Vec<FollowedMember>) -> Self {
        let user = json!({ "token": "first" });
        Self::start_with(true, members, quick(), |path| write_kubeconfig(path, server, user))
    }

    fn start_as(
        members: Vec<FollowedMember>,
        timing: KubernetesTiming,
        prepare: impl FnOnce(&PathBuf),
    ) -> Self {
        Self::start_with(false, members, timing, prepare)
    }

    fn start_with(
        identify_clients: bool,
        members: Vec<FollowedMember>,
        timing: KubernetesTiming,
        prepare: impl FnOnce(&PathBuf),
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        prepare(&path);
        let (outbox, inbox) = mpsc::channel(4);
        let status = StatusBoard::default().add(id());
        let context = SourceContext {
            outbox: Outbox::new(outbox),
            status: Arc::clone(&status),
            max_stale: Duration::from_secs(3600),
            retained: Arc::default(),
        };
        let settings = KubernetesSource { identify_clients, ..settings(Some(path)) };
        let cluster = Arc::new(Cluster::with_timing(settings, timing));
        let running = run(Arc::clone(&cluster), identify_clients, members, context.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(running));
        Self { inbox, changes: VecDeque::new(), status, cluster, context, task, folder }
    }

    /// Stops the watches and starts those of other members, as a reload does.
    async fn reload(&mut self, members: Vec<FollowedMember>) {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.changes.clear();
        while self.inbox.try_recv().is_ok() {}
        let running = run(Arc::clone(&self.cluster), false, members, self.context.clone());
        self.task = AbortOnDropHandle::new(tokio::spawn(running));
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Returns the next change; the failures of members are left out.
    async fn next(&mut self) -> Update {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return change;
            }
            match timeout(DEADLINE, self.inbox.recv())
                .await
                .expect("no update")
                .expect("the source has ended")
            {
                Update::Failed { .. } => {}
                Update::Changes(changes) => {
                    let is_failure = |change: &Update| matches!(change, Update::Failed { .. });
                    self.changes.extend(changes.into_iter().filter(|change| !is_failure(change)));
                }
                update => return update,
            }
        }
    }

    /// Returns the instances of the next update, which must be a reset.
    async fn reset(&mut self) -> Vec<Instance> {
        match self.next().await {
            Update::Reset { instances, .. } => instances,
            other => panic!("expected a reset, got {other:?}"),
        }
    }

    /// Returns the ids of the next update, which must be a reset.
    async fn reset_ids(&mut self) -> Vec<String> {
        self.reset().await.iter().map(|instance| instance.id.to_string()).collect()
    }

    async fn upsert(&mut self) -> Instance {
        match self.next().await {
            Update::Upsert { instance, .. } => instance,
            other => panic!("expected an upsert, got {other:?}"),
        }
    }

    async fn removed(&mut self) -> String {
        match self.next().await {
            Update::Remove { id, .. } => id.to_string(),
            other => panic!("expected a removal, got {other:?}"),
        }
    }

    /// Waits for a failure of `kind`; returns the last failure's message.
    async fn failure(&self, kind: &str) -> String {
        let seen = async {
            loop {
                let report = self.status.report();
                if report.errors.contains_key(kind) {
                    return report.last_error.unwrap().message;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let all = || self.status.report().errors;
        timeout(DEADLINE, seen).await.unwrap_or_else(|_| panic!("no {kind} failure, but {:?}", all()))
    }

    fn failures(&self) -> u64 {
        self.status.report().errors.values().sum()
    }
}

/// Short pauses, and watches that last longer than any test.
fn quick() -> KubernetesTiming {
    KubernetesTiming {
        watch_seconds: 200..=200,
        grace: Duration::from_secs(5),
        max_silence: Duration::from_secs(300),
        head: DEADLINE,
        resume: 10 * DEADLINE,
        page: DEADLINE,
        zones: Duration::from_millis(50),
        pause: Duration::from_millis(1),
    }
}

fn followed(service: &str, objects: KubernetesObjects, port: Option<PortRef>) -> FollowedMember {
    followed_in("shop", service, objects, port)
}

fn followed_in(
    namespace: &str,
    service: &str,
    objects: KubernetesObjects,
    port: Option<PortRef>,
) -> FollowedMember {
    let query = KubernetesQuery { namespace: namespace.to_owned(), objects, port };
    FollowedMember {
        member: Member { service: service.parse().unwrap(), source: id(), place: 0 },
        rule: MemberRule {
            source: id(),
            labels: Labels::default(),
            port_name: None,
            guard: GuardRule::default(),
            query: SourceQuery::Kubernetes(query),
        },
    }
}

fn pods() -> KubernetesObjects {
    KubernetesObjects::Pods("app=web".parse().unwrap())
}

fn web() -> Vec<FollowedMember> {
    vec![followed("web.test", pods(), Some(PortRef::Number(80)))]
}

fn write_kubeconfig(path: &PathBuf, server: &ApiServer, user: Value) {
    write_cluster(path, json!({ "server": format!("http://{}", server.address) }), user);
}

fn write_cluster(path: &PathBuf, cluster: Value, user: Value) {
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{ "name": "here", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": cluster }],
        "users": [{ "name": "u", "user": user }],
    });
    // Replaced atomically, as kubectl and the kubelet do: the source may be reading the file.
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    file.write_all(text.to_string().as_bytes()).unwrap();
    file.persist(path).unwrap();
}

/// A ready pod with an address of 10.0.0.0/24.
fn pod(name: &str, version: u64, host: u8) -> Value {
    json!({
        "metadata": { "name": name, "resourceVersion": version.to_string(), "labels": { "app": "web" } },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "c" }] },
        "status": {
            "phase": "Running",
            "podIP": format!("10.0.0.{host}"),
            "podIPs": [{ "ip": format!("10.0.0.{host}") }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key] = value;
    object
}

fn not_ready(pod: Value) -> Value {
    with(
        pod,
        "/status/conditions",
        json!([{ "type": "Ready", "status": "False", "reason": "ContainersNotReady" }]),
    )
}

fn bookmark(version: u64) -> Value {
    json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "resourceVersion": version.to_string() } })
}

fn gone() -> Value {
    json!({ "kind": "Status", "status": "Failure", "message": "too old resource version", "reason": "Expired", "code": 410 })
}

fn node(name: &str, version: u64, zone: &str) -> Value {
    let labels = json!({ "topology.kubernetes.io/zone": zone });
    json!({ "metadata": { "name": name, "resourceVersion": version.to_string(), "labels": labels } })
}

fn slice(name: &str, version: u64, endpoints: Value) -> Value {
    json!({
        "metadata": { "name": name, "resourceVersion": version.to_string() },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{ "name": "http", "protocol": "TCP", "port": 8080 }],
    })
}

fn endpoint(name: &str, host: u8, ready: bool) -> Value {
    json!({
        "addresses": [format!("10.0.0.{host}")],
        "conditions": { "ready": ready, "serving": true, "terminating": false },
        "targetRef": { "kind": "Pod", "name": name, "uid": format!("uid-{name}") },
        "zone": "zone-a",
    })
}
