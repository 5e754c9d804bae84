//! The prober: probes instances, of all of them only so many at one time.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{http_probe, probe_result::ProbeResult, tcp_probe};
use crate::{
    config::{CheckKind, HealthCheck},
    model::{Instance, Name, Target},
};

/// How the findings of several addresses become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// All must pass: clients are given each of an instance's own addresses.
    Worst,
    /// One is enough: who is given a host name tries its addresses until one answers.
    Best,
}

/// Probes instances, of all of them only so many at one time.
#[derive(Debug)]
pub(super) struct Prober {
    http: Result<reqwest::Client, String>,
    permits: Semaphore,
    lookups: Arc<Semaphore>,
}

impl Prober {
    /// Instances that are probed at one time; the others wait for their turn, in order.
    const AT_ONCE: usize = 256;
    /// Host names that are looked up at one time. Each takes a thread of the runtime until the system's resolver gives
    /// up, which may be long after the probe did.
    const LOOKUPS_AT_ONCE: usize = 32;
    /// Addresses of one host name that are tried.
    const ADDRESSES: usize = 8;

    /// Makes a prober.
    pub(super) fn new() -> Self {
        Self::with_limit(Self::AT_ONCE)
    }

    fn with_limit(at_once: usize) -> Self {
        Self {
            http: http_probe::client().map_err(|error| format!("cannot set up HTTP: {error}")),
            permits: Semaphore::new(at_once),
            lookups: Arc::new(Semaphore::new(Self::LOOKUPS_AT_ONCE)),
        }
    }

    /// Probes `instance` once. Takes up to `check.timeout` from when it is its turn.
    pub(super) async fn probe(&self, instance: &Instance, check: &HealthCheck) -> ProbeResult {
        let port = check.port.unwrap_or(instance.port);
        if port == 0 {
            return ProbeResult::Failed("no port to probe; give the instance or its check a port".into());
        }
        let Ok(_permit) = self.permits.acquire().await else {
            return ProbeResult::Untried("stopping".into());
        };
        let deadline = Instant::now() + check.timeout;
        match &instance.target {
            Target::Addresses(addresses) => {
                let host = check_host(check);
                self.probe_all(addresses, port, check, host, deadline, Judgement::Worst).await
            }
            Target::Host(name) => {
                let looked_up = timeout_at(deadline, self.look_up(name, port)).await;
                match looked_up.unwrap_or_else(|_| Err(late(check))) {
                    Ok(addresses) => {
                        let host = check_host(check).unwrap_or_else(|| authority(name, port));
                        self.probe_all(&addresses, port, check, Some(host), deadline, Judgement::Best).await
                    }
                    Err(why) => ProbeResult::Failed(format!("cannot resolve {name}: {why}")),
                }
            }
        }
    }

    /// Probes every address at the same time, until the judgement is clear.
    async fn probe_all(
        &self,
        addresses: &[IpAddr],
        port: u16,
        check: &HealthCheck,
        host: Option<String>,
        deadline: Instant,
        judgement: Judgement,
    ) -> ProbeResult {
        let host = host.as_deref();
        let mut findings: FuturesUnordered<_> = addresses
            .iter()
            .map(async |&address| {
                let attempt = self.attempt(SocketAddr::new(address, port), check, host);
                let finding = timeout_at(deadline, attempt).await;
                let finding = finding.unwrap_or_else(|_| ProbeResult::Failed(late(check)));
                if addresses.len() > 1 { finding.at(address) } else { finding }
            })
            .collect();
        let mut open = None;
        while let Some(finding) = findings.next().await {
            match (&finding, judgement) {
                (ProbeResult::Passed(_), Judgement::Best) | (ProbeResult::Failed(_), Judgement::Worst) => {
                    return finding;
                }
                (ProbeResult::Untried(_), _) => open = Some(finding),
                _ => open = open.or(Some(finding)),
            }
        }
        open.unwrap_or_else(|| ProbeResult::Failed("it has no address".into()))
    }

    async fn attempt(&self, address: SocketAddr, check: &HealthCheck, host: Option<&str>) -> ProbeResult {
        match (&check.kind, &self.http) {
            (CheckKind::Tcp, _) => tcp_probe::probe(address).await,
            (CheckKind::Http(check), Ok(client)) => http_probe::probe(client, address, host, check).await,
            (CheckKind::Http(_), Err(why)) => ProbeResult::Untried(why.clone()),
        }
    }

    /// Asks the system's resolver for a host's addresses.
    async fn look_up(&self, name: &Name, port: u16) -> Result<Vec<IpAddr>, String> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(|error| error.to_string())?;
        let host = name.to_string();
        // In a task of its own, so that the permit is held for as long as the resolver's thread is, which a probe that
        // has run out of time does not end.
        let lookup = tokio::spawn(async move {
            let _permit = permit;
            let found = tokio::net::lookup_host((host, port)).await?;
            Ok::<_, io::Error>(found.map(|address| address.ip()).take(Self::ADDRESSES).collect())
        });
        lookup.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

/// The `Host` header that the check asks for.
fn check_host(check: &HealthCheck) -> Option<String> {
    match &check.kind {
        CheckKind::Http(http) => http.host.clone(),
        CheckKind::Tcp => None,
    }
}

/// What a browser would put into `Host` (RFC 9110 section 7.2): the port only where it is not the scheme's own.
fn authority(name: &Name, port: u16) -> String {
    match port {
        80 => name.to_string(),
        _ => format!("{name}:{port}"),
    }
}

fn late(check: &HealthCheck) -> String {
    format!("timeout after {:?}", check.timeout)
}

#[cfg(test)]
mod tests;
