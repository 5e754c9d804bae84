//! What the pages are made from.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::{
    catalog::{self, SnapshotCell},
    dns::Responder,
    model::Reloaded,
    telemetry::{Metrics, StatusBoard},
};

/// Handles of the running server's parts, cloned for every request.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// The status of the sources.
    pub board: Arc<StatusBoard>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The catalog's worker, which reads its own state for us.
    pub catalog: mpsc::Sender<catalog::CatalogRequest>,
    /// The current snapshot.
    pub cell: Arc<SnapshotCell>,
    /// The answer path, which `explain` asks for a dry run.
    pub responder: Arc<Responder>,
    /// The reloader.
    pub reloads: mpsc::Sender<ReloadRequest>,
    /// Names of this server, which the Host header may have.
    pub hosts: Arc<[String]>,
}

/// A request to read the configuration again: the channel that takes the result.
pub type ReloadRequest = oneshot::Sender<Reloaded>;
