//! The admin port: HTTP for operators, Prometheus and probes of the orchestrator.
//!
//! It reads the status board and the metrics, asks the catalog's worker and the answer path for explanations, and asks for a
//! reload. What it serves is made when asked for, so it costs nothing in between. A port of its own was preferred to sharing
//! one with DNS over HTTPS: who may ask names need not see the state. Imports [`crate::model`], [`crate::telemetry`], [`crate::catalog`] and [`crate::dns`].

mod explain;
mod listener;
mod ready;
mod reload;
mod state;

use std::future::Future;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::net::TcpListener;
use tracing::error;

pub use self::state::{ApiState, ReloadRequest};
use self::{listener::Bounded, ready::Readiness};
use crate::telemetry::Metrics;

/// Serves the admin port until `shutdown` is done, then answers what was asked and ends.
///
/// So many connections at one time and no more, and none that stays silent: see `listener.rs`.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let served = axum::serve(Bounded::new(listener), router(state)).with_graceful_shutdown(shutdown).await;
    if let Err(failure) = served {
        error!("the admin port is gone: {failure}");
    }
}

fn router(state: ApiState) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/explain", get(explain::explain))
        .route("/v1/services", get(explain::services))
        .route("/v1/instances", get(explain::instances))
        .route("/v1/sources", get(explain::sources))
        .route("/v1/reload", post(reload::reload))
        .fallback(not_found)
        .with_state(state)
}

async fn index() -> &'static str {
    "muster admin\n\
     \n\
     /healthz   200 while the process runs\n\
     /readyz    200 when every source has data, else 503; with Accept: application/json as JSON\n\
     /metrics   metrics for Prometheus\n\
     \n\
     /v1/explain?name=web.shop&type=A&client=10.0.0.1   why a name is answered as it is, as JSON\n\
     /v1/services                                       the services, a page at a time\n\
     /v1/instances?service=web.shop                     the instances of one, and what the sources say\n\
     /v1/sources                                        how the sources are\n\
     \n\
     POST /v1/reload   reads the configuration again, as `muster reload` does; needs the header X-Muster\n"
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    let readiness = Readiness::of(&state.board.reports());
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if !wants_json(&headers) {
        return (status, readiness.to_string()).into_response();
    }
    match serde_json::to_string(&readiness) {
        Ok(json) => (status, [(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(failure) => broken("/readyz", &failure),
    }
}

async fn metrics(State(state): State<ApiState>) -> Response {
    match state.metrics.render(&state.board.reports()) {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response(),
        Err(failure) => broken("/metrics", &failure),
    }
}

async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "no such page; / lists what there is\n")
}

fn broken(page: &str, failure: &dyn std::error::Error) -> Response {
    error!(page, "cannot make the page: {failure}");
    (StatusCode::INTERNAL_SERVER_ERROR, "cannot make this page; the log says why\n").into_response()
}

/// Tells whether one of the media types asked for is JSON; wildcards mean text.
fn wants_json(headers: &HeaderMap) -> bool {
    let asked = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    asked
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests;
