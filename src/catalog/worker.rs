//! The worker: takes updates in batches, publishes what they change.

use std::{sync::Arc, time::Instant};

use tokio::sync::mpsc;

use super::Catalog;
use crate::{model::Update, telemetry::Metrics};

/// Most updates that are taken in before what they change is published: enough to gather the flood of a first sync.
const BATCH: usize = 1024;

/// Runs the catalog until every source's end of the channel is gone.
///
/// *Cost*: whatever is waiting is applied together, so that a service that many updates touch is compiled once; a single
/// update is published at once.
pub async fn run(mut catalog: Catalog, mut inbox: mpsc::Receiver<Update>, metrics: Arc<Metrics>) {
    let mut batch = Vec::with_capacity(BATCH);
    metrics.catalog_holds(catalog.service_count(), catalog.health_counts());
    while inbox.recv_many(&mut batch, BATCH).await > 0 {
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
}
