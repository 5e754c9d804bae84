//! The worker: applies updates in batches, and publishes the services that they change.

use std::{fmt, sync::Arc, time::Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::{reconfigure::Reconfiguration, snapshot::SnapshotCell, state::Catalog};
use crate::{
    config::Config,
    model::{Retained, StateChanges, Update},
    telemetry::Metrics,
};

/// Most updates that are applied before publishing: enough to gather the flood of a first sync.
const MAX_BATCH: usize = 1024;

/// A request to the catalog's worker.
#[derive(Debug)]
pub enum CatalogRequest {
    /// Move to another configuration.
    Reconfigure {
        /// The configurations before and after.
        change: Reconfiguration,
        /// Gets what is retained of restarted sources, once answers come from the new
        /// configuration.
        done: oneshot::Sender<Retained>,
    },
    /// Take the state that has changed since it was last taken.
    TakeChanges {
        /// Whether all state counts as changed.
        everything: bool,
        /// Gets the state, and the configuration if it has changed.
        done: oneshot::Sender<(StateChanges, Option<Arc<Config>>)>,
    },
    /// Read the catalog, after all earlier updates are published.
    Query(CatalogQuery),
}

/// A closure that reads the catalog. Updates wait for it, so it has to be short; answers do not.
pub struct CatalogQuery(Box<dyn FnOnce(&Catalog) + Send>);

impl CatalogQuery {
    /// Makes a query, and the receiver of what `read` returns.
    pub fn new<T: Send + 'static>(
        read: impl FnOnce(&Catalog) -> T + Send + 'static,
    ) -> (Self, oneshot::Receiver<T>) {
        let (done, answer) = oneshot::channel();
        let read = |catalog: &Catalog| {
            let _ = done.send(read(catalog));
        };
        (Self(Box::new(read)), answer)
    }
}

impl fmt::Debug for CatalogQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CatalogQuery")
    }
}

/// Runs the catalog until all senders of updates are dropped.
///
/// *Cost*: all updates that wait are applied together, so a service that many of them touch is
/// compiled once. A single update is published at once.
pub async fn run(
    mut catalog: Catalog,
    mut inbox: mpsc::Receiver<Update>,
    mut requests: mpsc::Receiver<CatalogRequest>,
    cell: Arc<SnapshotCell>,
    metrics: Arc<Metrics>,
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    metrics.catalog_holds(catalog.service_count(), catalog.health_counts());
    loop {
        let due = catalog.due().map(tokio::time::Instant::from_std);
        let is_due = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            taken = inbox.recv_many(&mut batch, MAX_BATCH) => {
                if taken == 0 {
                    return;
                }
                apply_batch(&mut catalog, &mut batch, &metrics);
            }
            Some(request) = requests.recv() => {
                // Updates sent before the request are for the members of the old configuration.
                let mut waiting = inbox.len();
                while waiting > 0 {
                    match inbox.recv_many(&mut batch, waiting.min(MAX_BATCH)).await {
                        0 => return,
                        taken => waiting -= taken,
                    }
                    apply_batch(&mut catalog, &mut batch, &metrics);
                }
                handle(&mut catalog, request, &cell, &metrics);
            }
            () = is_due => apply_batch(&mut catalog, &mut batch, &metrics),
        }
    }
}

fn apply_batch(catalog: &mut Catalog, batch: &mut Vec<Update>, metrics: &Metrics) {
    let started = Instant::now();
    let updates = batch.len() as u64;
    // tokio's clock, which tests can pause.
    let now = tokio::time::Instant::now().into_std();
    catalog.set_time(now);
    for update in batch.drain(..) {
        catalog.apply(update);
    }
    catalog.publish_at(now);
    metrics.catalog_compiled(started.elapsed());
    metrics.catalog_updates(updates);
    metrics.catalog_holds(catalog.service_count(), catalog.health_counts());
}

