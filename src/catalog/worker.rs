//! The worker: takes updates in batches, publishes what they change.

use std::{sync::Arc, time::Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::{Catalog, Cell, Change};
use crate::{
    model::{Known, Update},
    telemetry::Metrics,
};

/// Most updates that are taken in before what they change is published: enough to gather the flood of a first sync.
const BATCH: usize = 1024;

/// What else the catalog is asked to do.
#[derive(Debug)]
pub enum Request {
    /// To go over to another configuration.
    Reconfigure {
        /// Which.
        change: Change,
        /// Told when it is answered from, with what is known of the sources that start anew.
        done: oneshot::Sender<Known>,
    },
}

/// Runs the catalog until every source's end of the channel is gone.
///
/// *Cost*: whatever is waiting is applied together, so that a service that many updates touch is compiled once; a single
/// update is published at once.
pub async fn run(
    mut catalog: Catalog,
    mut inbox: mpsc::Receiver<Update>,
    mut requests: mpsc::Receiver<Request>,
    cell: Arc<Cell>,
    metrics: Arc<Metrics>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    metrics.catalog_holds(catalog.service_count(), catalog.health_counts());
    loop {
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
                    waiting -= inbox.recv_many(&mut batch, waiting.min(BATCH)).await;
                    take_in(&mut catalog, &mut batch, &metrics);
                }
                handle(&mut catalog, request, &cell, &metrics);
            }
        }
    }
}

fn take_in(catalog: &mut Catalog, batch: &mut Vec<Update>, metrics: &Metrics) {
    let started = Instant::now();
    let updates = batch.len() as u64;
    for update in batch.drain(..) {
        catalog.apply(update);
    }
    catalog.publish();
    metrics.catalog_compiled(started.elapsed());
    metrics.catalog_updates(updates);
    metrics.catalog_holds(catalog.service_count(), catalog.health_counts());
}

fn handle(catalog: &mut Catalog, request: Request, cell: &Cell, metrics: &Metrics) {
    match request {
        Request::Reconfigure { change, done } => {
            let started = Instant::now();
            let known = catalog.reconfigure(&change);
            cell.store(Arc::new(catalog.snapshot()));
            metrics.catalog_holds(catalog.service_count(), catalog.health_counts());
            debug!(services = catalog.service_count(), took = ?started.elapsed(), "reconfigured");
            let _ = done.send(known);
        }
    }
}
