//! Readiness: whether every source has something to answer from, as text and as JSON.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::model::SourceReport;

/// Whether the server is ready, and how each source is.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    /// Whether every source is.
    pub(super) ready: bool,
    sources: Vec<Source>,
}

#[derive(Debug, Serialize)]
struct Source {
    source: String,
    kind: &'static str,
    ready: bool,
    watches: Watches,
    updates: u64,
    errors: BTreeMap<&'static str, u64>,
    last_error: Option<LastError>,
}

#[derive(Debug, Serialize)]
struct Watches {
    connecting: usize,
    synced: usize,
    failing: usize,
    with_data: usize,
}

#[derive(Debug, Serialize)]
struct LastError {
    watch: String,
    kind: &'static str,
    message: String,
    seconds_ago: u64,
}

impl Readiness {
    /// Judges these sources; without any there is nothing to wait for.
    pub(super) fn of(reports: &[SourceReport]) -> Self {
        Self {
            ready: reports.iter().all(SourceReport::is_ready),
            sources: reports.iter().map(Source::of).collect(),
        }
    }
}

impl Source {
    fn of(report: &SourceReport) -> Self {
        Self {
            source: report.id.to_string(),
            kind: report.id.kind.as_str(),
            ready: report.is_ready(),
            watches: Watches {
                connecting: report.connecting,
                synced: report.synced,
                failing: report.failing,
                with_data: report.with_data,
            },
            updates: report.updates,
            errors: report.errors.clone(),
            last_error: report.last_error.as_ref().map(|failure| LastError {
                watch: failure.watch.clone(),
                kind: failure.kind,
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

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Watches { connecting, synced, failing, .. } = self.watches;
        let state = if self.ready { "ready" } else { "not ready" };
        write!(
            f,
            "{}: {state}; watches: {synced} synced, {connecting} connecting, {failing} failing",
            self.source
        )?;
        if let Some(LastError { watch, kind, message, seconds_ago }) = &self.last_error {
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
