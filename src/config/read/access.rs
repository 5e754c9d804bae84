//! Reads `[access]`: which clients are answered, and how often.

use toml::de::DeValue;

use crate::{
    config::{
        schema::{AccessSettings, Cookies, OverLimit, ResponseLimit},
        toml::{Item, Read, TableReader, values},
    },
    model::Network,
};

/// Highest rate, per second.
const MAX_RATE: i64 = 1_000_000;

/// Reads `[access]`.
pub(super) fn access(item: Item<'_>) -> Read<AccessSettings> {
    let words = [("refuse", OverLimit::Refuse), ("drop", OverLimit::Drop)];
    let default = AccessSettings::default();
    let mut table = TableReader::new("[access]", &item)?;
    let access = AccessSettings {
        allow: table.read_or("allow", default.allow, networks),
        forward: table.read_or("forward", default.forward, forward),
        deny: table.read_or("deny", default.deny, networks),
        longest_query: table.read_or("longest_query", default.longest_query, |item| item.number(64, 65_535)),
        queries_per_second: table.read_or("queries_per_second", default.queries_per_second, rate),
        over_limit: table.read_or("over_limit", default.over_limit, |item| item.word(&words)),
        responses: table.read_or("responses", default.responses, responses),
        cookies: table.read_or("cookies", default.cookies, cookies),
    };
    table.finish();
    Ok(access)
}

fn forward(item: Item<'_>) -> Read<Vec<Network>> {
    let networks = networks(item)?;
    if networks.iter().any(|network| network.prefix_length() == 0) {
        item.scope
            .warning(item.span, "external names are forwarded for every address: this is an open resolver")
            .help("list your clients' networks; attackers find open resolvers and flood others through them")
            .report();
    }
    Ok(networks)
}

fn responses(item: Item<'_>) -> Read<ResponseLimit> {
    let default = ResponseLimit::default();
    let mut table = TableReader::new("[access.responses]", &item)?;
    let limit = ResponseLimit {
        per_second: table.read_or("per_second", default.per_second, rate),
        slip: table.read_or("slip", default.slip, |item| item.number(0, 100)),
        v4_prefix: table.read_or("v4_prefix", default.v4_prefix, |item| item.number(1, 32)),
        v6_prefix: table.read_or("v6_prefix", default.v6_prefix, |item| item.number(1, 128)),
        exempt: table.read_or("exempt", default.exempt, networks),
    };
    table.finish();
    Ok(limit)
}

fn cookies(item: Item<'_>) -> Read<Cookies> {
    let default = Cookies::default();
    let mut table = TableReader::new("[access.cookies]", &item)?;
    let enabled = table.read_or("enabled", default.enabled, |item| item.boolean());
    let required = table.read_or("required", default.required, |item| {
        let required = item.boolean()?;
        if required && !enabled {
            return item
                .error("cookies cannot be required unless they are enabled")
                .help("remove \"enabled\" or \"required\"")
                .reject();
        }
        Ok(required)
    });
    table.finish();
    Ok(Cookies { enabled, required })
}

/// Reads a rate per second; 0 is no limit.
fn rate(item: Item<'_>) -> Read<Option<u32>> {
    let rate: u32 = item.number(0, MAX_RATE)?;
    Ok((rate > 0).then_some(rate))
}

/// Reads networks; `private` and `any` stand for several. Leaves out those that are wrong.
fn networks(item: Item<'_>) -> Read<Vec<Network>> {
    let read = item.list(|element| match element.value {
        DeValue::String(word) if word == "private" => Ok(AccessSettings::PRIVATE.to_vec()),
        DeValue::String(word) if word == "any" => Ok(AccessSettings::ANY.to_vec()),
        _ => values::network(element).map(|network| vec![network]),
    });
    Ok(read.into_iter().flatten().collect())
}
