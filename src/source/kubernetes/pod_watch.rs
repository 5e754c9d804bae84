//! The watch of pods: those of one selector, or of many, and of all clients.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    client_pods,
    collection::{Collection, ObjectChange},
    endpoint::Endpoint,
    endpoint_table::{EndpointChange, EndpointTable},
    informer::{Informer, InformerReader, SharedInformer},
    node_watch::{NodeZones, ZoneByNode},
    pod::Pod,
    pod_index::PodIndex,
    pod_store::PodStore,
    scope::{MemberGroup, Scope},
    scope_denial::ScopeDenial,
};
use crate::{
    config::KubernetesObjects,
    model::{Selector, Update, WatchSubject},
    source::{Watch, WatchError, WatchOutbox},
};

/// The pods in a scope.
pub(super) fn collection(scope: &Scope) -> Collection {
    Collection::within(scope, "/api/v1", "pods")
}

/// Follows the pods of a scope.
///
/// A pod's locality is its node's zone. A list of pods waits for the nodes' zones, but only for a
/// few seconds. A pod whose node is not known yet is reported without a locality, and once more when
/// the node is known.
#[derive(Debug)]
pub(super) struct PodWatch {
    informer: SharedInformer<Pod, PodStore>,
    /// The namespace of all pods, unless they are of several.
    namespace: Option<Arc<str>>,
    tables: PodTables,
    nodes: NodeZones,
    zones: watch::Receiver<ZoneByNode>,
    /// How long a list of pods waits for the first list of nodes.
    patience: Duration,
    denial: Option<ScopeDenial>,
}

/// The tables of those that need the pods.
#[derive(Debug)]
pub(super) struct PodTables {
    index: PodIndex,
    /// One for each number in the index.
    tables: Vec<EndpointTable>,
    clients: Option<EndpointTable>,
}

impl PodTables {
    /// Makes empty tables of groups, and of all clients if there is a table for them.
    pub(super) fn new(scope: &Scope, groups: Vec<MemberGroup>, clients: Option<EndpointTable>) -> Self {
        let selectors = groups.iter().enumerate().map(|(number, group)| {
            let selector = match &group.objects {
                KubernetesObjects::Pods(selector) if !scope.is_selected() => selector.clone(),
                _ => Selector::default(),
            };
            (number, group.namespace.as_str(), selector)
        });
        let index = PodIndex::new(selectors);
        Self {
            index,
            tables: groups.into_iter().map(|group| EndpointTable::new(group.members)).collect(),
            clients,
        }
    }

    /// Returns the members, as the subject of supervision.
    pub(super) fn subject(&self) -> WatchSubject {
        let tables = self.clients.iter().chain(&self.tables);
        WatchSubject::Members(tables.flat_map(EndpointTable::members).cloned().collect())
    }

    /// Takes all pods from the store and makes a full list of each member's.
    fn reset(&mut self, store: &PodStore) -> Vec<Update> {
        self.clients.iter_mut().chain(&mut self.tables).for_each(EndpointTable::clear);
        for (namespace, endpoint) in store.iter() {
            for number in self.index.matching(namespace, &endpoint.labels) {
                if let Some(table) = self.tables.get_mut(number) {
                    table.insert(Arc::clone(endpoint));
                }
            }
            if let Some(clients) = &mut self.clients {
                clients.insert(Arc::new(client_pods::client(namespace, endpoint)));
            }
        }
        let mut updates = Vec::new();
        for table in self.clients.iter().chain(&self.tables) {
            table.reset(&mut updates);
        }
        updates
    }

    /// Applies changes of pods to the tables that they concern.
    fn apply(&mut self, changes: Vec<PodChange>) -> Vec<Update> {
        let mut by_table = BTreeMap::<usize, Vec<EndpointChange>>::new();
        let mut of_clients = Vec::new();
        for PodChange { namespace, old, new } in changes {
            let numbers = |pod: &Option<Arc<Endpoint>>| -> Vec<usize> {
                pod.iter().flat_map(|pod| self.index.matching(&namespace, &pod.labels)).collect()
            };
            let (before, now) = (numbers(&old), numbers(&new));
            let Some(id) = new.as_ref().or(old.as_ref()).map(|pod| Arc::clone(&pod.id)) else { continue };
            for number in before.iter().filter(|number| !now.contains(number)) {
                by_table.entry(*number).or_default().push((Arc::clone(&id), None));
            }
            if self.clients.is_some() {
                let client = new.as_ref().map(|pod| Arc::new(client_pods::client(&namespace, pod)));
                of_clients.push((client_pods::id(&namespace, &id).into(), client));
            }
            for number in now {
                by_table.entry(number).or_default().push((Arc::clone(&id), new.clone()));
            }
        }
        let mut updates = Vec::new();
        if let Some(clients) = &mut self.clients {
            clients.apply(of_clients, &mut updates);
        }
        for (number, changes) in by_table {
            if let Some(table) = self.tables.get_mut(number) {
                table.apply(changes, &mut updates);
            }
        }
        updates
    }
}

