//! `GET /readyz`: whether this process is ready to answer, and the status of each source, as text or
//! JSON.

use std::{fmt, time::Instant};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    respond::{Json, accepts_json},
    state::ApiState,
};
use crate::{
    model::{ListedError, ListedSource, ListedWatches, one_line},
    telemetry::{Readiness, SourceReport},
};

/// The characters that are kept of a source's error.
const MAX_MESSAGE: usize = 500;

pub(super) async fn readyz(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    let readiness = state.board.readiness();
    let page = ReadinessPage::new(readiness, &state.board.reports());
    let status = if page.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if accepts_json(&headers) {
        (status, Json(page)).into_response()
    } else {
        (status, page.to_string()).into_response()
    }
}

/// Whether the server is ready, and the status of each source.
#[derive(Debug, Serialize)]
struct ReadinessPage {
    /// Whether the process is ready: once it is, it stays ready until it stops.
    ready: bool,
    /// The same in words, and why not.
    #[serde(skip)]
    words: &'static str,
    /// The status of the sources.
    sources: Vec<ListedSource>,
}

impl ReadinessPage {
    fn new(readiness: Readiness, reports: &[SourceReport]) -> Self {
        Self {
            ready: readiness == Readiness::Ready,
            words: match readiness {
                Readiness::Starting => "not ready: waiting for the first answer of a source",
                Readiness::Ready => "ready",
                Readiness::Stopping => "not ready: stopping",
            },
            sources: reports.iter().map(ListedSource::new).collect(),
        }
    }
}

impl ListedSource {
    /// Makes a list entry from a source's status.
    pub(super) fn new(report: &SourceReport) -> Self {
        let now = Instant::now();
        Self {
            source: report.id.to_string(),
            kind: report.id.kind.as_str().to_owned(),
            ready: report.is_ready(),
            watches: ListedWatches {
                connecting: report.connecting,
                synced: report.synced,
                failing: report.failing,
                with_data: report.with_data,
            },
            updates: report.updates,
            errors: report.errors.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            stale_seconds: report.stale.map(|stale| stale.seconds(now)),
            expires_in_seconds: report.stale.and_then(|stale| stale.seconds_left(now)),
            held: report.held_instances.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect(),
            notes: report.notes.iter().map(|note| one_line(note, MAX_MESSAGE)).collect(),
            last_error: report.last_error.as_ref().map(|failure| ListedError {
                watch: failure.watch.clone(),
                kind: failure.kind.to_owned(),
                message: one_line(&failure.message, MAX_MESSAGE),
                seconds_ago: failure.age().as_secs(),
            }),
        }
    }
}

impl fmt::Display for ReadinessPage {
    /// One line for the process, and one for each source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.words)?;
        self.sources.iter().try_for_each(|source| writeln!(f, "{source}"))
    }
}

impl fmt::Display for ListedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListedWatches { connecting, synced, failing, .. } = self.watches;
        let state = if self.ready { "has data" } else { "lacks data" };
        write!(
            f,
            "{}: {state}; watches: {synced} synced, {connecting} connecting, {failing} failing",
            self.source
        )?;
        if let Some(seconds) = self.stale_seconds {
            write!(f, "; stale for {seconds} s")?;
            if let Some(left) = self.expires_in_seconds {
                write!(f, ", answered for {left} s more")?;
            }
        }
        for (why, count) in &self.held {
            write!(f, "; {count} held ({why})")?;
        }
        for note in &self.notes {
            write!(f, "; {note}")?;
        }
        if let Some(ListedError { watch, kind, message, seconds_ago }) = &self.last_error {
            write!(f, "; last error {seconds_ago} s ago ({watch}, {kind}): {message}")?;
        }
        Ok(())
    }
}
