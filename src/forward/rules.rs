//! The rules of `[forward]`: which upstreams a name goes to, and in which order.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::{
    resolv_conf,
    upstream::{MAX_RULE_SOCKETS, SetupError, UpstreamClient},
};
use crate::{
    config::{self, ForwardPolicy},
    model::Name,
    telemetry::Metrics,
    wire::WireName,
};

/// With `fastest`, one query in this many goes to another upstream first, to learn whether that has
/// become faster.
const EXPLORE: usize = 50;

/// All rules.
#[derive(Debug, Default)]
pub(super) struct RuleTable {
    by_suffix: HashMap<Name, Arc<Rule>, foldhash::fast::RandomState>,
}

/// One suffix and its upstreams.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) settings: config::ForwardRule,
    upstreams: ArcSwap<Vec<Arc<UpstreamClient>>>,
    /// Permits for the upstreams' sockets.
    sockets: Arc<Semaphore>,
    /// The last contents of its files, in their order.
    texts: Mutex<Vec<String>>,
    /// How many queries there were.
    turn: AtomicUsize,
}

impl RuleTable {
    /// Sets up every upstream. A rule that `before` has with the same settings stays, with
    /// everything that it has learned. Files such as resolv.conf may name an address in `own`,
    /// which muster answers DNS on.
    ///
    /// # Errors
    /// When TLS of an upstream cannot be set up. No upstream is contacted.
    pub(super) fn new(
        settings: &[config::ForwardRule],
        before: &Self,
        own: &[SocketAddr],
        metrics: &Metrics,
    ) -> Result<Self, SetupError> {
        let mut by_suffix = HashMap::default();
        for settings in settings {
            let kept = before.by_suffix.get(&settings.suffix).filter(|rule| rule.settings == *settings);
            let rule = match kept {
                Some(rule) => Arc::clone(rule),
                None => Arc::new(Rule::new(settings, own, metrics)?),
            };
            by_suffix.insert(settings.suffix.clone(), rule);
        }
        Ok(Self { by_suffix })
    }

    /// Whether there is no rule.
    pub(super) fn is_empty(&self) -> bool {
        self.by_suffix.is_empty()
    }

    /// Whether these are the rules of `settings`.
    pub(super) fn are(&self, settings: &[config::ForwardRule]) -> bool {
        let same = |one: &config::ForwardRule| {
            self.by_suffix.get(&one.suffix).is_some_and(|rule| rule.settings == *one)
        };
        settings.len() == self.by_suffix.len() && settings.iter().all(same)
    }

    /// Finds the rule with the longest suffix that `name`, which is lower case, is at or below.
    /// *Cost*: one hash lookup for each label.
    pub(super) fn find(&self, name: WireName<'_>) -> Option<&Arc<Rule>> {
        name.suffixes().find_map(|(_, suffix)| self.by_suffix.get(suffix.as_bytes()))
    }

    /// All rules, in any order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.by_suffix.values()
    }
}

impl Rule {
    fn new(
        settings: &config::ForwardRule,
        own: &[SocketAddr],
        metrics: &Metrics,
    ) -> Result<Self, SetupError> {
        let mut upstreams = Vec::new();
        let sockets = Arc::new(Semaphore::new(MAX_RULE_SOCKETS));
        for upstream in &settings.upstreams {
            upstreams.extend(new_upstream(upstream, settings, &sockets, metrics)?);
        }
        let rule = Self {
            settings: settings.clone(),
            upstreams: ArcSwap::from_pointee(upstreams),
            sockets,
            texts: Mutex::default(),
            turn: AtomicUsize::new(0),
        };
        if rule.files().next().is_none() {
            rule.log();
        } else {
            let texts: Vec<_> = rule.files().map(resolv_conf::read).collect();
            rule.refresh(&texts, own, metrics);
        }
        Ok(rule)
    }

    /// The upstreams in the order to query them: by the policy, with those that are down last.
    /// Upstreams in a forwarding loop are left out.
    pub(super) fn order(&self) -> Vec<Arc<UpstreamClient>> {
        let mut order: Vec<_> =
            self.upstreams.load().iter().filter(|upstream| !upstream.is_loop()).cloned().collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match self.settings.policy {
            ForwardPolicy::Sequential => {}
            ForwardPolicy::RoundRobin => rotate(&mut order, turn),
            ForwardPolicy::Fastest => {
                // Upstreams that have never answered come first: their time is unknown.
                order.sort_by_cached_key(|upstream| upstream.health.usual());
                if turn % EXPLORE == EXPLORE - 1 {
                    rotate(&mut order, turn / EXPLORE);
                }
            }
        }
        order.sort_by_key(|upstream| upstream.health.is_down());
        order
    }

