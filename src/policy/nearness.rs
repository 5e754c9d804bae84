//! Nearness: instances of the asker's own zone or region first, while enough of them are fit.

use std::{collections::BTreeMap, sync::Arc};

use super::{accept::Eligibility, candidate::Candidate};
use crate::{
    config::{AnswerSettings, LocalityRule, Near, Nearness, region_of},
    model::Network,
};

/// Where an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locality {
    /// Its availability zone.
    pub zone: Arc<str>,
    /// The region of that.
    pub region: Arc<str>,
}

/// Where addresses are, as far as the configuration says it.
#[derive(Clone, Debug, Default)]
pub struct Localities {
    /// Longest prefixes first.
    networks: Vec<(Network, Locality)>,
    regions: BTreeMap<Arc<str>, Arc<str>>,
}

impl Localities {
    /// Sorts the rules of a configuration.
    pub fn new(rules: &[LocalityRule]) -> Self {
        let region = |rule: &LocalityRule| Some((Arc::clone(&rule.zone), Arc::clone(rule.region.as_ref()?)));
        let mut sorted = Self { networks: Vec::new(), regions: rules.iter().filter_map(region).collect() };
        for rule in rules {
            sorted.networks.extend(rule.network.map(|network| (network, sorted.of_zone(&rule.zone))));
        }
        sorted.networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.length()));
        sorted
    }

    /// Where the configuration puts all of a network.
    pub fn around(&self, network: &Network) -> Option<&Locality> {
        self.networks.iter().find(|(outer, _)| outer.covers(network)).map(|(_, locality)| locality)
    }

    /// A zone with its region.
    pub fn of_zone(&self, zone: &Arc<str>) -> Locality {
        let region = self.regions.get(zone).cloned();
        let region = region.unwrap_or_else(|| region_of(zone).into());
        Locality { zone: Arc::clone(zone), region }
    }
}

/// Who is answered to askers from somewhere: rings around them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rings<'a> {
    /// By zone, sorted: those of the zone, where enough of them are fit.
    pub zones: Vec<(Arc<str>, Vec<&'a Candidate>)>,
    /// By region, sorted: those of the region, likewise.
    pub regions: Vec<(Arc<str>, Vec<&'a Candidate>)>,
}

/// The ring that a client at `locality` is answered from: that of its zone, else that of its region.
///
/// Rings are sets by place, as the plan and the compiled pools have them. `None`: it is answered from
/// the whole group. *Cost*: a look at each ring.
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

/// Draws the rings: `all` are the candidates in question, `accepted` those of them that are answered when nearness does not matter.
pub(super) fn rings<'a>(
    nearness: Nearness,
    all: &[&'a Candidate],
    accepted: &[&'a Candidate],
    answers: &AnswerSettings,
    localities: &Localities,
) -> Rings<'a> {
    let zone = |candidate: &Candidate| candidate.locality.clone();
    let region =
        |candidate: &Candidate| candidate.locality.as_ref().map(|zone| localities.of_zone(zone).region);
    let ring = |place: &dyn Fn(&Candidate) -> Option<Arc<str>>| {
        let mut eligibility: BTreeMap<Arc<str>, Vec<&'a Candidate>> = BTreeMap::new();
        for candidate in all {
            if let Some(place) = place(candidate) {
                eligibility.entry(place).or_default().push(candidate);
            }
        }
        let here = |at: &Arc<str>| -> Vec<&'a Candidate> {
            accepted.iter().copied().filter(|candidate| place(candidate).as_ref() == Some(at)).collect()
        };
        eligibility
            .into_iter()
            .filter(|(_, all)| {
                !Eligibility::count(all.iter().copied(), answers).is_below(nearness.spill_below)
            })
            .map(|(at, _)| (here(&at), at))
            .filter(|(here, _)| !here.is_empty())
            .map(|(here, at)| (at, here))
            .collect::<Vec<_>>()
    };
    Rings {
        zones: if nearness.prefer == Near::Zone { ring(&zone) } else { Vec::new() },
        regions: ring(&region),
    }
}
