//! Readiness: whether every source has something to answer from, as text and as JSON.

use std::fmt;

use serde::Serialize;

use crate::model::{ListedError, ListedSource, ListedWatches};
use crate::telemetry::SourceReport;

/// Whether the server is ready, and how each source is.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    /// Whether every source is.
    pub(super) ready: bool,
    sources: Vec<ListedSource>,
}

impl Readiness {
    /// Judges these sources; without any there is nothing to wait for.
    pub(super) fn of(reports: &[SourceReport]) -> Self {
        Self {
            ready: reports.iter().all(SourceReport::is_ready),
            sources: reports.iter().map(ListedSource::of).collect(),
        }
    }
}

impl ListedSource {
    /// Lists a source as it is reported.
    pub(super) fn of(report: &SourceReport) -> Self {
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
            last_error: report.last_error.as_ref().map(|failure| ListedError {
                watch: failure.watch.clone(),
                kind: failure.kind.to_owned(),
                message: one_line(&failure.message),
                seconds_ago: failure.age().as_secs(),
            }),
        }
    }
}

impl fmt::Display for Readiness {
    /// One line a source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sources.is_empty() {
            writeln!(f, "ready: no sources")?;
        }
        self.sources.iter().try_for_each(|source| writeln!(f, "{source}"))
    }
}

impl fmt::Display for ListedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListedWatches { connecting, synced, failing, .. } = self.watches;
        let state = if self.ready { "ready" } else { "not ready" };
        write!(
            f,
            "{}: {state}; watches: {synced} synced, {connecting} connecting, {failing} failing",
            self.source
        )?;
        if let Some(ListedError { watch, kind, message, seconds_ago }) = &self.last_error {
            write!(f, "; last error {seconds_ago} s ago ({watch}, {kind}): {message}")?;
        }
        Ok(())
    }
}

/// A message from outside, without anything that could look like a second line, and not without end.
fn one_line(message: &str) -> String {
    const MOST: usize = 500;
    message.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
