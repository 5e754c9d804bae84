//! Responses: pages and refusals as JSON, and the choice between text and JSON.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tracing::error;

use crate::model::ApiError;

/// A page of the JSON API, or the reason why there is none.
pub(super) type Page<T> = Result<Json<T>, ErrorResponse>;

/// A JSON body that ends with a newline, for people who use `curl`.
///
/// Rejected: axum's `Json`, whose bodies end without one.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

/// An error response: a status, and what to do about it.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    status: StatusCode,
    body: ApiError,
}

impl ErrorResponse {
    /// A parameter is wrong; `usage` is a valid request.
    pub(super) fn bad_request(error: String, usage: &str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, body: ApiError { error, usage: Some(usage.to_owned()) } }
    }

    /// There is nothing of the requested name.
    pub(super) fn not_found(error: String) -> Self {
        Self { status: StatusCode::NOT_FOUND, body: ApiError { error, usage: None } }
    }

    /// The server is stopping, so a part of it no longer answers.
    pub(super) fn stopping() -> Self {
        let error = "muster is stopping".to_owned();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, body: ApiError { error, usage: None } }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_string(&self.0) {
            Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json + "\n").into_response(),
            Err(failure) => internal_error(&failure),
        }
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// Logs a failure to make a page; the client learns where to look.
pub(super) fn internal_error(failure: &dyn std::error::Error) -> Response {
    error!("cannot make a page of the admin port: {failure}");
    (StatusCode::INTERNAL_SERVER_ERROR, "cannot make this page; see the log\n").into_response()
}

/// Whether one of the accepted media types is JSON; a wildcard means text.
pub(super) fn accepts_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|media| media.trim().eq_ignore_ascii_case("application/json"))
}
