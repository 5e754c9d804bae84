//! What a service's answers look like, and which of its instances are in them.

use crate::model::HealthSet;

/// What a service's answers look like; a namespace's imports share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerSettings {
    /// TTL of its answers, in seconds.
    pub ttl: u32,
    /// Which health states are answered.
    pub accept: HealthSet,
    /// What is answered when no instance is accepted.
    pub when_all_unhealthy: WhenAllUnhealthy,
    /// Percent of the instances that must be fit; below, all that are not draining are answered. 0: never.
    pub panic_threshold: u8,
    /// Records of one type in one answer.
    pub max_answers: usize,
    /// In which order they stand.
    pub order: AnswerOrder,
    /// Whether instances near the asker come first.
    pub nearness: Option<Nearness>,
    /// Whether an instance's own name has its labels as TXT.
    pub txt: bool,
}

impl AnswerSettings {
    /// Records of one type in one answer where nothing is said: Route 53's multivalue answers have up to eight.
    pub const DEFAULT_MAX_ANSWERS: usize = 8;
}

impl Default for AnswerSettings {
    /// TTL 0: every look-up sees the next truth.
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

/// What is answered when no instance of a service is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenAllUnhealthy {
    /// All of them but the draining ones, as Route 53 does it.
    #[default]
    All,
    /// None: NODATA.
    None,
}

/// In which order the records of an answer stand, and which are taken when not all are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerOrder {
    /// Each answer begins one further than the one before. Where fewer are answered than there are, and their weights
    /// differ, the first follows the weights.
    #[default]
    Rotate,
    /// By chance, all with equal probability.
    Random,
    /// The first record follows the weights, always.
    Weighted,
}

/// `prefer = "zone"` or `"region"`, with `spill_below`: instances near the asker first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nearness {
    /// How near is near.
    pub prefer: Near,
    /// Percent of the near instances that must be fit for them to be answered alone; below, the next wider ring is.
    pub spill_below: u8,
}

impl Nearness {
    /// `spill_below` where nothing is said: any fit instance nearby is enough.
    pub const DEFAULT_SPILL_BELOW: u8 = 1;
}

/// What instances must have in common with the asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Near {
    /// The availability zone; failing that the region; failing that nothing.
    Zone,
    /// The region; failing that nothing.
    Region,
}