/// One pod before and after a change.
#[derive(Debug)]
struct PodChange {
    namespace: Arc<str>,
    old: Option<Arc<Endpoint>>,
    new: Option<Arc<Endpoint>>,
}

impl PodWatch {
    pub(super) fn new(
        informer: SharedInformer<Pod, PodStore>,
        scope: &Scope,
        tables: PodTables,
        nodes: NodeZones,
        patience: Duration,
        denial: Option<ScopeDenial>,
    ) -> Self {
        let namespace = scope.namespace().map(Into::into);
        Self { informer, namespace, tables, zones: nodes.subscribe(), nodes, patience, denial }
    }

    /// Reads changes until the first error.
    async fn follow(
        &mut self,
        informer: &mut Informer<Pod, PodStore>,
        out: &mut WatchOutbox,
    ) -> Result<Infallible, WatchError> {
        if informer.is_current() {
            self.reset(&mut informer.store, out).await?;
        }
        loop {
            // Not before the list: until then the store holds what an earlier connection reported.
            let is_current = informer.is_current();
            tokio::select! {
                change = informer.next() => self.apply(change?, &mut informer.store, out).await?,
                Ok(()) = self.zones.changed(), if is_current => {
                    let changes = self.update_zones(&mut informer.store)?;
                    out.send_all(self.tables.apply(changes)).await?;
                }
            }
        }
    }

    async fn apply(
        &mut self,
        change: ObjectChange<Pod>,
        store: &mut PodStore,
        out: &mut WatchOutbox,
    ) -> Result<(), WatchError> {
        let pod = match change {
            ObjectChange::Resumed => return self.reset(store, out).await,
            ObjectChange::All(pods) => {
                store.clear();
                for pod in pods {
                    self.put(pod, store)?;
                }
                return self.reset(store, out).await;
            }
            ObjectChange::Applied(pod) => pod,
            ObjectChange::Deleted(pod) => Pod { endpoint: None, ..pod },
        };
        let change = self.put(pod, store)?;
        out.send_all(self.tables.apply(vec![change])).await
    }

    /// Puts a pod into the store, or takes it out if it has no endpoint.
    fn put(&self, pod: Pod, store: &mut PodStore) -> Result<PodChange, WatchError> {
        let namespace = self.namespace.as_ref().or(pod.namespace.as_ref()).cloned().unwrap_or_default();
        let (new, old) = match pod.endpoint {
            None => (None, store.remove(&namespace, &pod.name)),
            Some(endpoint) => {
                let endpoint = in_zone(endpoint, &self.zones.borrow());
                let (new, old) = store.put(&namespace, endpoint)?;
                (Some(new), old)
            }
        };
        Ok(PodChange { namespace, old, new })
    }

    /// Sends every member a full list.
    async fn reset(&mut self, store: &mut PodStore, out: &mut WatchOutbox) -> Result<(), WatchError> {
        self.nodes.tried(self.patience).await;
        self.update_zones(store)?;
        out.send_all(self.tables.reset(store)).await
    }

    /// Updates the pods whose node's zone became known or changed.
    fn update_zones(&mut self, store: &mut PodStore) -> Result<Vec<PodChange>, WatchError> {
        let zones = self.zones.borrow_and_update();
        let has_moved = |pod: &Endpoint| zone_of(pod, &zones) != pod.zone.as_ref();
        let moved = store.iter().filter(|(_, pod)| has_moved(pod));
        let moved: Vec<_> = moved
            .map(|(namespace, pod)| (Arc::clone(namespace), in_zone(Endpoint::clone(pod), &zones)))
            .collect();
        let put = |(namespace, endpoint)| {
            let (new, old) = store.put(&namespace, endpoint)?;
            Ok(PodChange { namespace, old, new: Some(new) })
        };
        moved.into_iter().map(put).collect()
    }
}

impl Watch for PodWatch {
    async fn run(&mut self, out: &mut WatchOutbox) -> Result<Infallible, WatchError> {
        let informer = Arc::clone(&self.informer);
        let mut reader = InformerReader::lock(&informer).await;
        let ended = self.follow(reader.informer(), out).await;
        reader.informer().close();
        ScopeDenial::check(self.denial.as_ref(), ended).await
    }
}

/// The zone of the endpoint's node.
fn zone_of<'a>(endpoint: &Endpoint, zones: &'a ZoneByNode) -> Option<&'a Arc<str>> {
    zones.get(endpoint.node.as_deref()?)
}

/// The endpoint with the zone of its node.
fn in_zone(endpoint: Endpoint, zones: &ZoneByNode) -> Endpoint {
    let zone = zone_of(&endpoint, zones).cloned();
    Endpoint { zone, ..endpoint }
}
