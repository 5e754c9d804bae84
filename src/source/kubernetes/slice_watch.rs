//! The watch of EndpointSlices: those of one Service, or of many.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::Arc,
};

use super::{
    collection::{Collection, ObjectChange},
    endpoint::{Endpoint, EndpointInterner},
    endpoint_table::EndpointTable,
    informer::{Informer, InformerReader, SharedInformer},
    scope::{MemberGroup, Scope},
    scope_denial::ScopeDenial,
    slice::Slice,
    slice_store::{ServiceChange, SliceStore},
};
use crate::{
    config::KubernetesObjects,
    model::WatchSubject,
    source::{Watch, WatchError, WatchOutbox},
};

/// The EndpointSlices in a scope.
pub(super) fn collection(scope: &Scope) -> Collection {
    Collection::within(scope, "/apis/discovery.k8s.io/v1", "endpointslices")
}

/// Follows the EndpointSlices of a scope.
#[derive(Debug)]
pub(super) struct SliceWatch {
    informer: SharedInformer<Slice, SliceStore>,
    /// The namespace of all slices, unless they are of several.
    namespace: Option<Arc<str>>,
    /// The Service of all slices, unless they are of several.
    service: Option<Arc<str>>,
    tables: ServiceTables,
    interner: EndpointInterner,
    denial: Option<ScopeDenial>,
}

/// The table of each followed Service, by namespace and Service.
type ServiceTables = HashMap<String, BTreeMap<String, EndpointTable>>;

impl SliceWatch {
    pub(super) fn new(
        informer: SharedInformer<Slice, SliceStore>,
        scope: &Scope,
        groups: Vec<MemberGroup>,
        denial: Option<ScopeDenial>,
    ) -> Self {
        let mut tables = ServiceTables::new();
        let mut only = None;
        for MemberGroup { namespace, objects, members } in groups {
            let KubernetesObjects::Service(service) = objects else { continue };
            only = Some(Arc::from(service.as_str()));
            tables.entry(namespace).or_default().insert(service, EndpointTable::new(members));
        }
        Self {
            informer,
            namespace: scope.namespace().map(Into::into),
            service: only.filter(|_| scope.is_selected()),
            tables,
            interner: EndpointInterner::default(),
            denial,
        }
    }

    /// Returns the members, as the subject of supervision.
    pub(super) fn subject(&self) -> WatchSubject {
        let tables = self.tables.values().flat_map(BTreeMap::values);
        WatchSubject::Members(tables.flat_map(EndpointTable::members).cloned().collect())
    }

    /// Reads changes until the first error.
    async fn follow(
        &mut self,
        informer: &mut Informer<Slice, SliceStore>,
        out: &mut WatchOutbox,
    ) -> Result<Infallible, WatchError> {
        if informer.is_current() {
            self.reset(&informer.store, out).await?;
        }
        loop {
            let change = informer.next().await?;
            self.apply(change, &mut informer.store, out).await?;
        }
    }

    async fn apply(
        &mut self,
        change: ObjectChange<Slice>,
        store: &mut SliceStore,
        out: &mut WatchOutbox,
    ) -> Result<(), WatchError> {
        match change {
            ObjectChange::Resumed => self.reset(store, out).await,
            ObjectChange::All(slices) => {
                store.clear();
                for slice in slices {
                    self.put(slice, store)?;
                }
                self.reset(store, out).await
            }
            ObjectChange::Applied(slice) => {
                let namespace = self.namespace_of(&slice);
                let changes = self.put(slice, store)?;
                self.send(&namespace, changes, store, out).await
            }
            ObjectChange::Deleted(slice) => {
                let namespace = self.namespace_of(&slice);
                let changes = store.remove(&namespace, &slice.name);
                self.send(&namespace, changes.into_iter().collect(), store, out).await
            }
        }
    }

    /// Puts one slice into the store. A slice of no Service is not kept.
    fn put(&self, slice: Slice, store: &mut SliceStore) -> Result<Vec<ServiceChange>, WatchError> {
        let namespace = self.namespace_of(&slice);
        match self.service.as_ref().or(slice.service.as_ref()).cloned() {
            Some(service) => store.put(&namespace, &service, slice),
            None => Ok(store.remove(&namespace, &slice.name).into_iter().collect()),
        }
    }

    /// Sends the changes of Services that are followed.
    async fn send(
        &mut self,
        namespace: &str,
        changes: Vec<ServiceChange>,
        store: &SliceStore,
        out: &mut WatchOutbox,
    ) -> Result<(), WatchError> {
        let Some(tables) = self.tables.get_mut(namespace) else { return Ok(()) };
        let mut updates = Vec::new();
        for ServiceChange { service, ids } in changes {
            let Some(table) = tables.get_mut(&*service) else { continue };
            let slices = store.service(namespace, &service);
            let endpoints = ids.into_iter().map(|id| {
                let endpoint = slices.and_then(|slices| slices.endpoint(&id));
                (id, endpoint.map(|endpoint| shared(endpoint, &mut self.interner)))
            });
            table.apply(endpoints.collect(), &mut updates);
        }
        out.send_all(updates).await
    }

    /// Sends every member a full list.
    async fn reset(&mut self, store: &SliceStore, out: &mut WatchOutbox) -> Result<(), WatchError> {
        let mut updates = Vec::new();
        for (namespace, tables) in &mut self.tables {
            for (service, table) in tables {
                table.clear();
                let endpoints = store.service(namespace, service).into_iter();
                for endpoint in endpoints.flat_map(|slices| slices.endpoints()) {
                    table.insert(shared(endpoint, &mut self.interner));
                }
                table.reset(&mut updates);
            }
        }
        out.send_all(updates).await
    }

    fn namespace_of(&self, slice: &Slice) -> Arc<str> {
        self.namespace.as_ref().or(slice.namespace.as_ref()).cloned().unwrap_or_default()
    }
}

impl Watch for SliceWatch {
    async fn run(&mut self, out: &mut WatchOutbox) -> Result<Infallible, WatchError> {
        let informer = Arc::clone(&self.informer);
        let mut reader = InformerReader::lock(&informer).await;
        let ended = self.follow(reader.informer(), out).await;
        reader.informer().close();
        ScopeDenial::check(self.denial.as_ref(), ended).await
    }
}

fn shared(mut endpoint: Endpoint, interner: &mut EndpointInterner) -> Arc<Endpoint> {
    interner.share(&mut endpoint);
    Arc::new(endpoint)
}
