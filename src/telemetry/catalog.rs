//! Metrics of the catalog.

use prometheus::{Histogram, IntCounter, IntGauge, Registry, exponential_buckets};

use super::register::Register;
use crate::model::Health;

/// The metrics of the catalog.
#[derive(Debug)]
pub(super) struct CatalogMetrics {
    pub(super) updates: IntCounter,
    pub(super) services: IntGauge,
    /// In the order of [`Health::ALL`].
    pub(super) instances: [IntGauge; Health::ALL.len()],
    pub(super) compile_seconds: Histogram,
}

impl CatalogMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let register = Register(registry);
        let instances = register.gauges(
            "muster_catalog_instances",
            "Instances of all services now, after merging, by health.",
            &["health"],
        )?;
        Ok(Self {
            updates: register.counter(
                "muster_catalog_updates_total",
                "Updates that the catalog has applied, whether they changed anything or not.",
            )?,
            services: register.gauge("muster_catalog_services", "Services that have a name now.")?,
            instances: Health::ALL.map(|health| instances.with_label_values(&[health.as_str()])),
            compile_seconds: register.histogram(
                "muster_catalog_compile_seconds",
                "Time from applying updates to answering from them: merge, policy and publishing.",
                // From 10 µs, about the time for one service, to 2.6 s, too long for any namespace.
                exponential_buckets(1e-5, 4.0, 10)?,
            )?,
        })
    }
}
