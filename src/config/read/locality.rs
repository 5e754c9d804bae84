//! Reads `[[locality]]` and `reverse`: where networks are, and whose reverse names are answered.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use crate::{
    config::{
        schema::LocalityRule,
        toml::{Item, Read, TableReader, values},
    },
    model::Network,
};

/// Longest name of a zone or region, in bytes.
const MAX_NAME: usize = 255;

/// Reads where networks are.
///
/// *Shape*: one rule for each network, and one for each availability zone without one. The region
/// of a zone, once given, is in all of its rules.
pub(super) fn localities(item: Item<'_>) -> Vec<LocalityRule> {
    let mut seen = HashMap::new();
    let mut regions: HashMap<Arc<str>, (Arc<str>, Item<'_>)> = HashMap::new();
    let rules = item.list(|element| {
        let (zone, region, networks) = locality(element, &mut seen)?;
        if let Some((region, item)) = &region {
            match regions.get(&zone) {
                Some((first, place)) if first != region => item
                    .error(format!("the zone {zone:?} is in two regions"))
                    .also(place.place(), "the other region is here")
                    .report(),
                Some(_) => {}
                None => _ = regions.insert(Arc::clone(&zone), (Arc::clone(region), *item)),
            }
        }
        let networks = networks.map_or_else(|| vec![None], |all| all.into_iter().map(Some).collect());
        let rule = move |network| LocalityRule { network, zone: Arc::clone(&zone), region: None };
        Ok(networks.into_iter().map(rule).collect::<Vec<_>>())
    });
    let mut rules: Vec<LocalityRule> = rules.into_iter().flatten().collect();
    for rule in &mut rules {
        rule.region = regions.get(&rule.zone).map(|(region, _)| Arc::clone(region));
    }
    rules
}

/// A zone, its region with the region's place, and its networks.
type LocalityParts<'a> = (Arc<str>, Option<(Arc<str>, Item<'a>)>, Option<Vec<Network>>);

fn locality<'a>(item: Item<'a>, seen: &mut HashMap<Network, Item<'a>>) -> Read<LocalityParts<'a>> {
    let mut table = TableReader::new("[[locality]]", &item)?;
    let zone = table.require("zone", "zone = \"eu-west-1a\"").and_then(name);
    let cidr = table.take("cidr");
    let region = table.take("region");
    if cidr.is_none() && region.is_none() {
        let help = "add cidr = \"10.1.0.0/16\", or region = \"eu-west-1\" to say where the zone is";
        table.is_missing(["cidr", "region"], "[[locality]] needs \"cidr\" or \"region\"", help);
    }
    table.finish();
    let networks = cidr.map(|item| {
        item.non_empty_list("network", |element| {
            let network = values::network(element)?;
            check_unique(seen, network, element)?;
            Ok(network)
        })
    });
    let region = region.map(|item| Ok((name(item)?, item))).transpose();
    Ok((zone?, region?, networks.transpose()?))
}

fn name(item: Item<'_>) -> Read<Arc<str>> {
    let text = item.text()?;
    if text.len() <= MAX_NAME {
        return Ok(text.into());
    }
    item.must_be(&format!("a string of at most {MAX_NAME} bytes"))
        .label(format!("has {} bytes", text.len()))
        .reject()
}

fn check_unique<'a>(seen: &mut HashMap<Network, Item<'a>>, network: Network, item: Item<'a>) -> Read<()> {
    match seen.insert(network, item) {
        None => Ok(()),
        Some(first) => item
            .error(format!("duplicate network \"{network}\""))
            .also(first.place(), "first defined here")
            .reject(),
    }
}

/// Reads the networks whose reverse names are answered.
///
/// *Shape*: each is a whole zone below `in-addr.arpa` (RFC 1035 section 3.5) or `ip6.arpa` (RFC
/// 3596 section 2.5), and none is within another.
pub(super) fn reverse(item: Item<'_>) -> Vec<Network> {
    let mut seen: Vec<(Network, Item<'_>)> = Vec::new();
    item.list(|element| {
        let network = values::network(element)?;
        let (step, lengths) = match network.address() {
            IpAddr::V4(_) => (8, "8, 16, 24 or 32"),
            IpAddr::V6(_) => (4, "a multiple of 4, from 4 to 128"),
        };
        let length = network.prefix_length();
        if length == 0 || length % step != 0 {
            return element
                .must_be(&format!("networks with a prefix length of {lengths}"))
                .label(format!("has {length}"))
                .help("reverse zones end at dots: write the larger network, or the smaller ones in this one")
                .reject();
        }
        let overlaps = |other: &Network| other.covers(&network) || network.covers(other);
        if let Some((other, first)) = seen.iter().find(|(other, _)| overlaps(other)) {
            return element
                .error(format!("the networks \"{other}\" and \"{network}\" overlap"))
                .also(first.place(), "the other one is here")
                .help("keep the larger one")
                .reject();
        }
        seen.push((network, element));
        Ok(network)
    })
}
