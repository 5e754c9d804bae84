//! `[[locality]]` and `reverse` of muster.toml: where networks are, and whose reverse names are answered.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use crate::{
    config::{
        schema::LocalityRule,
        toml::{Item, TableReader, values},
    },
    model::Network,
};

/// Longest name of a zone or region, in bytes.
const MAX_NAME: usize = 255;

/// Reads where networks are: one rule for each network, and one for each zone of which only the region is said. A zone's
/// region, said once, is in all of its rules.
pub(super) fn localities(item: Item<'_>) -> Vec<LocalityRule> {
    let mut networks: HashMap<Network, Item<'_>> = HashMap::new();
    let mut regions: HashMap<Arc<str>, (Arc<str>, Item<'_>)> = HashMap::new();
    let rules = item.list(|element| {
        let mut table = TableReader::new("[[locality]]", &element)?;
        let cidr = table.take("cidr");
        let zone = table.require("zone", "zone = \"eu-west-1a\"").and_then(name);
        let region = table.take("region");
        if cidr.is_none() && region.is_none() {
            let help =
                "such as cidr = \"10.1.0.0/16\"; or a region, if it only says which one the zone is in";
            table.lacks(["cidr", "region"], "[[locality]] needs \"cidr\" or \"region\"", help);
        }
        table.finish();
        let given = cidr.and_then(|item| {
            item.non_empty_list("network", |element| {
                let network = values::network(element)?;
                once(&mut networks, network, element)?;
                Some(Some(network))
            })
        });
        let region = region.and_then(|item| Some((name(item)?, item)));
        let zone = zone?;
        if let Some((region, item)) = &region {
            match regions.get(&zone) {
                Some((first, place)) if first != region => item
                    .error(format!("the zone {zone:?} is in two regions"))
                    .also(place.place(), "the other one is here")
                    .report(),
                Some(_) => {}
                None => _ = regions.insert(Arc::clone(&zone), (Arc::clone(region), *item)),
            }
        }
        let networks = given.unwrap_or_else(|| vec![None]).into_iter();
        let rule = move |network| LocalityRule { network, zone: Arc::clone(&zone), region: None };
        Some(networks.map(rule).collect::<Vec<_>>())
    });
    let mut rules: Vec<LocalityRule> = rules.into_iter().flatten().collect();
    for rule in &mut rules {
        rule.region = regions.get(&rule.zone).map(|(region, _)| Arc::clone(region));
    }
    rules
}

fn name(item: Item<'_>) -> Option<Arc<str>> {
    let text = item.text()?;
    if text.len() <= MAX_NAME {
        return Some(text.into());
    }
    item.must_be(&format!("a text of at most {MAX_NAME} bytes")).label("longer than that").reject()
}

fn once<'a>(seen: &mut HashMap<Network, Item<'a>>, network: Network, item: Item<'a>) -> Option<()> {
    match seen.insert(network, item) {
        None => Some(()),
        Some(first) => item
            .error(format!("the network \"{network}\" is there twice"))
            .also(first.place(), "the first one is here")
            .reject(),
    }
}

/// Reads the networks whose reverse names are answered: each is a whole zone below `in-addr.arpa` (RFC 1035 section 3.5) or
/// `ip6.arpa` (RFC 3596 section 2.5), and none is within another.
pub(super) fn reverse(item: Item<'_>) -> Vec<Network> {
    let mut seen: Vec<(Network, Item<'_>)> = Vec::new();
    item.list(|element| {
        let network = values::network(element)?;
        let (step, what) = match network.address() {
            IpAddr::V4(_) => (8, "8, 16, 24 or 32"),
            IpAddr::V6(_) => (4, "a multiple of 4, from 4 to 128"),
        };
        let length = network.prefix_length();
        if length == 0 || length % step != 0 {
            return element
                .must_be(&format!("networks with a prefix length of {what}"))
                .label(format!("has {length}"))
                .help("reverse names are cut at dots: write the network around it, or the smaller ones in it")
                .reject();
        }
        if let Some((other, first)) =
            seen.iter().find(|(other, _)| other.covers(&network) || network.covers(other))
        {
            return element
                .error(format!("the networks \"{other}\" and \"{network}\" overlap"))
                .also(first.place(), "the other one is here")
                .help("the larger one is enough")
                .reject();
        }
        seen.push((network, element));
        Some(network)
    })
}
