//! Which clients get which instances: weighted groups and failover tiers.

use std::{fmt, time::Duration};

use super::filter::{ClientFilter, InstanceFilter};

/// One entry of a service's `routes`. The first route that matches the client decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The clients that it matches; `None` for all.
    pub clients: Option<ClientFilter>,
    /// The groups, at least one, with at least one weight above 0.
    pub split: Vec<Group>,
}

/// One weighted group of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The instances in it.
    pub filter: InstanceFilter,
    /// Its share of the lookups. A group with weight 0 gets lookups only if no group with a higher
    /// weight has an instance to answer.
    pub weight: u16,
    /// Whether the group keeps its share if none of its instances may be answered; if not, the
    /// other groups take it over.
    pub strict: bool,
}

/// `failover = [ … ]` with `min_healthy` and `hold_down`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// The tiers in order of preference, at least one. An instance belongs to the first tier that
    /// it matches; one that matches none is not answered.
    pub tiers: Vec<InstanceFilter>,
    /// How many instances of a tier must be eligible for the tier to be used.
    pub min_healthy: Amount,
    /// How long an earlier tier must be usable again before muster returns to it.
    pub hold_down: Duration,
}

impl Failover {
    /// Default `min_healthy`.
    pub const DEFAULT_MIN_HEALTHY: Amount = Amount::Count(1);
    /// Default `hold_down`.
    pub const DEFAULT_HOLD_DOWN: Duration = Duration::from_secs(30);
    /// Longest `hold_down`.
    pub const MAX_HOLD_DOWN: Duration = Duration::from_secs(24 * 3600);
}

/// A count, or a share of a whole: `2` or `"50%"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// A number of instances, at least 1.
    Count(u32),
    /// 1 to 100 percent of the instances.
    Percent(u8),
}

impl fmt::Display for Amount {
    /// Writes the amount as in the file: `2`, `50%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => f.pad(&count.to_string()),
            Self::Percent(percent) => f.pad(&format!("{percent}%")),
        }
    }
}
