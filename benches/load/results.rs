//! The figures, round by round.

use std::time::Duration;

use crate::cases::{Case, Goal};

/// The echo's name in tables.
pub(crate) const ECHO: &str = "echo";
/// muster's name in tables.
pub(crate) const MUSTER: &str = "muster";

/// All figures of one run.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) cases: Vec<CaseResult>,
    pub(crate) routes: Option<Turns>,
    pub(crate) cache: Option<Turns>,
    pub(crate) latency: Vec<Latency>,
    /// Latency of queries whose answers are not cached: sent directly, and through forwarders.
    pub(crate) misses: Vec<Latency>,
    pub(crate) scale: Option<Scale>,
}

/// One case.
#[derive(Debug)]
pub(crate) struct CaseResult {
    pub(crate) case: Case,
    pub(crate) turns: Turns,
}

/// One load, and every server in the order of their turns.
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) names: u32,
    /// Bytes of muster's answer, and so of the echo's.
    pub(crate) size: usize,
    pub(crate) servers: Vec<Measured>,
}

/// One server in one case.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) server: &'static str,
    pub(crate) rounds: Vec<Round>,
    pub(crate) lost: u64,
    pub(crate) load: Duration,
    /// Memory after loading, in bytes.
    pub(crate) memory: u64,
}

/// One round of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// CPU time per answer, in microseconds.
    pub(crate) cpu: f64,
    /// Answers per second.
    pub(crate) rate: f64,
    /// Share of the time in which the server's core worked for it.
    pub(crate) busy: f64,
    /// Share of the CPU time that the kernel took, as its timer sampled it.
    pub(crate) kernel: f64,
}

/// Times from query to answer at a fixed rate; one value per round, in microseconds.
#[derive(Debug)]
pub(crate) struct Latency {
    pub(crate) label: String,
    pub(crate) p50: Vec<f64>,
    pub(crate) p99: Vec<f64>,
    pub(crate) lost: u64,
}

/// The cost of many instances and their changes.
#[derive(Debug)]
pub(crate) struct Scale {
    pub(crate) services: u32,
    pub(crate) instances: u64,
    pub(crate) load: Duration,
    pub(crate) memory: u64,
    pub(crate) memory_after: u64,
    /// From a source's update to the first answer that shows it, in microseconds, one per change.
    pub(crate) visible: Vec<f64>,
    /// CPU time of the catalog's thread per change, in microseconds, one per round.
    pub(crate) cpu_per_flip: Vec<f64>,
    /// Actual changes per second, one per round.
    pub(crate) flips: Vec<f64>,
    /// Without and with changes.
    pub(crate) latency: [Latency; 2],
}

impl Measured {
    /// The median of one figure over the rounds.
    pub(crate) fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure))
    }
}

impl Turns {
    pub(crate) fn of(&self, server: &str) -> Option<&Measured> {
        self.servers.iter().find(|measured| measured.server == server)
    }

    /// The rival with the least CPU time per query.
    pub(crate) fn better_rival(&self) -> Option<&Measured> {
        let is_rival = |measured: &&Measured| measured.server != ECHO && !measured.server.starts_with(MUSTER);
        let rivals = self.servers.iter().filter(is_rival);
        rivals.min_by(|a, b| a.median(|round| round.cpu).total_cmp(&b.median(|round| round.cpu)))
    }

    /// muster's CPU time as a multiple of another's.
    pub(crate) fn ratio_to(&self, other: Option<&Measured>) -> Option<f64> {
        Some(ratio(self.of(MUSTER)?, other?))
    }
}

/// The CPU time of one as a multiple of another's: the median of the rounds' ratios, since turns
/// that are close in time compare best.
pub(crate) fn ratio(one: &Measured, other: &Measured) -> f64 {
    median(one.rounds.iter().zip(&other.rounds).map(|(one, other)| one.cpu / other.cpu))
}

impl CaseResult {
    /// The measured ratio of the goal, and its limit.
    pub(crate) fn goal(&self) -> Option<(f64, f64)> {
        let turns = &self.turns;
        match self.case.goal? {
            Goal::Echo(most) => Some((turns.ratio_to(turns.of(ECHO))?, most)),
            Goal::Rival(most) => Some((turns.ratio_to(turns.better_rival())?, most)),
        }
    }
}

/// The median; NaN if there are no values.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value that `share` of all are at or below, interpolated; NaN if there are none.
pub(crate) fn quantile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = last as f64 * share;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}
