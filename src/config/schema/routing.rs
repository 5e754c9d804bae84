//! Who gets which instances: weighted groups and failover tiers.

use std::{fmt, time::Duration};

use super::filter::{ClientFilter, InstanceFilter};

/// One entry of a service's `routes`: which clients get which weighted groups. The first that matches wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Who it is for; `None`: everybody.
    pub clients: Option<ClientFilter>,
    /// The groups, at least one, with at least one weight above 0.
    pub split: Vec<Group>,
}

/// One weighted group of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which instances are in it.
    pub filter: InstanceFilter,
    /// Its share of the look-ups; 0 gets nothing while another group has more and something to answer.
    pub weight: u16,
    /// Whether its share stays its own when nothing in it may be answered, rather than going to the others.
    pub strict: bool,
}

/// `failover = [ … ]` with `min_healthy` and `hold_down`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// The tiers, in order of preference, at least one; an instance belongs to the first that it matches, and one that
    /// matches none is not answered.
    pub tiers: Vec<InstanceFilter>,
    /// How many of a tier's instances must be fit for it to be used.
    pub min_healthy: Amount,
    /// How long an earlier tier must be fit again before it is returned to.
    pub hold_down: Duration,
}

impl Failover {
    /// `min_healthy` where nothing is said.
    pub const DEFAULT_MIN_HEALTHY: Amount = Amount::Count(1);
    /// `hold_down` where nothing is said.
    pub const DEFAULT_HOLD_DOWN: Duration = Duration::from_secs(30);
    /// Longest `hold_down`.
    pub const MAX_HOLD_DOWN: Duration = Duration::from_secs(24 * 3600);
}

/// So many, or such a part: `2` or `"50%"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many instances, at least 1.
    Count(u32),
    /// A part of the instances, 1 to 100 percent.
    Percent(u8),
}

impl fmt::Display for Amount {
    /// Writes it as it is configured: `2`, `50%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => f.pad(&count.to_string()),
            Self::Percent(percent) => f.pad(&format!("{percent}%")),
        }
    }
}