fn handle(catalog: &mut Catalog, request: CatalogRequest, cell: &SnapshotCell, metrics: &Metrics) {
    match request {
        CatalogRequest::Reconfigure { change, done } => {
            let started = Instant::now();
            catalog.set_time(tokio::time::Instant::now().into_std());
            let retained = catalog.reconfigure(&change);
            cell.store(Arc::new(catalog.snapshot()));
            metrics.catalog_holds(catalog.service_count(), catalog.health_counts());
            debug!(services = catalog.service_count(), took = ?started.elapsed(), "reconfigured");
            let _ = done.send(retained);
        }
        CatalogRequest::TakeChanges { everything, done } => {
            let _ = done.send(catalog.take_changes(everything));
        }
        CatalogRequest::Query(CatalogQuery(read)) => {
            apply_batch(catalog, &mut Vec::new(), metrics); // for a tier whose hold-down has ended
            read(catalog);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{
        catalog::{Answers, Lookup},
        config::{self, Config},
        model::{Health, Instance, Member, Name},
    };

    fn web(services: [&str; 2]) -> Arc<Config> {
        let [one, other] = services;
        let zone = format!(
            "namespace = \"shop\"\n[services.web]\nfrom = [{{ consul = \"vms\", service = \"{one}\" }}, \
             {{ consul = \"vms\", service = \"{other}\" }}]"
        );
        let files =
            [("muster.toml".into(), "[consul.vms]".to_owned()), (PathBuf::from("zones/shop.toml"), zone)];
        Arc::new(config::load_from(&files).unwrap().config)
    }

    fn members(config: &Config) -> Vec<Member> {
        config.namespaces[0].services[0].members().map(|(member, _)| member).collect()
    }

    /// The members change places, so the last update of one must not count for the other.
    #[tokio::test]
    async fn updates_sent_before_a_reload_are_for_the_old_members() {
        for _ in 0..20 {
            let (from, to) = (web(["a", "b"]), web(["b", "a"]));
            let [a, b] = [1, 2].map(|last| Instance::at("i", [10, 0, 0, last].into(), 80));
            let mut catalog = Catalog::new(&from, 1);
            for (member, instance) in members(&from).into_iter().zip([&a, &b]) {
                catalog.apply(Update::Reset { member, instances: vec![instance.clone()] });
            }
            let cell = Arc::new(SnapshotCell::from_pointee(catalog.snapshot()));
            let old = cell.load_full();
            let (updates, inbox) = mpsc::channel(8);
            let (requests, requested) = mpsc::channel(1);
            updates
                .send(Update::Reset { member: members(&from).remove(0), instances: Vec::new() })
                .await
                .unwrap();
            let change = Reconfiguration {
                from: Arc::clone(&from),
                to: Arc::clone(&to),
                serial: 2,
                restarted: Default::default(),
                probed: Default::default(),
                freshness: Vec::new(),
            };
            let (done, answer) = oneshot::channel();
            requests.send(CatalogRequest::Reconfigure { change, done }).await.unwrap();
            let metrics = Arc::new(Metrics::new().unwrap());
            let worker = tokio::spawn(run(catalog, inbox, requested, Arc::clone(&cell), metrics));
            answer.await.unwrap();
            let snapshot = cell.load_full();
            assert!(!Arc::ptr_eq(&old, &snapshot), "the cell is swapped when it is told");
            let view = snapshot.view();
            let name: Name = "web.shop".parse().unwrap();
            let Lookup::Service(web, _) = view.lookup(name.wire()) else { panic!("no web") };
            let Answers::Same(pool) = &web.answers else { panic!("{web:?}") };
            assert_eq!(
                *pool.v4.records,
                ["10.0.0.2".parse::<std::net::Ipv4Addr>().unwrap()],
                "b's, and nothing of a's"
            );
            drop(updates);
            worker.await.unwrap();
        }
    }

    /// The failed instance comes first, so half of the changes would empty the service.
    #[tokio::test]
    async fn the_changes_of_one_response_become_visible_together() {
        let config = web(["a", "b"]);
        let member = members(&config).remove(0);
        let [a, b] = [1, 2].map(|last| Instance {
            health: Health::Healthy,
            ..Instance::at(&format!("i{last}"), [10, 0, 0, last].into(), 80)
        });
        let mut catalog = Catalog::new(&config, 1);
        let snapshot = catalog.snapshot();
        let addresses = || {
            let view = snapshot.view();
            let name: Name = "web.shop".parse().unwrap();
            let Lookup::Service(web, _) = view.lookup(name.wire()) else { panic!("no web") };
            let Answers::Same(pool) = &web.answers else { panic!("{web:?}") };
            pool.v4.records.len()
        };
        catalog.apply(Update::Reset { member: member.clone(), instances: vec![a.clone()] });
        catalog.publish();
        let (updates, inbox) = mpsc::channel(1);
        let (_requests, requested) = mpsc::channel(1);
        let cell = Arc::new(SnapshotCell::from_pointee(catalog.snapshot()));
        let metrics = Arc::new(Metrics::new().unwrap());
        let worker = tokio::spawn(run(catalog, inbox, requested, cell, metrics));
        let changes = vec![
            Update::Remove { member: member.clone(), id: Arc::clone(&a.id) },
            Update::Upsert { member, instance: b },
        ];
        updates.send(Update::Changes(changes)).await.unwrap();
        drop(updates);
        while !worker.is_finished() {
            assert_eq!(addresses(), 1);
            tokio::task::yield_now().await;
        }
        assert_eq!(addresses(), 1);
    }
}
