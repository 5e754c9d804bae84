//! Which upstreams a name is asked of, and in which order.

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
};

/// Every so many questions `fastest` asks another upstream first, so that it learns when that has become faster.
const EXPLORE: usize = 50;

/// Every suffix.
#[derive(Debug, Default)]
pub(super) struct Rules {
    by_suffix: HashMap<Name, Arc<Rule>, foldhash::fast::RandomState>,
}

/// One suffix and its upstreams.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) settings: config::ForwardRule,
    pub(super) load: RuleLoad,
    upstreams: ArcSwap<Vec<Arc<UpstreamClient>>>,
    /// Places for the upstreams' sockets.
    places: Arc<Semaphore>,
    /// What its files said last, in their order.
    texts: Mutex<Vec<String>>,
    turn: AtomicUsize,
}

/// What a rule has in flight. Changed only under the lock of [`InFlight`](super::in_flight::InFlight).
#[derive(Debug, Default)]
pub(super) struct RuleLoad {
    pub(super) fetches: AtomicUsize,
    pub(super) waiting: AtomicUsize,
}

impl Rules {
    /// Sets up every upstream; a rule that `before` has with the same settings stays, with all that it has learnt. `own` are the
    /// addresses that DNS is answered on, which files such as resolv.conf may name.
    ///
    /// # Errors
    /// When TLS of an upstream cannot be set up. Nothing is contacted.
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

    /// Whether there is no suffix.
    pub(super) fn is_empty(&self) -> bool {
        self.by_suffix.is_empty()
    }

    /// Whether these are the rules for `settings`.
    pub(super) fn are(&self, settings: &[config::ForwardRule]) -> bool {
        let same = |one: &config::ForwardRule| {
            self.by_suffix.get(&one.suffix).is_some_and(|rule| rule.settings == *one)
        };
        settings.len() == self.by_suffix.len() && settings.iter().all(same)
    }

    /// Finds the rule with the longest suffix that `name` (wire format, lower case) is at or below. *Cost*: one hash look-up
    /// for each label.
    pub(super) fn find(&self, name: &[u8]) -> Option<&Arc<Rule>> {
        let mut at = 0;
        loop {
            let rest = name.get(at..)?;
            if let Some(rule) = self.by_suffix.get(rest) {
                return Some(rule);
            }
            match rest.first()? {
                0 => return None,
                length => at += usize::from(*length) + 1,
            }
        }
    }

    /// Every rule, in any order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.by_suffix.values()
    }
}

fn new_upstream(
    upstream: &config::UpstreamSpec,
    rule: &config::ForwardRule,
    places: &Arc<Semaphore>,
    metrics: &Metrics,
) -> Result<Option<Arc<UpstreamClient>>, SetupError> {
    let made = UpstreamClient::new(upstream, rule, places, |label| metrics.forward().upstream(label))?;
    Ok(made.map(Arc::new))
}

impl Rule {
    fn new(
        settings: &config::ForwardRule,
        own: &[SocketAddr],
        metrics: &Metrics,
    ) -> Result<Self, SetupError> {
        let mut upstreams = Vec::new();
        let places = Arc::new(Semaphore::new(MAX_RULE_SOCKETS));
        for upstream in &settings.upstreams {
            upstreams.extend(new_upstream(upstream, settings, &places, metrics)?);
        }
        let rule = Self {
            settings: settings.clone(),
            load: RuleLoad::default(),
            upstreams: ArcSwap::from_pointee(upstreams),
            places,
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

    /// The upstreams, the one to ask first in front: by the policy, but those that were put aside behind the others, and those
    /// that lead back to us not at all.
    pub(super) fn order(&self) -> Vec<Arc<UpstreamClient>> {
        let mut order: Vec<_> =
            self.upstreams.load().iter().filter(|upstream| !upstream.is_loop()).cloned().collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match self.settings.policy {
            ForwardPolicy::Sequential => {}
            ForwardPolicy::RoundRobin => {
                let by = turn.checked_rem(order.len()).unwrap_or(0);
                order.rotate_left(by);
            }
            ForwardPolicy::Fastest => {
                // Those that were never heard come first: they have no figure yet.
                order.sort_by_cached_key(|upstream| upstream.health.usual());
                if turn % EXPLORE == EXPLORE - 1 {
                    let by = (turn / EXPLORE).checked_rem(order.len()).unwrap_or(0);
                    order.rotate_left(by);
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
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.settings.upstreams.iter().filter_map(|upstream| match upstream {
            config::UpstreamSpec::ResolvConf(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// Reads the files again and follows their changes; returns whether the upstreams have changed.
    pub(super) async fn reread_files(self: &Arc<Self>, own: &[SocketAddr], metrics: &Metrics) -> bool {
        if self.files().next().is_none() {
            return false;
        }
        let reader = Arc::clone(self);
        let reading = move || reader.files().map(resolv_conf::read).collect::<Vec<_>>();
        let texts = tokio::task::spawn_blocking(reading).await;
        texts.is_ok_and(|texts| self.refresh(&texts, own, metrics))
    }

    /// Takes what the files say now, in their order; of one that cannot be read (`None`) the last text counts, since a file that
    /// is being replaced is there again in a moment.
    ///
    /// Where that is something else than before, the upstreams are put together anew; what stays is the same one as before. Tells
    /// whether they are others now.
    pub(super) fn refresh(&self, texts: &[Option<String>], own: &[SocketAddr], metrics: &Metrics) -> bool {
        let mut last = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let text = |(at, text): (usize, &Option<String>)| text.clone().or_else(|| last.get(at).cloned());
        let texts: Vec<String> = texts.iter().enumerate().map(|one| text(one).unwrap_or_default()).collect();
        if *last == texts {
            return false;
        }
        let before = self.upstreams();
        let mut now: Vec<Arc<UpstreamClient>> = Vec::new();
        let mut add = |upstream: &config::UpstreamSpec| {
            let label = upstream.to_string();
            if now.iter().any(|one| one.label() == label) {
                return;
            }
            match before.iter().find(|one| one.label() == label) {
                Some(one) => now.push(Arc::clone(one)),
                // What cannot be set up was said when the rule was made; plain addresses always can.
                None => {
                    now.extend(new_upstream(upstream, &self.settings, &self.places, metrics).ok().flatten())
                }
            }
        };
        let mut unread = texts.iter();
        for upstream in &self.settings.upstreams {
            let config::UpstreamSpec::ResolvConf(path) = upstream else {
                add(upstream);
                continue;
            };
            for address in resolv_conf::nameservers(unread.next().map_or("", String::as_str)) {
                if resolv_conf::is_own(own, address) {
                    info!(file = %path.display(), %address, "left out: it is an address of this server");
                } else {
                    add(&config::UpstreamSpec::Plain(address));
                }
            }
        }
        *last = texts;
        let is_other = !now.iter().map(|one| one.label()).eq(before.iter().map(|one| one.label()));
        self.upstreams.store(Arc::new(now));
        self.log();
        is_other
    }

    /// Says who is asked from now on.
    fn log(&self) {
        let now = self.upstreams();
        let suffix = &self.settings.suffix;
        let labels: Vec<_> = now.iter().map(|upstream| upstream.label()).collect();
        if labels.is_empty() {
            warn!(%suffix, "there is no upstream to forward to: its files name none");
        } else {
            info!(%suffix, upstreams = labels.join(", "), "forwarding");
        }
    }
}
