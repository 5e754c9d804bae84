//! The prober: probes single instances, a limited number of them concurrently. All static members
//! share one.
//!
//! All addresses of an instance are probed at once, within one deadline. Waiting for a turn counts
//! for no deadline: it says nothing about the instance.
//!
//! Rejected: one address after the other, since a first one that drops packets would leave no time
//! for the second. Rejected: a limit for each member, since thousands of members would have none
//! together.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use nix::sys::resource::{Resource, getrlimit};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use super::{http_probe, probe_result::ProbeResult, tcp_probe, untried::Untried};
use crate::{
    config::{CheckKind, HealthCheck, HttpCheck},
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
pub struct Prober {
    sockets: Semaphore,
    max_sockets: usize,
    lookups: Arc<Semaphore>,
    /// When the next first probe may start.
    next_first: Mutex<Instant>,
    /// The instances that cannot be probed now.
    pub(in crate::source) untried: Arc<Untried>,
}

impl Default for Prober {
    fn default() -> Self {
        Self::new()
    }
}

impl Prober {
    /// Most sockets of all probes together.
    const MAX_SOCKETS: usize = 1024;
    /// Fewest, however few files the process may open.
    const MIN_SOCKETS: usize = 16;
    /// The share of the files that the process may open: clients, upstreams and sources need the
    /// rest.
    const SHARE: usize = 8;
    /// Concurrent lookups of host names. Each holds a thread of the runtime until the system's
    /// resolver gives up, which may be long after the probe did. Reloads need such threads too, and
    /// tokio has 512.
    const MAX_LOOKUPS: usize = 64;
    /// Addresses of one host name that are probed.
    const MAX_ADDRESSES: usize = 8;
    /// Time between two first probes: thousands of new instances are no burst.
    const FIRST_PROBE_PACE: Duration = Duration::from_millis(1);

    /// Makes a prober with the limits that suit the process. Raise the limit of open files before.
    #[must_use]
    pub fn new() -> Self {
        let files = getrlimit(Resource::RLIMIT_NOFILE)
            .map_or(usize::MAX, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX));
        Self::with_limits(Self::socket_limit(files), Self::MAX_LOOKUPS)
    }

    /// How many sockets probes may have if the process may open `files`.
    fn socket_limit(files: usize) -> usize {
        (files / Self::SHARE).clamp(Self::MIN_SOCKETS, Self::MAX_SOCKETS)
    }

    fn with_limits(max_sockets: usize, max_lookups: usize) -> Self {
        Self {
            sockets: Semaphore::new(max_sockets),
            max_sockets,
            lookups: Arc::new(Semaphore::new(max_lookups)),
            next_first: Mutex::new(Instant::now()),
            untried: Arc::default(),
        }
    }

    /// How long an instance's first probe waits so that many new instances are not probed all at
    /// once; at most half of its interval.
    pub(in crate::source) fn first_probe_delay(&self, interval: Duration) -> Duration {
        let now = Instant::now();
        let mut next = self.next_first.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now.max(*next);
        *next = start + Self::FIRST_PROBE_PACE;
        let delay = start - now;
        // More than fit into half an interval share its slots.
        let within = (interval / 2).max(Self::FIRST_PROBE_PACE);
        let remainder = delay.as_nanos().checked_rem(within.as_nanos()).unwrap_or_default();
        u64::try_from(remainder).map_or(within, Duration::from_nanos)
    }

    /// Probes `instance` once. Takes at most `check.timeout`, counted from when the probe may
    /// start.
    pub(in crate::source) async fn probe(&self, instance: &Instance, check: &HealthCheck) -> ProbeResult {
        let port = check.port.unwrap_or(instance.port);
        if port == 0 {
            return ProbeResult::Failed("no port to probe; give the instance or its check a port".into());
        }
        match &instance.target {
            Target::Addresses(addresses) => {
                let host = check_host(check);
                self.probe_all(addresses, port, check, host, check.timeout, Required::All).await
            }
            Target::Host(name) => {
                let (looked_up, took) = self.look_up(name, port, check.timeout).await;
                match looked_up {
                    Ok(addresses) => {
                        let host = check_host(check).unwrap_or_else(|| authority(name, port, check));
                        let left = check.timeout.saturating_sub(took);
                        self.probe_all(&addresses, port, check, Some(host), left, Required::Any).await
                    }
                    Err(reason) => ProbeResult::Failed(format!("cannot resolve {name}: {reason}")),
                }
            }
        }
    }

    /// Waits until that many sockets may be opened, or all, if there are fewer.
    async fn reserve(&self, sockets: usize) -> Option<SemaphorePermit<'_>> {
        let sockets = sockets.clamp(1, self.max_sockets);
        self.sockets.acquire_many(u32::try_from(sockets).ok()?).await.ok()
    }

    /// Probes all addresses at once, until the outcome is certain or the time is over.
    ///
    /// An address that this machine has no route to does not count if another one could be probed.
    async fn probe_all(
        &self,
        addresses: &[IpAddr],
        port: u16,
        check: &HealthCheck,
        host: Option<String>,
        timeout: Duration,
        required: Required,
    ) -> ProbeResult {
        let Some(_permit) = self.reserve(addresses.len()).await else {
            return ProbeResult::Untried("stopping".into());
        };
        let deadline = Instant::now() + timeout;
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
        let mut no_route: Option<String> = None;
        while let Some(result) = results.next().await {
            match (&result, required) {
                (ProbeResult::Passed(_), Required::Any) | (ProbeResult::Failed(_), Required::All) => {
                    return result;
                }
                (ProbeResult::NoRoute(reason), _) => no_route = Some(reason.clone()),
                (ProbeResult::Untried(_), _) => undecided = Some(result),
                _ => undecided = undecided.or(Some(result)),
            }
        }
        match (undecided, no_route) {
            (Some(ProbeResult::Passed(reason)), Some(other)) => {
                ProbeResult::Passed(format!("{reason}; not probed: {other}"))
            }
            (Some(result), _) => result,
            (None, Some(reason)) => ProbeResult::NoRoute(reason),
            (None, None) => ProbeResult::Failed("no address to probe".into()),
        }
    }

    async fn probe_one(&self, address: SocketAddr, check: &HealthCheck, host: Option<&str>) -> ProbeResult {
        match &check.kind {
            CheckKind::Tcp => tcp_probe::probe(address).await,
            CheckKind::Http(check) => http_probe::probe(address, host, check).await,
        }
    }

    /// Resolves a host name with the system's resolver, within `limit` from when the lookup may
    /// start; also returns how long it took.
    async fn look_up(
        &self,
        name: &Name,
        port: u16,
        limit: Duration,
    ) -> (Result<Vec<IpAddr>, String>, Duration) {
        let permit = match Arc::clone(&self.lookups).acquire_owned().await {
            Ok(permit) => permit,
            Err(error) => return (Err(error.to_string()), Duration::ZERO),
        };
        let began_at = Instant::now();
        let host = name.to_string();
        // A separate task holds the permit for as long as the resolver's thread runs: the thread
        // outlives a probe that has timed out.
        let lookup = tokio::spawn(async move {
            let _permit = permit;
            let addresses = tokio::net::lookup_host((host, port)).await?;
            Ok::<_, io::Error>(addresses.map(|address| address.ip()).take(Self::MAX_ADDRESSES).collect())
        });
        let addresses = match timeout_at(began_at + limit, lookup).await {
            Err(_) => Err(format!("timeout after {limit:?}")),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(looked_up)) => looked_up.map_err(|error| error.to_string()),
        };
        (addresses, began_at.elapsed())
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
fn authority(name: &Name, port: u16, check: &HealthCheck) -> String {
    let default = match &check.kind {
        CheckKind::Http(HttpCheck { tls: Some(_), .. }) => 443,
        _ => 80,
    };
    if port == default { name.to_string() } else { format!("{name}:{port}") }
}

fn timeout_reason(check: &HealthCheck) -> String {
    format!("timeout after {:?}", check.timeout)
}

#[cfg(test)]
mod tests;
