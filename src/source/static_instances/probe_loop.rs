//! One instance's probes over time: when they start, and the updates that follow from their
//! results.

use std::sync::Arc;

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::rise_fall::RiseFall;
use crate::{
    config::HealthCheck,
    model::{Health, Instance, Member, Update},
    source::{
        Outbox,
        probe::{ProbeResult, Prober, UntriedEntry},
    },
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
    /// Whether the instance can be probed, for the source's status.
    pub(super) untried: UntriedEntry,
}

impl ProbeLoop {
    /// How far the time between two starts may be from `interval`, as a share of it.
    const JITTER: f64 = 0.05;

    /// Probes again and again; returns when the program is stopping.
    pub(super) async fn run(mut self, prober: Arc<Prober>) {
        sleep(prober.first_probe_delay(self.check.interval)).await;
        let earlier = if self.first_decides { Health::Unknown } else { self.instance.health };
        let mut health = RiseFall::new(self.check.rise, self.check.fall).starting_at(earlier);
        loop {
            let jitter = rand::random_range(1.0 - Self::JITTER..=1.0 + Self::JITTER);
            let next = Instant::now() + self.check.interval.mul_f64(jitter);
            let result = prober.probe(&self.instance, &self.check).await;
            let turned = match &result {
                ProbeResult::Passed(_) => health.record(true),
                ProbeResult::Failed(_) => health.record(false),
                ProbeResult::Untried(_) | ProbeResult::NoRoute(_) => None,
            };
            let is_news = self.untried.set(result.untried()) || turned.is_some();
            let now = turned.unwrap_or(self.instance.health);
            if is_news && !self.report(now, result).await {
                return;
            }
            sleep_until(next).await;
        }
    }

    /// Sends a change of health, or of whether the instance can be probed, to the catalog; returns
    /// false when the program is stopping.
    async fn report(&mut self, health: Health, result: ProbeResult) -> bool {
        let reason = match result {
            ProbeResult::Passed(reason) | ProbeResult::Failed(reason) => reason,
            ProbeResult::Untried(reason) | ProbeResult::NoRoute(reason) => {
                warn!(
                    service = %self.member.service, instance = %self.instance.id,
                    "cannot probe; health stays {health}: {reason}",
                );
                let before = self.instance.reason.as_deref().unwrap_or_default();
                format!("cannot be probed ({reason}); {health} before: {before}")
            }
        };
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
