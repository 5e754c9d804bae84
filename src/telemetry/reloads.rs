//! What is counted about reloads of the configuration.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::model::ReloadResult;

/// The metrics of reloads, named as Prometheus names its own.
#[derive(Debug)]
pub(super) struct ReloadMetrics {
    /// In the order of [`ReloadResult::ALL`].
    counts: [IntCounter; ReloadResult::ALL.len()],
    successful: IntGauge,
    success_time: Gauge,
}

impl ReloadMetrics {
    /// The configuration that the program starts with counts as the first success.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counts = IntCounterVec::new(
            Opts::new("muster_config_reloads_total", "Reloads of the configuration, by what came of them."),
            &["result"],
        )?;
        let successful = IntGauge::new(
            "muster_config_last_reload_successful",
            "1 if the files could be used when they were last read; 0 while an older configuration is in effect.",
        )?;
        let success_time = Gauge::new(
            "muster_config_last_reload_success_timestamp_seconds",
            "When files that could be used were last read, in seconds since 1970-01-01 00:00:00 UTC.",
        )?;
        registry.register(Box::new(counts.clone()))?;
        registry.register(Box::new(successful.clone()))?;
        registry.register(Box::new(success_time.clone()))?;
        let counts = ReloadResult::ALL.map(|result| counts.with_label_values(&[result.as_str()]));
        let metrics = Self { counts, successful, success_time };
        metrics.succeeded(true);
        Ok(metrics)
    }

    pub(super) fn count(&self, result: ReloadResult) {
        if let Some(count) = self.counts.get(result as usize) {
            count.inc();
        }
        self.succeeded(result != ReloadResult::Refused);
    }

    fn succeeded(&self, succeeded: bool) {
        self.successful.set(succeeded.into());
        if succeeded {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.success_time.set(now.as_secs_f64());
        }
    }
}
