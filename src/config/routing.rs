//! The validated configuration of who gets which instances: groups, routes, failover, nearness, further names.

use std::{sync::Arc, time::Duration};

use crate::model::{Labels, Name, Network, Selector, SourceId};

/// Which of a service's instances are meant; what is left out does not narrow it, and all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Labels that an instance must all have, with these values.
    pub labels: Labels,
    /// A selector that its labels must match.
    pub selector: Selector,
    /// A source that must report it.
    pub source: Option<SourceId>,
    /// Its Consul datacenter.
    pub datacenter: Option<Arc<str>>,
    /// Its availability zone.
    pub locality: Option<Arc<str>>,
}

/// One entry of a service's `routes`: which clients get which weighted groups. The first that matches wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Who it is for; `None`: everybody.
    pub clients: Option<Clients>,
    /// The groups, at least one, with at least one weight above 0.
    pub split: Vec<Group>,
}

/// One weighted group of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which instances are in it.
    pub filter: Filter,
    /// Its share of the look-ups; 0 gets nothing while another group has more and something to answer.
    pub weight: u16,
    /// Whether its share stays its own when nothing in it may be answered, rather than going to the others.
    pub strict: bool,
}

/// `clients = { … }`: who asks; all that is given must hold, and at least one thing is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Clients {
    /// The service that the asker is an instance of.
    pub service: Option<Name>,
    /// Labels that the asker must all have, with these values.
    pub labels: Labels,
    /// Networks of which one must hold its address; empty: any.
    pub networks: Vec<Network>,
    /// Its availability zone.
    pub locality: Option<Arc<str>>,
    /// The Kubernetes namespace that its pod is in.
    pub kube_namespace: Option<Arc<str>>,
}

/// `failover = [ … ]` with `min_healthy` and `hold_down`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// The tiers, in order of preference, at least one; an instance belongs to the first that it matches, and one that
    /// matches none is not answered.
    pub tiers: Vec<Filter>,
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

/// In which order the records of an answer stand, and which are taken when not all are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Each answer begins one further than the one before. Where fewer are answered than there are, and their weights
    /// differ, the first follows the weights.
    #[default]
    Rotate,
    /// By chance, all with equal probability.
    Random,
    /// The first record follows the weights, always.
    Weighted,
}

/// One entry of a service's `names`: a further name for some of its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubsetName {
    /// Its full name.
    pub name: Name,
    /// Which instances it has.
    pub filter: Filter,
}

/// `alias = "…"`: a service that is another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alias {
    /// Another service of the same namespace, answered with that one's instances under this name.
    Service(Name),
    /// A name that is none of ours, answered as a CNAME.
    Outside(Name),
}

/// One `[[locality]]`: where the clients and instances of a network are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalityRule {
    /// The network; `None`: it only says which region the zone is in.
    pub network: Option<Network>,
    /// The availability zone.
    pub zone: Arc<str>,
    /// Its region; `None`: taken from the zone's name, see [`region_of`].
    pub region: Option<Arc<str>>,
}

/// The region that an availability zone's name says it is in, as the large clouds name them: `eu-west-1` for AWS' `eu-west-1a`,
/// `us-central1` for Google's `us-central1-a`, `westeurope` for Azure's `westeurope-1`; else the zone is its own region.
pub fn region_of(zone: &str) -> &str {
    let alphanumeric = |byte: u8| byte.is_ascii_alphanumeric();
    match zone.as_bytes() {
        [.., before, last] if before.is_ascii_digit() && last.is_ascii_alphabetic() => {
            zone.get(..zone.len() - 1).unwrap_or(zone)
        }
        [_, .., b'-', last] if alphanumeric(*last) => zone.get(..zone.len() - 2).unwrap_or(zone),
        _ => zone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_told_from_the_zones_of_the_large_clouds() {
        for (zone, region) in [
            ("eu-west-1a", "eu-west-1"),
            ("us-central1-a", "us-central1"),
            ("westeurope-1", "westeurope"),
            ("rack7", "rack7"),
            ("a", "a"),
            ("-1", "-1"),
            ("", ""),
        ] {
            assert_eq!(region_of(zone), region);
        }
    }
}
