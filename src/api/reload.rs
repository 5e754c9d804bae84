//! `POST /v1/reload`: the configuration is read again.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::sync::oneshot;

use super::{broken, state::ApiState, wants_json};
use crate::model::ReloadResult;

/// The header that says that no browser sends the request on behalf of another site's page: such a page can send a form or
/// plain text, but this header, or the media type of JSON, only after asking, which is never granted here.
const OWN_HEADER: &str = "X-Muster";

/// Reads the configuration again and says what came of it: 200, or 422 where it cannot be used.
pub(super) async fn reload(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    if !is_meant(&headers) {
        let text = "send the header \"X-Muster: reload\", which a page of another site cannot\n";
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
        ReloadResult::Refused => StatusCode::UNPROCESSABLE_ENTITY,
    };
    if !wants_json(&headers) {
        return (status, reloaded.text).into_response();
    }
    match serde_json::to_string(&reloaded) {
        Ok(json) => (status, [(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(failure) => broken("/v1/reload", &failure),
    }
}

fn is_meant(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    headers.contains_key(OWN_HEADER) || media.eq_ignore_ascii_case("application/json")
}
