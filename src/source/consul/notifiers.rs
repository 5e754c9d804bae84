//! Notifiers: queries that say which services to query when there are more watches than connections.
//!
//! - `/v1/health/state/critical` and `/warning` list the checks in that state. A check that is new in
//!   a list or has left it has changed, and so has its service; a node's own check concerns all
//!   services of the node. Their watches query at once.
//! - `/v1/catalog/services` returns after each registration and deregistration, but does not say of
//!   which service. `/v1/health/state/any`, read once, has the checks that came or went with it. For
//!   what changes no check, all watches query, a few of them concurrently. A pause that depends on the
//!   duration follows.
//!
//! A watch that has a notice queries the leader, without waiting. Such a query is never older than
//! the notice, whereas an agent answers blocking queries from its memory, which may be behind.
//!
//! Without these endpoints the watches take turns, and the source's status says why.
//!
//! Rejected: a blocking query on `/v1/health/state/any`, which returns every check of the datacenter
//! for every flip.
//! Rejected: `/v1/internal/ui/services`, which is not a stable API.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Url;
use tokio::sync::{Notify, Semaphore};
use tracing::debug;

use super::{
    agent::{Agent, AgentClient, ConsulResponse},
    decode::{self, ListedCheck},
    notices::{Changed, Notices, node_key},
    rate_limit::RateLimit,
    timing::ConsulTiming,
};
use crate::{
    source::{WatchError, backoff::Backoff},
    telemetry::SourceStatus,
};

/// How many connections the notifiers take: one for each blocking query, and one for the list of all
/// checks.
const CONNECTIONS: u32 = 4;
/// The fewest connections of a source with notifiers.
const MIN_CONNECTIONS: usize = 8;
/// How many watches query concurrently in a sweep.
const SWEEPERS: u32 = 16;
/// A sweep's pause, as a multiple of its duration: sweeps take at most a third of the time.
const PAUSE_PER_SWEEP: u32 = 2;
/// The longest pause: a slow agent must not make registrations late.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The topic of the note in the source's status.
const TOPIC: &str = "notifiers";

/// Runs the notifiers as soon as there are more watches than connections; never returns.
pub(super) async fn run(agent: &Agent, status: &SourceStatus) -> Infallible {
    agent.connections.crowded().await;
    let mut backoff = Backoff::default();
    loop {
        let began_at = Instant::now();
        let Err(error) = follow(agent, status).await;
        agent.notices.set_active(false);
        let note = note(agent, &error);
        debug!(source = %agent.settings.id, "{note}");
        status.note(TOPIC, Some(note));
        backoff.lost_after(began_at.elapsed());
        tokio::time::sleep(backoff.wait()).await;
    }
}

/// What the status says while the watches take turns.
fn note(agent: &Agent, error: &WatchError) -> String {
    format!(
        "{} watches take turns on {} connections, so changes are seen seconds late, since the notifiers \
         fail: {}",
        agent.connections.watches(),
        agent.settings.max_connections,
        error.chain(),
    )
}

/// Follows the three endpoints until one of them fails.
async fn follow(agent: &Agent, status: &SourceStatus) -> Result<Infallible, WatchError> {
    if agent.settings.max_connections < MIN_CONNECTIONS {
        return Err(WatchError::Setup(format!("set max_connections to {MIN_CONNECTIONS} or more")));
    }
    let _connections = agent.connections.reserve(CONNECTIONS).await.ok_or(WatchError::Closed)?;
    let mut critical = Notifier::new(agent, &["v1", "health", "state", "critical"])?;
    let mut warning = Notifier::new(agent, &["v1", "health", "state", "warning"])?;
    let mut catalog = Notifier::new(agent, &["v1", "catalog", "services"])?;
    let critical_checks = checks(&critical.next().await?)?;
    let warning_checks = checks(&warning.next().await?)?;
    catalog.next().await?;
    let mut all_checks = AllChecks::new(agent).await?;
    // From here on no change is missed. One sweep finds those from before.
    let sweep = Notify::new();
    sweep.notify_one();
    agent.notices.set_active(true);
    status.note(TOPIC, None);
    tokio::select! {
        result = follow_checks(&mut critical, critical_checks) => result,
        result = follow_checks(&mut warning, warning_checks) => result,
        result = follow_catalog(&mut catalog, &mut all_checks, &sweep) => result,
        never = sweep_when_told(&agent.notices, &sweep) => match never {},
    }
}

/// Notifies the watches of each check that is new in a list or has left it.
async fn follow_checks(
    notifier: &mut Notifier<'_>,
    mut listed: BTreeSet<CheckKey>,
) -> Result<Infallible, WatchError> {
    loop {
        let next = checks(&notifier.next().await?)?;
        let changed = Changed::of(next.symmetric_difference(&listed));
        notifier.agent.notices.notify(&changed);
        listed = next;
    }
}

