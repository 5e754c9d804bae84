//! Clusters: what a source keeps while its watches are replaced on a reload.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{
    client::SharedClient,
    collection::{Collection, Object},
    feed::Feed,
    informer::{Informer, SharedInformer},
    node_watch::{NodeWatch, NodeZones},
    pod::Pod,
    pod_store::PodStore,
    scope_denial::{DeniedKinds, ObjectKind, ScopeDenial},
    slice::Slice,
    slice_store::SliceStore,
    timing::KubernetesTiming,
};
use crate::config::KubernetesSource;

/// One cluster as a source reaches it: the client, the informers with their open watches, and what is
/// known about nodes and permissions.
///
/// It outlives the source's watches: after a reload, new ones find here what the old ones have read,
/// and go on with their connections.
#[derive(Debug)]
pub struct Cluster {
    settings: KubernetesSource,
    client: Arc<SharedClient>,
    timing: KubernetesTiming,
    zones: NodeZones,
    nodes: Mutex<Option<AbortOnDropHandle<()>>>,
    pods: Informers<Pod, PodStore>,
    slices: Informers<Slice, SliceStore>,
    denied: DeniedKinds,
}

/// The informers of one kind of object.
type Informers<T, S> = Mutex<BTreeMap<Collection, SharedInformer<T, S>>>;

impl Cluster {
    /// A cluster without connections.
    #[must_use]
    pub fn new(settings: KubernetesSource) -> Self {
        Self::with_timing(settings, KubernetesTiming::default())
    }

    pub(super) fn with_timing(settings: KubernetesSource, timing: KubernetesTiming) -> Self {
        Self {
            client: Arc::new(SharedClient::new(settings.clone(), timing.max_silence)),
            settings,
            timing,
            zones: NodeZones::default(),
            nodes: Mutex::default(),
            pods: Mutex::default(),
            slices: Mutex::default(),
            denied: DeniedKinds::default(),
        }
    }

    /// Whether these settings lead to this cluster, as the same user.
    #[must_use]
    pub fn is_reached_by(&self, settings: &KubernetesSource) -> bool {
        let KubernetesSource { id, kubeconfig, context, identify_clients: _, guard: _ } = settings;
        (&self.settings.id, &self.settings.kubeconfig, &self.settings.context) == (id, kubeconfig, context)
    }

    pub(super) fn timing(&self) -> &KubernetesTiming {
        &self.timing
    }

    pub(super) fn zones(&self) -> &NodeZones {
        &self.zones
    }

    /// Starts or stops following the zones of nodes. Must be called within a runtime.
    pub(super) fn follow_nodes(&self, is_needed: bool) {
        let mut task = lock(&self.nodes);
        if !is_needed {
            *task = None;
        } else if task.is_none() {
            let nodes = NodeWatch::new(Arc::clone(&self.client), self.timing.clone(), self.zones.clone());
            *task = Some(AbortOnDropHandle::new(tokio::spawn(nodes.run(self.settings.id.clone()))));
        }
    }

    /// Closes the connections of all collections but these.
    pub(super) fn keep(&self, pods: &BTreeSet<Collection>, slices: &BTreeSet<Collection>) {
        lock(&self.pods).retain(|collection, _| pods.contains(collection));
        lock(&self.slices).retain(|collection, _| slices.contains(collection));
    }

    /// The informer of a collection of pods.
    pub(super) fn pods(&self, collection: Collection) -> SharedInformer<Pod, PodStore> {
        self.informer(&self.pods, collection)
    }

    /// The informer of a collection of EndpointSlices.
    pub(super) fn slices(&self, collection: Collection) -> SharedInformer<Slice, SliceStore> {
        self.informer(&self.slices, collection)
    }

    fn informer<T: Object, S: Default>(
        &self,
        informers: &Informers<T, S>,
        collection: Collection,
    ) -> SharedInformer<T, S> {
        let feed = || Feed::new(Arc::clone(&self.client), collection.clone(), self.timing.clone());
        let mut informers = lock(informers);
        let informer =
            informers.entry(collection.clone()).or_insert_with(|| Arc::new(Informer::new(feed()).into()));
        Arc::clone(informer)
    }

    /// Returns a receiver of the kinds that may not be read in all namespaces at once.
    pub(super) fn denied(&self) -> watch::Receiver<BTreeSet<ObjectKind>> {
        self.denied.subscribe()
    }

    pub(super) fn denial(&self, kind: ObjectKind, is_failure: bool) -> ScopeDenial {
        ScopeDenial { kind, denied: self.denied.clone(), is_failure }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
