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
    loop {
        let due = catalog.due().map(tokio::time::Instant::from_std);
        let wait = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = inbox.recv_many(&mut batch, BATCH) => if received == 0 { return },
            () = wait => {}
        }
        let started = Instant::now();
        let updates = batch.len() as u64;
        for update in batch.drain(..) {
            catalog.apply(update);
        }
        catalog.publish_at(tokio::time::Instant::now().into_std());
        metrics.catalog_compiled(started.elapsed());
        metrics.catalog_updates(updates);
        metrics.catalog_holds(catalog.service_count(), catalog.health_counts());
    }
}
