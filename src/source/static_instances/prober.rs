//! The prober: probes single instances, a limited number of them concurrently.
//!
//! All addresses of an instance are probed at once, within one deadline.
//!
//! Rejected: one address after the other, since a first one that drops packets would leave no time
//! for the second.

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

/// Which of an instance's addresses must pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Required {
    /// All: clients are given each address of the instance.
    All,
    /// One: a client that is given a host name tries its addresses until one responds.
    Any,
}

/// Probes instances, a limited number of them concurrently.
#[derive(Debug)]
pub(super) struct Prober {
    http: Result<reqwest::Client, String>,
    permits: Semaphore,
    lookups: Arc<Semaphore>,
}

impl Prober {
    /// Concurrent probes. Further instances wait, first come, first served.
    const MAX_PROBES: usize = 256;
    /// Concurrent lookups of host names. Each holds a thread of the runtime until the system's
    /// resolver gives up, which may be long after the probe did.
    const MAX_LOOKUPS: usize = 32;
    /// Addresses of one host name that are probed.
    const MAX_ADDRESSES: usize = 8;

    /// Makes a prober with the default limits.
    pub(super) fn new() -> Self {
        Self::with_limit(Self::MAX_PROBES)
    }

    fn with_limit(max_probes: usize) -> Self {
        Self {
            http: http_probe::client().map_err(|error| format!("cannot set up HTTP: {error}")),
            permits: Semaphore::new(max_probes),
            lookups: Arc::new(Semaphore::new(Self::MAX_LOOKUPS)),
        }
    }

    /// Probes `instance` once. Takes at most `check.timeout`, counted from when the probe may
    /// start.
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
                self.probe_all(addresses, port, check, host, deadline, Required::All).await
            }
            Target::Host(name) => {
                let looked_up = timeout_at(deadline, self.look_up(name, port)).await;
                match looked_up.unwrap_or_else(|_| Err(timeout_reason(check))) {
                    Ok(addresses) => {
                        let host = check_host(check).unwrap_or_else(|| authority(name, port));
                        self.probe_all(&addresses, port, check, Some(host), deadline, Required::Any).await
                    }
                    Err(reason) => ProbeResult::Failed(format!("cannot resolve {name}: {reason}")),
                }
            }
        }
    }

    /// Probes all addresses at once, until the outcome is certain.
    async fn probe_all(
        &self,
        addresses: &[IpAddr],
        port: u16,
        check: &HealthCheck,
        host: Option<String>,
        deadline: Instant,
        required: Required,
    ) -> ProbeResult {
        let host = host.as_deref();
        let mut results: FuturesUnordered<_> = addresses
            .iter()
            .map(async |&address| {
                let probe = self.probe_one(SocketAddr::new(address, port), check, host);
                let result = timeout_at(deadline, probe).await;
                let result = result.unwrap_or_else(|_| ProbeResult::Failed(timeout_reason(check)));
                if addresses.len() > 1 { result.with_address(address) } else { result }
            })
            .collect();
        let mut undecided = None;
        while let Some(result) = results.next().await {
            match (&result, required) {
                (ProbeResult::Passed(_), Required::Any) | (ProbeResult::Failed(_), Required::All) => {
                    return result;
                }
                (ProbeResult::Untried(_), _) => undecided = Some(result),
                _ => undecided = undecided.or(Some(result)),
            }
        }
        undecided.unwrap_or_else(|| ProbeResult::Failed("no address to probe".into()))
    }

    async fn probe_one(&self, address: SocketAddr, check: &HealthCheck, host: Option<&str>) -> ProbeResult {
        match (&check.kind, &self.http) {
            (CheckKind::Tcp, _) => tcp_probe::probe(address).await,
            (CheckKind::Http(check), Ok(client)) => http_probe::probe(client, address, host, check).await,
            (CheckKind::Http(_), Err(reason)) => ProbeResult::Untried(reason.clone()),
        }
    }

    /// Resolves a host name with the system's resolver.
    async fn look_up(&self, name: &Name, port: u16) -> Result<Vec<IpAddr>, String> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(|error| error.to_string())?;
        let host = name.to_string();
        // A separate task holds the permit for as long as the resolver's thread runs: the thread
        // outlives a probe that has timed out.
        let lookup = tokio::spawn(async move {
            let _permit = permit;
            let addresses = tokio::net::lookup_host((host, port)).await?;
            Ok::<_, io::Error>(addresses.map(|address| address.ip()).take(Self::MAX_ADDRESSES).collect())
        });
        lookup.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

/// The `Host` header that the check sets.
fn check_host(check: &HealthCheck) -> Option<String> {
    match &check.kind {
        CheckKind::Http(http) => http.host.clone(),
        CheckKind::Tcp => None,
    }
}

/// The `Host` header for a name (RFC 9110 section 7.2): with the port unless it is the scheme's
/// default.
fn authority(name: &Name, port: u16) -> String {
    match port {
        80 => name.to_string(),
        _ => format!("{name}:{port}"),
    }
}

fn timeout_reason(check: &HealthCheck) -> String {
    format!("timeout after {:?}", check.timeout)
}

#[cfg(test)]
mod tests;
