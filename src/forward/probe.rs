//! Probes: does an upstream that is down answer again, and does any send our queries back to us?

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hickory_proto::rr::RecordType;

use super::{cache_key::CacheKey, rules::Rule, upstream::UpstreamClient, upstream_query::UpstreamQuery};
use crate::{model::Name, wire::WireName};

/// How long a probe's answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Rounds after which an upstream in a forwarding loop is probed again: 30 seconds.
const LOOP_ROUNDS: u64 = 30;

/// The start of the first label of a probe's name; a number of this process and one of the upstream
/// follow.
const PREFIX: &[u8] = b"muster-loop-";

/// The names of this process's probes.
///
/// A probe queries a name that no other client queries, so a probe that arrives here has come back:
/// the upstream that it was sent to leads to us. This finds loops through any number of other
/// servers, for one query an upstream at the start. Rejected: an EDNS option of our own in every
/// query. Most forwarders drop it, so it would find no loop.
#[derive(Debug)]
pub(super) struct LoopProbes {
    nonce: u64,
    next: AtomicU64,
}

impl LoopProbes {
    pub(super) fn new() -> Self {
        Self { nonce: rand::random(), next: AtomicU64::new(0) }
    }

    /// The number of a new upstream.
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn label(&self, number: u64) -> Vec<u8> {
        [PREFIX, format!("{:016x}-{number:x}", self.nonce).as_bytes()].concat()
    }

    /// The number of the upstream that was probed with `name`, which is lower case. `None` if it is
    /// not a probe of ours.
    pub(super) fn recognize(&self, name: WireName<'_>) -> Option<u64> {
        let label = name.labels().next()?;
        if !label.starts_with(PREFIX) {
            return None;
        }
        let number = label.rsplit(|byte| *byte == b'-').next()?;
        let number = u64::from_str_radix(std::str::from_utf8(number).ok()?, 16).ok()?;
        (label == self.label(number)).then_some(number)
    }

    /// The query that probes an upstream. `None` if its name would be too long.
    fn query(&self, number: u64, suffix: &Name) -> Option<UpstreamQuery> {
        let name = suffix.child(&self.label(number)).ok()?;
        let key = CacheKey::new(name.wire(), RecordType::TXT.into(), false, false);
        Some(UpstreamQuery::new(key, &[]))
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
    rule: &Rule,
    upstream: &Arc<UpstreamClient>,
    probes: &LoopProbes,
) -> Option<impl Future<Output = ()> + use<>> {
    let number = upstream.begin_probe(|| probes.number())?;
    let query = probes.query(number, &rule.settings.suffix);
    let upstream = Arc::clone(upstream);
    Some(async move {
        if let Some(query) = query {
            let _ = upstream.query(&query, PATIENCE, false).await;
        }
        upstream.end_probe();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_probes_are_recognized() {
        let (ours, others) = (LoopProbes::new(), LoopProbes::new());
        let suffix: Name = "corp.example".parse().unwrap();
        let query = ours.query(0x2a, &suffix).unwrap();
        assert_eq!(ours.recognize(query.name()), Some(0x2a));
        assert_eq!(others.recognize(query.name()), None);
        assert_eq!(ours.recognize(suffix.wire()), None);
        assert_eq!(ours.recognize(WireName::trusted(b"\x0cmuster-loop-\x00")), None);
        assert_eq!(ours.recognize(WireName::trusted(b"\x00")), None);
    }
}
