//! Nearness: answering clients from their own availability zone or region, while it has enough.

use std::{collections::BTreeMap, sync::Arc};

use super::{accept::Eligibility, candidate::Candidate};
use crate::{
    config::{AnswerSettings, LocalityRule, Near, Nearness, region_of},
    model::Network,
};

/// The location of an instance or a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locality {
    /// The availability zone.
    pub zone: Arc<str>,
    /// The availability zone's region.
    pub region: Arc<str>,
}

/// The configured localities: `[[locality]]`.
#[derive(Clone, Debug, Default)]
pub struct Localities {
    /// Longest prefixes first.
    networks: Vec<(Network, Locality)>,
    /// By availability zone.
    regions: BTreeMap<Arc<str>, Arc<str>>,
}

impl Localities {
    /// Compiles the localities of a configuration.
    pub fn new(rules: &[LocalityRule]) -> Self {
        let region = |rule: &LocalityRule| Some((Arc::clone(&rule.zone), Arc::clone(rule.region.as_ref()?)));
        let mut sorted = Self { networks: Vec::new(), regions: rules.iter().filter_map(region).collect() };
        for rule in rules {
            sorted.networks.extend(rule.network.map(|network| (network, sorted.of_zone(&rule.zone))));
        }
        sorted.networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.length()));
        sorted
    }

    /// The locality of the longest configured network that covers all of `network`.
    pub fn around(&self, network: &Network) -> Option<&Locality> {
        self.networks.iter().find(|(outer, _)| outer.covers(network)).map(|(_, locality)| locality)
    }

    /// The locality of an availability zone; a region that is not configured is taken from its
    /// name.
    pub fn of_zone(&self, zone: &Arc<str>) -> Locality {
        let region = self.regions.get(zone).cloned();
        let region = region.unwrap_or_else(|| region_of(zone).into());
        Locality { zone: Arc::clone(zone), region }
    }
}

/// The candidates of a group by place. A client is answered from the [nearest](nearest_ring) ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rings<'a> {
    /// By availability zone, sorted; only zones with enough eligible candidates. Never empty lists.
    pub zones: Vec<(Arc<str>, Vec<&'a Candidate>)>,
    /// By region, likewise.
    pub regions: Vec<(Arc<str>, Vec<&'a Candidate>)>,
}

/// Returns the ring for a client at `locality`: that of its availability zone, else of its region.
///
/// `None`: the client is answered from the whole group. The plan and the compiled pools both keep
/// their sets by place. *Cost*: a comparison for each ring.
pub fn nearest_ring<'r, T>(
    zones: &'r [(Arc<str>, T)],
    regions: &'r [(Arc<str>, T)],
    locality: Option<&Locality>,
) -> Option<(Near, &'r T)> {
    let Locality { zone, region } = locality?;
    let ring = |rings: &'r [(Arc<str>, T)], place: &Arc<str>| {
        rings.iter().find(|(at, _)| at == place).map(|(_, ring)| ring)
    };
    let of_zone = ring(zones, zone).map(|ring| (Near::Zone, ring));
    of_zone.or_else(|| ring(regions, region).map(|ring| (Near::Region, ring)))
}

/// Divides a group into rings: `members` are its candidates, `answered` those that clients far away
/// get.
pub(super) fn rings<'a>(
    nearness: Nearness,
    members: &[&'a Candidate],
    answered: &[&'a Candidate],
    answers: &AnswerSettings,
    localities: &Localities,
) -> Rings<'a> {
    let zone = |candidate: &Candidate| candidate.locality.clone();
    let region =
        |candidate: &Candidate| candidate.locality.as_ref().map(|zone| localities.of_zone(zone).region);
    let by_place = |place_of: &dyn Fn(&Candidate) -> Option<Arc<str>>| {
        let mut places: BTreeMap<Arc<str>, Eligibility> = BTreeMap::new();
        for candidate in members {
            if let Some(place) = place_of(candidate) {
                let count = places.entry(place).or_default();
                *count = *count + Eligibility::count([*candidate], answers);
            }
        }
        places.retain(|_, count| !count.is_below(nearness.spill_below));
        let in_place = |place: &Arc<str>| -> Vec<&'a Candidate> {
            let is_there = |candidate: &&Candidate| place_of(candidate).as_ref() == Some(place);
            answered.iter().copied().filter(is_there).collect()
        };
        let rings = places.into_keys().map(|place| (in_place(&place), place));
        rings.filter(|(ring, _)| !ring.is_empty()).map(|(ring, place)| (place, ring)).collect::<Vec<_>>()
    };
    Rings {
        zones: if nearness.prefer == Near::Zone { by_place(&zone) } else { Vec::new() },
        regions: by_place(&region),
    }
}
