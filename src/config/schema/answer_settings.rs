//! Settings of answers, which a namespace, its services and its imports share.

use crate::model::HealthSet;

/// Which instances a service answers with, and what the answers look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerSettings {
    /// TTL, in seconds.
    pub ttl: u32,
    /// The health states that make an instance eligible.
    pub accept: HealthSet,
    /// The answer if no instance is eligible.
    pub when_all_unhealthy: WhenAllUnhealthy,
    /// Below this percentage of eligible instances, all that are not draining are answered; 0 turns
    /// it off.
    pub panic_threshold: u8,
    /// Most records of one type in one answer.
    pub max_answers: usize,
    /// The order of the records.
    pub order: AnswerOrder,
    /// Whether instances near the client are preferred; `None` if not.
    pub nearness: Option<Nearness>,
    /// Whether an instance's own name has its labels as TXT records.
    pub txt: bool,
}

impl AnswerSettings {
    /// Default `max_answers`, as many as in Route 53's multivalue answers.
    pub const DEFAULT_MAX_ANSWERS: usize = 8;
}

impl Default for AnswerSettings {
    /// TTL 0, so that every lookup sees the current state.
    fn default() -> Self {
        Self {
            ttl: 0,
            accept: HealthSet::default(),
            when_all_unhealthy: WhenAllUnhealthy::default(),
            panic_threshold: 0,
            max_answers: Self::DEFAULT_MAX_ANSWERS,
            order: AnswerOrder::default(),
            nearness: None,
            txt: false,
        }
    }
}

/// The answer if no instance of a service is eligible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenAllUnhealthy {
    /// All instances but draining ones (fail-open), as in Route 53.
    #[default]
    All,
    /// No instance: NODATA.
    None,
}

/// The order of an answer's records, and which records are left out if there are too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerOrder {
    /// Each answer starts one record later than the one before. If an answer has fewer records than
    /// there are, and their weights differ, the first record follows the weights.
    #[default]
    Rotate,
    /// Random, all with equal probability.
    Random,
    /// The first record follows the weights.
    Weighted,
}

/// `prefer = "zone"` or `"region"`, with `spill_below`: instances near the client are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nearness {
    /// The nearness that is preferred.
    pub prefer: Near,
    /// The percentage of near instances that must be eligible; below it, the next wider ring is
    /// answered.
    pub spill_below: u8,
}

impl Nearness {
    /// Default `spill_below`: one eligible instance nearby is enough.
    pub const DEFAULT_SPILL_BELOW: u8 = 1;
}

/// How near an instance must be to be preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Near {
    /// In the client's availability zone; else in its region; else anywhere.
    Zone,
    /// In the client's region; else anywhere.
    Region,
}