    /// The upstreams in the order of the configuration.
    pub(super) fn upstreams(&self) -> Arc<Vec<Arc<UpstreamClient>>> {
        self.upstreams.load_full()
    }

    /// The files that name upstreams.
    fn files(&self) -> impl Iterator<Item = &Path> {
        self.settings.upstreams.iter().filter_map(|upstream| match upstream {
            config::UpstreamSpec::ResolvConf(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// Reads the files again and follows their changes. Returns whether the upstreams have changed.
    pub(super) async fn reread_files(self: &Arc<Self>, own: &[SocketAddr], metrics: &Metrics) -> bool {
        if self.files().next().is_none() {
            return false;
        }
        let reader = Arc::clone(self);
        let reading = move || reader.files().map(resolv_conf::read).collect::<Vec<_>>();
        let texts = tokio::task::spawn_blocking(reading).await;
        texts.is_ok_and(|texts| self.refresh(&texts, own, metrics))
    }

    /// Takes the files' contents, in their order. For a file that cannot be read (`None`) the last
    /// contents count, since a file that is being replaced exists again in a moment.
    ///
    /// If the contents have changed, the list of upstreams is built again; upstreams that stay keep
    /// their client. Returns whether the upstreams have changed.
    pub(super) fn refresh(&self, texts: &[Option<String>], own: &[SocketAddr], metrics: &Metrics) -> bool {
        let mut last = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let text = |(at, text): (usize, &Option<String>)| text.clone().or_else(|| last.get(at).cloned());
        let texts: Vec<String> = texts.iter().enumerate().map(|one| text(one).unwrap_or_default()).collect();
        if *last == texts {
            return false;
        }
        let before = self.upstreams();
        let mut now: Vec<Arc<UpstreamClient>> = Vec::new();
        for upstream in self.resolved(&texts, own) {
            let label = upstream.to_string();
            if now.iter().any(|one| one.label() == label) {
                continue;
            }
            match before.iter().find(|one| one.label() == label) {
                Some(one) => now.push(Arc::clone(one)),
                // The rule was made only because its upstreams could be set up; plain addresses
                // always can.
                None => {
                    now.extend(new_upstream(&upstream, &self.settings, &self.sockets, metrics).ok().flatten())
                }
            }
        }
        *last = texts;
        let has_changed = !now.iter().map(|one| one.label()).eq(before.iter().map(|one| one.label()));
        self.upstreams.store(Arc::new(now));
        self.log();
        has_changed
    }

    /// The configured upstreams, each file replaced by the name servers in its contents. Addresses
    /// in `own` are left out.
    fn resolved(&self, texts: &[String], own: &[SocketAddr]) -> Vec<config::UpstreamSpec> {
        let mut resolved = Vec::new();
        let mut unread = texts.iter();
        for upstream in &self.settings.upstreams {
            let config::UpstreamSpec::ResolvConf(path) = upstream else {
                resolved.push(upstream.clone());
                continue;
            };
            let text = unread.next();
            debug_assert!(text.is_some(), "there is a text for each file");
            for address in resolv_conf::nameservers(text.map_or("", String::as_str)) {
                if config::is_own_address(own, address, resolv_conf::is_local) {
                    info!(file = %path.display(), %address, "ignored: muster itself listens on this address");
                } else {
                    resolved.push(config::UpstreamSpec::Plain(address));
                }
            }
        }
        resolved
    }

    fn log(&self) {
        let now = self.upstreams();
        let suffix = &self.settings.suffix;
        let labels: Vec<_> = now.iter().map(|upstream| upstream.label()).collect();
        if labels.is_empty() {
            warn!(%suffix, "no upstream to forward to: its files name none");
        } else {
            info!(%suffix, upstreams = labels.join(", "), "forwarding");
        }
    }
}

fn new_upstream(
    upstream: &config::UpstreamSpec,
    rule: &config::ForwardRule,
    sockets: &Arc<Semaphore>,
    metrics: &Metrics,
) -> Result<Option<Arc<UpstreamClient>>, SetupError> {
    let made = UpstreamClient::new(upstream, rule, sockets, |label| metrics.forward().upstream(label))?;
    Ok(made.map(Arc::new))
}

/// Rotates a list so that the entry at `turn`, counted round and round, is first.
fn rotate<T>(list: &mut [T], turn: usize) {
    let by = turn.checked_rem(list.len()).unwrap_or(0);
    list.rotate_left(by);
}
