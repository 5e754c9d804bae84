//! Metrics of the sources, made from their status at each scrape.
//!
//! The status is the one place where sources count, so nothing has to be kept in step, and a source that a reload has
//! taken away is gone from the next scrape.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, proto::MetricFamily};

use super::SourceReport;

/// Returns the metrics of these sources.
pub(super) fn families(reports: &[SourceReport]) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let watches = IntGaugeVec::new(
        Opts::new("muster_source_watches", "Watches of a source now, by state."),
        &["source", "kind", "state"],
    )?;
    let ready = IntGaugeVec::new(
        Opts::new("muster_source_ready", "1 while every watch of the source has data, stale or not; else 0."),
        &["source", "kind"],
    )?;
    let errors = IntCounterVec::new(
        Opts::new("muster_source_errors_total", "Failures of a source's watches, by the kind of error."),
        &["source", "kind", "error"],
    )?;
    let updates = IntCounterVec::new(
        Opts::new("muster_source_updates_total", "Updates that a source has sent to the catalog."),
        &["source", "kind"],
    )?;
    for report in reports {
        let (source, kind) = (report.id.name.as_ref(), report.id.kind.as_str());
        let states =
            [("connecting", report.connecting), ("synced", report.synced), ("failing", report.failing)];
        for (state, count) in states {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            watches.with_label_values(&[source, kind, state]).set(count);
        }
        ready.with_label_values(&[source, kind]).set(i64::from(report.is_ready()));
        for (error, count) in &report.errors {
            errors.with_label_values(&[source, kind, error]).inc_by(*count);
        }
        updates.with_label_values(&[source, kind]).inc_by(report.updates);
    }
    let registry = Registry::new();
    registry.register(Box::new(watches))?;
    registry.register(Box::new(ready))?;
    registry.register(Box::new(errors))?;
    registry.register(Box::new(updates))?;
    Ok(registry.gather())
}
