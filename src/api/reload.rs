//! `POST /v1/reload`: reads the configuration again (docs/API.md).

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::sync::oneshot;

use super::{
    respond::{Json, accepts_json},
    state::ApiState,
};
use crate::model::ReloadResult;

/// A header that proves that no page of another site sent the request (CSRF). A browser lets such a
/// page send forms and plain text, but this header, or JSON as the media type, only after a
/// preflight request, which muster does not grant.
const OWN_HEADER: &str = "X-Muster";

/// Requests a reload and waits for it: 200, or 422 if the configuration is rejected.
pub(super) async fn reload(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    if !is_same_origin(&headers) {
        let text = "send the header \"X-Muster: reload\", which pages of other sites cannot send\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let (done, answer) = oneshot::channel();
    let reloaded = match state.reloads.send(done).await {
        Ok(()) => answer.await.ok(),
        Err(_) => None,
    };
    let Some(reloaded) = reloaded else {
        return (StatusCode::SERVICE_UNAVAILABLE, "muster is stopping\n").into_response();
    };
    let status = match reloaded.result {
        ReloadResult::Applied | ReloadResult::Unchanged => StatusCode::OK,
        ReloadResult::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
    };
    if accepts_json(&headers) {
        (status, Json(reloaded)).into_response()
    } else {
        (status, reloaded.text).into_response()
    }
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    headers.contains_key(OWN_HEADER) || media.eq_ignore_ascii_case("application/json")
}
