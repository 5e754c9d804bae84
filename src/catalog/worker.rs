//! The worker: takes updates in batches, publishes what they change.

use std::{fmt, sync::Arc, time::Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::{reconfigure::Reconfiguration, snapshot::SnapshotCell, state::Catalog};
use crate::{
    model::{Retained, Update},
    telemetry::Metrics,
};

/// Most updates that are taken in before what they change is published: enough to gather the flood
/// of a first sync.
const BATCH: usize = 1024;

/// What else the catalog is asked to do.
#[derive(Debug)]
pub enum CatalogRequest {
    /// To go over to another configuration.
    Reconfigure {
        /// Which.
        change: Reconfiguration,
        /// Told when it is answered from, with what is known of the sources that start anew.
        done: oneshot::Sender<Retained>,
    },
    /// To be looked at, with all that was said before taken in and published.
    Query(CatalogQuery),
}

/// What looks at the catalog. Updates wait for it, answers do not: it has to be short.
pub struct CatalogQuery(Box<dyn FnOnce(&Catalog) + Send>);

impl CatalogQuery {
    /// Makes a reading, and who is told what `read` made of the catalog.
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

/// Runs the catalog until every source's end of the channel is gone.
///
/// *Cost*: whatever is waiting is applied together, so that a service that many updates touch is
/// compiled once; a single update is published at once.
pub async fn run(
    mut catalog: Catalog,
    mut inbox: mpsc::Receiver<Update>,
    mut requests: mpsc::Receiver<CatalogRequest>,
    cell: Arc<SnapshotCell>,
    metrics: Arc<Metrics>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    metrics.catalog_holds(catalog.service_count(), catalog.health_counts());
    loop {
        let due = catalog.due().map(tokio::time::Instant::from_std);
        let time_comes = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            taken = inbox.recv_many(&mut batch, BATCH) => {
                if taken == 0 {
                    return;
                }
                take_in(&mut catalog, &mut batch, &metrics);
            }
            Some(request) = requests.recv() => {
                // What was said before the request is about what members meant before it.
                let mut waiting = inbox.len();
                while waiting > 0 {
                    match inbox.recv_many(&mut batch, waiting.min(BATCH)).await {
                        0 => return,
                        taken => waiting -= taken,
                    }
                    take_in(&mut catalog, &mut batch, &metrics);
                }
                handle(&mut catalog, request, &cell, &metrics);
            }
            () = time_comes => take_in(&mut catalog, &mut batch, &metrics),
        }
    }
}

fn take_in(catalog: &mut Catalog, batch: &mut Vec<Update>, metrics: &Metrics) {
    let started = Instant::now();
    let updates = batch.len() as u64;
    // Not the standard library's clock, which a test cannot stop.
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
            let known = catalog.reconfigure(&change);
            cell.store(Arc::new(catalog.snapshot()));
            metrics.catalog_holds(catalog.service_count(), catalog.health_counts());
            debug!(services = catalog.service_count(), took = ?started.elapsed(), "reconfigured");
            let _ = done.send(known);
        }
        CatalogRequest::Query(CatalogQuery(read)) => {
            take_in(catalog, &mut Vec::new(), metrics); // a tier whose time has come
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
        model::{Instance, Member, Name},
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

    /// After the members have changed places, the second one's last word must not count as the
    /// first one's.
    #[tokio::test]
    async fn what_was_sent_before_a_request_is_about_what_members_meant_before_it() {
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
            let Lookup::Service(web, _) = view.lookup(name.as_wire()) else { panic!("no web") };
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
}
