//! What is counted about the catalog.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntGauge, IntGaugeVec, Opts, Registry, exponential_buckets,
};

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
        let updates = IntCounter::new(
            "muster_catalog_updates_total",
            "Updates from sources that the catalog has taken in, whether they changed anything or not.",
        )?;
        let services =
            IntGauge::new("muster_catalog_services", "Services that have a name now, over all namespaces.")?;
        let instances = IntGaugeVec::new(
            Opts::new("muster_catalog_instances", "Merged instances of all services now, by health."),
            &["health"],
        )?;
        // From 10 µs, about what one service takes, to 2.6 s, which no namespace should.
        let buckets = exponential_buckets(1e-5, 4.0, 10)?;
        let compile_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "muster_catalog_compile_seconds",
                "Time from taking updates in to answering from them: merge, policy and publishing.",
            )
            .buckets(buckets),
        )?;
        registry.register(Box::new(updates.clone()))?;
        registry.register(Box::new(services.clone()))?;
        registry.register(Box::new(instances.clone()))?;
        registry.register(Box::new(compile_seconds.clone()))?;
        let instances = Health::ALL.map(|health| instances.with_label_values(&[health.as_str()]));
        Ok(Self { updates, services, instances, compile_seconds })
    }
}
