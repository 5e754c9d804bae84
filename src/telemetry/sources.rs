//! Metrics of the sources, made from their status at each scrape.
//!
//! The status is the only place where sources count, so nothing must be kept in step, and a source
//! that a reload removes is gone from the next scrape.

use std::time::Instant;

use prometheus::{Registry, proto::MetricFamily};

use super::{
    SourceReport,
    register::{Register, gauge_value},
};

/// The metrics of these sources.
///
/// # Errors
/// When two metrics have one name, which is a bug.
pub(super) fn families(reports: &[SourceReport]) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let registry = Registry::new();
    let register = Register(&registry);
    let watches = register.gauges(
        "muster_source_watches",
        "Watches of a source now, by state.",
        &["source", "kind", "state"],
    )?;
    let ready = register.gauges(
        "muster_source_ready",
        "1 while every watch of the source has data, stale or not; otherwise 0.",
        &["source", "kind"],
    )?;
    let errors = register.counters(
        "muster_source_errors_total",
        "Failures of a source's watches, by kind of error.",
        &["source", "kind", "error"],
    )?;
    let updates = register.counters(
        "muster_source_updates_total",
        "Updates that a source has sent to the catalog.",
        &["source", "kind"],
    )?;
    let filtered = register.gauges(
        "muster_source_watches_filtered",
        "Watches whose last response lacked entries that the source's token may not read.",
        &["source", "kind"],
    )?;
    let held = register.gauges(
        "muster_source_instances_held",
        "Instances that are not answered as the source says, by reason.",
        &["source", "kind", "reason"],
    )?;
    let stale = register.gauges(
        "muster_source_stale_seconds",
        "For how long the oldest stale data of a source has been stale; 0 while all of it is current.",
        &["source", "kind"],
    )?;
    let expires = register.gauges(
        "muster_source_expires_in_seconds",
        "In how many seconds the oldest stale data of a source is no longer answered; absent while all of \
         it is current.",
        &["source", "kind"],
    )?;
    let now = Instant::now();
    for report in reports {
        let (source, kind) = (report.id.name.as_ref(), report.id.kind.as_str());
        let states =
            [("connecting", report.connecting), ("synced", report.synced), ("failing", report.failing)];
        for (state, count) in states {
            watches.with_label_values(&[source, kind, state]).set(gauge_value(count));
        }
        ready.with_label_values(&[source, kind]).set(i64::from(report.is_ready()));
        let age = report.stale.map_or(0, |stale| stale.seconds(now));
        stale.with_label_values(&[source, kind]).set(age.try_into().unwrap_or(i64::MAX));
        if let Some(left) = report.stale.and_then(|stale| stale.seconds_left(now)) {
            expires.with_label_values(&[source, kind]).set(left.try_into().unwrap_or(i64::MAX));
        }
        filtered.with_label_values(&[source, kind]).set(gauge_value(report.filtered));
        for (reason, count) in &report.held_instances {
            held.with_label_values(&[source, kind, reason]).set(gauge_value(*count));
        }
        for (error, count) in &report.errors {
            errors.with_label_values(&[source, kind, error]).inc_by(*count);
        }
        updates.with_label_values(&[source, kind]).inc_by(report.updates);
    }
    Ok(registry.gather())
}
