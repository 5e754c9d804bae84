//! The admin port: HTTP for operators, for Prometheus and for an orchestrator's probes.
//!
//! ```text
//!  /metrics ─────────────▶ telemetry: counters, the status of sources
//!  /readyz, /v1/sources ─▶ telemetry: the status of sources
//!  /v1/services,         ─▶ catalog: its worker runs the query between two batches of updates
//!  /v1/instances,
//!  /v1/explain           ─▶ … and dns makes the answer, in the same moment
//!  POST /v1/reload       ─▶ app: the reloader
//! ```
//!
//! Every page is made on request, so it costs nothing in between. Imports [`crate::catalog`],
//! [`crate::dns`], [`crate::model`] and [`crate::telemetry`]; the reloader is a channel.
//!
//! Rejected: one port for this and DNS over HTTPS. A client that may resolve names must not see the
//! server's state.

mod catalog;
mod explain;
mod host;
mod listener;
mod lists;
mod parameters;
mod readiness;
mod reload;
mod respond;
mod state;

use std::future::Future;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::net::TcpListener;
use tracing::error;

use self::listener::BoundedListener;
pub use self::state::{ApiState, ReloadRequest};
use crate::telemetry::Metrics;

/// Serves the admin port until `shutdown` completes, then finishes the requests in progress.
///
/// The listener bounds the number of connections and how long they may be idle.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let listener = BoundedListener::new(listener);
    let served = axum::serve(listener, router(state)).with_graceful_shutdown(shutdown).await;
    if let Err(failure) = served {
        error!("the admin port failed: {failure}");
    }
}

fn router(state: ApiState) -> Router {
    let guarded = Router::new()
        .route("/v1/explain", get(explain::explain))
        .route("/v1/services", get(lists::services))
        .route("/v1/instances", get(lists::instances))
        .route("/v1/sources", get(lists::sources))
        .route("/v1/reload", post(reload::reload))
        .route_layer(middleware::from_fn_with_state(state.clone(), host::check));
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readiness::readyz))
        .route("/metrics", get(metrics))
        .merge(guarded)
        .fallback(not_found)
        .with_state(state)
}

async fn index() -> &'static str {
    "muster admin port\n\
     \n\
     /healthz   200 while the process runs\n\
     /readyz    200 once every source has answered or failed; with Accept: application/json as JSON\n\
     /metrics   metrics for Prometheus\n\
     \n\
     /v1/explain?name=web.shop&type=A&client=10.0.0.1   how a name is answered, and why, as JSON\n\
     /v1/services                                       the services, a page at a time\n\
     /v1/instances?service=web.shop                     a service's instances, and what each source reports\n\
     /v1/sources                                        the sources and their status\n\
     \n\
     POST /v1/reload   reloads the configuration, as `muster reload` does; requires the header X-Muster\n"
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn metrics(State(state): State<ApiState>) -> Response {
    match state.metrics.render(&state.board.reports()) {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response(),
        Err(failure) => respond::internal_error(&failure),
    }
}

async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "no such page; / lists all pages\n")
}

#[cfg(test)]
mod tests;
