//! Metrics of reloads of the configuration.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntCounter, IntGauge, Registry};

use super::register::Register;
use crate::model::ReloadResult;

/// The metrics of reloads, named after Prometheus' own.
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
        let register = Register(registry);
        let counts = register.counters("muster_config_reloads_total", "Reloads, by result.", &["result"])?;
        let metrics = Self {
            counts: ReloadResult::ALL.map(|result| counts.with_label_values(&[result.as_str()])),
            successful: register.gauge(
                "muster_config_last_reload_successful",
                "1 if the files were valid when last read; 0 while an older configuration is running.",
            )?,
            success_time: register.float_gauge(
                "muster_config_last_reload_success_timestamp_seconds",
                "When valid files were last read, in seconds since 1970-01-01 00:00:00 UTC.",
            )?,
        };
        metrics.set_successful(true);
        Ok(metrics)
    }

    pub(super) fn count(&self, result: ReloadResult) {
        self.counts[result as usize].inc();
        self.set_successful(result != ReloadResult::Rejected);
    }

    fn set_successful(&self, is_successful: bool) {
        self.successful.set(is_successful.into());
        if is_successful {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.success_time.set(now.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_reload_keeps_the_time_of_the_last_success() {
        let metrics = ReloadMetrics::register(&Registry::new()).unwrap();
        let started = metrics.success_time.get();
        metrics.count(ReloadResult::Rejected);
        assert_eq!((metrics.successful.get(), metrics.success_time.get()), (0, started));
        metrics.count(ReloadResult::Unchanged);
        assert_eq!(metrics.successful.get(), 1);
        assert!(metrics.success_time.get() >= started);
    }

    #[test]
    fn the_list_of_results_is_in_the_order_of_the_variants() {
        assert!(ReloadResult::ALL.iter().enumerate().all(|(index, result)| *result as usize == index));
    }
}