/// Notifies the watches of services with new or removed checks after each registration and
/// deregistration, then tells the sweep to look for the others.
async fn follow_catalog(
    notifier: &mut Notifier<'_>,
    all_checks: &mut AllChecks<'_>,
    sweep: &Notify,
) -> Result<Infallible, WatchError> {
    loop {
        let index = notifier.index;
        notifier.next().await?;
        if notifier.index != index {
            let changed = all_checks.changed().await;
            notifier.agent.notices.notify(&changed);
            sweep.notify_one();
        }
    }
}

/// All checks of the datacenter. An instance with a check that comes or goes changes them.
#[derive(Debug)]
struct AllChecks<'a> {
    query: Notifier<'a>,
    /// The list when it was last read; `None` if it never could be.
    listed: Option<BTreeSet<CheckKey>>,
}

impl<'a> AllChecks<'a> {
    async fn new(agent: &'a Agent) -> Result<Self, WatchError> {
        let query = Notifier::new(agent, &["v1", "health", "state", "any"])?;
        let mut new = Self { query, listed: None };
        new.changed().await;
        Ok(new)
    }

    /// Reads the list. Returns what has changed since it was last read: nothing if it cannot be read,
    /// because it is forbidden or too large. Then the sweep finds the change.
    async fn changed(&mut self) -> Changed {
        self.query.index = 0;
        let read = self.query.next().await.and_then(|response| checks(&response));
        let now = match read {
            Ok(now) => now,
            Err(error) => {
                debug!("cannot read all checks: {}", error.chain());
                return Changed::default();
            }
        };
        let changed = self.listed.as_ref().map(|before| Changed::of(now.symmetric_difference(before)));
        self.listed = Some(now);
        changed.unwrap_or_default()
    }
}

/// Sweeps each time that it is told to, with pauses.
async fn sweep_when_told(notices: &Notices, sweep: &Notify) -> Infallible {
    let permits = Arc::new(Semaphore::new(SWEEPERS as usize));
    loop {
        sweep.notified().await;
        let began_at = Instant::now();
        for mailbox in notices.mailboxes() {
            // The semaphore is never closed.
            mailbox.put(Arc::clone(&permits).acquire_owned().await.ok());
        }
        // All permits are free once the last response has been processed.
        drop(permits.acquire_many(SWEEPERS).await);
        let pause = began_at.elapsed().saturating_mul(PAUSE_PER_SWEEP).min(LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
    }
}

/// A check in a list of one state.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CheckKey {
    node: Box<str>,
    check: Box<str>,
    /// Empty for a check of the node itself.
    service: Box<str>,
}

/// Reads the checks of a response.
fn checks(response: &ConsulResponse) -> Result<BTreeSet<CheckKey>, WatchError> {
    let listed = decode::checks(&response.body).map_err(|error| WatchError::Malformed(error.to_string()))?;
    let key = |check: &ListedCheck<'_>| CheckKey {
        node: (*check.node).into(),
        check: (*check.id).into(),
        service: (*check.service).into(),
    };
    Ok(listed.iter().map(key).collect())
}

impl Changed {
    fn of<'a>(checks: impl Iterator<Item = &'a CheckKey>) -> Self {
        let mut changed = Self::default();
        for check in checks {
            if check.service.is_empty() {
                changed.nodes.insert(node_key(&check.node));
            } else {
                changed.services.insert(check.service.to_lowercase().into());
            }
        }
        changed
    }
}

/// A blocking query with a connection of its own.
#[derive(Debug)]
struct Notifier<'a> {
    agent: &'a Agent,
    client: AgentClient,
    url: Url,
    /// The index of the last response; 0: there is none, or the index has gone back.
    index: u64,
    rate_limit: RateLimit,
}

impl<'a> Notifier<'a> {
    fn new(agent: &'a Agent, path: &[&str]) -> Result<Self, WatchError> {
        let mut url = agent.url(path)?;
        if let Some(datacenter) = &agent.settings.datacenter {
            url.query_pairs_mut().append_pair("dc", datacenter);
        }
        if agent.settings.stale {
            url.query_pairs_mut().append_key_only("stale");
        }
        Ok(Self { agent, client: agent.client()?, url, index: 0, rate_limit: RateLimit::new() })
    }

    /// Returns the next response: the first at once, later ones after a change or when the wait is
    /// over. Those are paced by what they cost.
    ///
    /// # Errors
    /// As [`AgentClient::get_after`], and [`WatchError::Refused`] when the index goes back: what has
    /// changed in the meantime is not known.
    async fn next(&mut self) -> Result<ConsulResponse, WatchError> {
        self.rate_limit.ready().await;
        let ConsulTiming { grace, .. } = self.agent.timing;
        let wait = self.agent.settings.wait;
        let response = self.client.get_after(self.index, wait, self.url.clone(), grace).await?;
        if response.index < self.index {
            return Err(WatchError::Refused(format!(
                "index {} after {}: a server is behind, or was restored",
                response.index, self.index
            )));
        }
        self.rate_limit.charge(response.receipt, response.body.len());
        if response.index == self.index {
            self.rate_limit.charge_fruitless();
        }
        self.index = response.index.max(1);
        Ok(response)
    }
}
