//! Probes: does an upstream that is down answer again, and does any send our queries back to us?

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{cache_key::CacheKey, rules::Rule, upstream::UpstreamClient, upstream_query::UpstreamQuery};
use crate::{model::Name, wire::WireName};

/// How long a probe's answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Rounds after which an upstream in a forwarding loop is probed again: 30 seconds.
const LOOP_ROUNDS: u64 = 30;

/// The start of the first label of a probe's name; random digits follow.
const PREFIX: &[u8] = b"muster-loop-";

/// Where the probes of `"."` have their names. Directly under the root they would all go to the root
/// servers.
const UNDER: &str = "example.com";

/// The type that probes query for.
const QTYPE: u16 = 16; // TXT

/// The probes on their way.
///
/// A probe queries a name that no other client queries, so a probe that arrives here has come back:
/// the upstream that it was sent to leads to us. This finds loops through any number of other
/// servers, for one query an upstream at the start. A name is random and means something only while
/// its probe is on its way, so clients that have seen one cannot disable an upstream with it.
///
/// Rejected: an EDNS option of our own in every query. Most forwarders drop it, so it would find no
/// loop.
#[derive(Debug, Default)]
pub(super) struct LoopProbes {
    /// By name, in lower case.
    sent: Mutex<HashMap<Box<[u8]>, Arc<UpstreamClient>>>,
}

impl LoopProbes {
    /// The upstream that is being probed with a query for this name, in lower case. `None` if it is
    /// not a probe of ours.
    pub(super) fn recognize(&self, name: WireName<'_>, qtype: u16) -> Option<Arc<UpstreamClient>> {
        let label = name.labels().next()?;
        if !label.starts_with(PREFIX) || qtype != QTYPE {
            return None;
        }
        self.lock().get(name.as_bytes()).map(Arc::clone)
    }

    /// Makes a probe of an upstream. `None` if its name would be too long.
    fn begin(&self, upstream: &Arc<UpstreamClient>, suffix: &Name) -> Option<UpstreamQuery> {
        let label = [PREFIX, format!("{:032x}", rand::random::<u128>()).as_bytes()].concat();
        let name = match suffix.wire().as_bytes() == b"\0" {
            true => UNDER.parse::<Name>().ok()?.child(&label),
            false => suffix.child(&label),
        };
        let name = name.ok()?;
        self.lock().insert(name.wire().as_bytes().into(), Arc::clone(upstream));
        Some(UpstreamQuery::new(CacheKey::new(name.wire(), QTYPE, false, false)))
    }

    /// Forgets a probe, which has ended.
    fn end(&self, query: &UpstreamQuery) {
        self.lock().remove(query.name().as_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Arc<UpstreamClient>>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a probe, also if its task is aborted.
struct Probe {
    probes: Arc<LoopProbes>,
    upstream: Arc<UpstreamClient>,
    query: Option<UpstreamQuery>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(query) = &self.query {
            self.probes.end(query);
        }
        self.upstream.end_probe();
    }
}

/// Whether `upstream` is to be probed in this round.
pub(super) fn is_due(upstream: &UpstreamClient, round: u64) -> bool {
    if upstream.is_loop() {
        return round.is_multiple_of(LOOP_ROUNDS);
    }
    upstream.health.is_down() || upstream.is_new()
}

/// Probes `upstream`, unless a probe is in flight. Any answer shows that it works. If the probe
/// does not arrive here, the upstream does not lead to us.
pub(super) fn probe(
    probes: &Arc<LoopProbes>,
    rule: &Rule,
    upstream: &Arc<UpstreamClient>,
) -> Option<impl Future<Output = ()> + use<>> {
    if !upstream.begin_probe() {
        return None;
    }
    let query = probes.begin(upstream, &rule.settings.suffix);
    let probe = Probe { probes: Arc::clone(probes), upstream: Arc::clone(upstream), query };
    Some(async move {
        if let Some(query) = &probe.query
            && let Err(error) = probe.upstream.query(query, PATIENCE, false).await
            && !error.is_ours()
        {
            probe.upstream.missed(&error);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, forward::rules::RuleTable, telemetry::Metrics};

    #[tokio::test]
    async fn a_probe_is_recognized_only_by_its_whole_name_while_it_is_on_its_way() {
        let text = "[forward]\n\".\" = \"192.0.2.1\"\n".to_owned();
        let config = config::load_from(&[("muster.toml".into(), text)]).unwrap().config;
        let rules =
            RuleTable::new(&config.forward, &RuleTable::default(), &[], &Metrics::new().unwrap()).unwrap();
        let upstream = Arc::clone(&rules.find(WireName::trusted(b"\x00")).unwrap().upstreams()[0]);
        let probes = LoopProbes::default();
        let suffix: Name = "corp.example".parse().unwrap();
        let [first, second] = [(), ()].map(|()| probes.begin(&upstream, &suffix).unwrap());
        assert_ne!(first.name().as_bytes(), second.name().as_bytes());
        let is_ours = |name: WireName<'_>, qtype| probes.recognize(name, qtype).is_some();
        assert!(is_ours(first.name(), QTYPE));
        assert!(!is_ours(first.name(), 1), "another type");
        let label = first.name().labels().next().unwrap().to_vec();
        let elsewhere = "evil.example".parse::<Name>().unwrap().child(&label).unwrap();
        assert!(!is_ours(elsewhere.wire(), QTYPE), "another suffix");
        assert!(!is_ours(suffix.wire(), QTYPE));
        probes.end(&first);
        assert!(!is_ours(first.name(), QTYPE), "it has ended");
        assert!(is_ours(second.name(), QTYPE), "the other has not");
    }

    #[tokio::test]
    async fn probes_of_all_names_stay_away_from_the_root() {
        let text = "[forward]\n\".\" = \"192.0.2.1\"\n".to_owned();
        let config = config::load_from(&[("muster.toml".into(), text)]).unwrap().config;
        let rules =
            RuleTable::new(&config.forward, &RuleTable::default(), &[], &Metrics::new().unwrap()).unwrap();
        let rule = rules.find(WireName::trusted(b"\x00")).unwrap();
        let query = LoopProbes::default().begin(&rule.upstreams()[0], &rule.settings.suffix).unwrap();
        assert!(query.name().as_bytes().ends_with(b"\x07example\x03com\x00"));
    }
}
