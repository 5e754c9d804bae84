//! Metrics of the last known good state on disk.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntCounter, IntGauge, Registry};

use super::register::{Register, gauge_value};

/// The metrics of the last known good state.
#[derive(Debug)]
pub(super) struct StateMetrics {
    successes: IntCounter,
    failures: IntCounter,
    write_time: Gauge,
    restored: IntGauge,
}

impl StateMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let register = Register(registry);
        let writes = register.counters(
            "muster_state_writes_total",
            "Writes of the last known good state, by result.",
            &["result"],
        )?;
        Ok(Self {
            successes: writes.with_label_values(&["ok"]),
            failures: writes.with_label_values(&["failed"]),
            write_time: register.float_gauge(
                "muster_state_last_write_timestamp_seconds",
                "When the last known good state was last written, in seconds since 1970-01-01 00:00:00 UTC.",
            )?,
            restored: register.gauge(
                "muster_state_restored",
                "Members and imports that were restored when the server started.",
            )?,
        })
    }

    pub(super) fn written(&self, is_success: bool) {
        if !is_success {
            self.failures.inc();
            return;
        }
        self.successes.inc();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.write_time.set(now.as_secs_f64());
    }

    pub(super) fn restored(&self, count: usize) {
        self.restored.set(gauge_value(count));
    }
}
