//! One instance's probes over time: when they start, and the updates that follow from their
//! results.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::{probe_result::ProbeResult, prober::Prober, rise_fall::RiseFall};
use crate::{
    config::HealthCheck,
    model::{Health, Instance, Member, Update},
    source::Outbox,
    telemetry::WatchHandle,
};

/// One probed instance, and the way of its updates.
#[derive(Debug)]
pub(super) struct ProbeLoop {
    /// The member that the instance belongs to.
    pub(super) member: Member,
    /// The instance as last reported.
    pub(super) instance: Instance,
    /// The health check.
    pub(super) check: HealthCheck,
    /// The source's way to the catalog.
    pub(super) outbox: Outbox,
    /// Counts the updates.
    pub(super) handle: Arc<WatchHandle>,
    /// Whether the first probe decides alone, although the instance has a health already.
    pub(super) first_decides: bool,
}

impl ProbeLoop {
    /// Latest start of the first probe: soon, but many new instances are not probed all at once.
    const SPREAD: Duration = Duration::from_millis(200);
    /// How far the time between two starts may be from `interval`, as a share of it.
    const JITTER: f64 = 0.05;

    /// Probes again and again; returns when the program is stopping.
    pub(super) async fn run(mut self, prober: Arc<Prober>) {
        let spread = Self::SPREAD.min(self.check.interval / 10);
        sleep(spread.mul_f64(rand::random_range(0.0..=1.0))).await;
        let earlier = if self.first_decides { Health::Unknown } else { self.instance.health };
        let mut health = RiseFall::new(self.check.rise, self.check.fall).starting_at(earlier);
        let mut could_try = true;
        loop {
            let jitter = rand::random_range(1.0 - Self::JITTER..=1.0 + Self::JITTER);
            let next = Instant::now() + self.check.interval.mul_f64(jitter);
            let result = prober.probe(&self.instance, &self.check).await;
            if let ProbeResult::Untried(reason) = &result
                && could_try
            {
                warn!(
                    service = %self.member.service, instance = %self.instance.id,
                    "cannot probe; health stays {}: {reason}", self.instance.health,
                );
            }
            could_try = !matches!(result, ProbeResult::Untried(_));
            let change = match result {
                ProbeResult::Passed(reason) => health.record(true).map(|health| (health, reason)),
                ProbeResult::Failed(reason) => health.record(false).map(|health| (health, reason)),
                ProbeResult::Untried(_) => None,
            };
            if let Some((health, reason)) = change
                && !self.report(health, reason).await
            {
                return;
            }
            sleep_until(next).await;
        }
    }

    /// Sends a change of health to the catalog; returns false when the program is stopping.
    async fn report(&mut self, health: Health, reason: String) -> bool {
        if health != self.instance.health {
            info!(
                service = %self.member.service, instance = %self.instance.id,
                "{} -> {health}: {reason}", self.instance.health,
            );
        }
        self.instance.health = health;
        self.instance.reason = Some(reason.into());
        let update = Update::Upsert { member: self.member.clone(), instance: self.instance.clone() };
        if self.outbox.send(update).await.is_err() {
            return false;
        }
        self.handle.sent(1);
        true
    }
}
