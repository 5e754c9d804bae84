//! Reads `[access]`: who may ask, and how much.

use toml::de::DeValue;

use crate::{
    config::{
        schema::{AccessSettings, Cookies, OverLimit, ResponseLimit},
        toml::{Item, TableReader, values},
    },
    model::Network,
};

/// Highest rate that can be asked for, a second.
const MAX_RATE: i64 = 1_000_000;

/// Reads `[access]`.
pub(super) fn access(item: Item<'_>) -> Option<AccessSettings> {
    let default = AccessSettings::default();
    let mut table = TableReader::new("[access]", &item)?;
    let allow = table.take("allow").map(networks).unwrap_or(default.allow);
    let forward = table.take("forward").map(|item| {
        let networks = networks(item);
        if networks.iter().any(|network| network.prefix_length() == 0) {
            item.scope
                .warning(item.span, "other names are forwarded for every address: this is an open resolver")
                .help("name the networks of your clients; open resolvers are found and used to flood others")
                .report();
        }
        networks
    });
    let deny = table.take("deny").map(networks).unwrap_or_default();
    let longest_query = table
        .take("longest_query")
        .and_then(|item| item.number(64, 65_535))
        .and_then(|length| usize::try_from(length).ok());
    let queries_per_second = table.take("queries_per_second").and_then(rate);
    let words = [("refuse", OverLimit::Refuse), ("drop", OverLimit::Drop)];
    let over_limit = table.take("over_limit").and_then(|item| item.word(&words));
    let responses = table.take("responses").and_then(responses);
    let cookies = table.take("cookies").and_then(cookies);
    table.finish();
    Some(AccessSettings {
        allow,
        forward: forward.unwrap_or(default.forward),
        deny,
        longest_query: longest_query.unwrap_or(default.longest_query),
        queries_per_second: queries_per_second.unwrap_or(default.queries_per_second),
        over_limit: over_limit.unwrap_or_default(),
        responses: responses.unwrap_or_default(),
        cookies: cookies.unwrap_or_default(),
    })
}

fn responses(item: Item<'_>) -> Option<ResponseLimit> {
    let default = ResponseLimit::default();
    let mut table = TableReader::new("[access.responses]", &item)?;
    let prefix = |item: Item<'_>, max| item.number(1, max).and_then(|length| u8::try_from(length).ok());
    let per_second = table.take("per_second").and_then(rate);
    let slip =
        table.take("slip").and_then(|item| item.number(0, 100)).and_then(|slip| u32::try_from(slip).ok());
    let v4_prefix = table.take("v4_prefix").and_then(|item| prefix(item, 32));
    let v6_prefix = table.take("v6_prefix").and_then(|item| prefix(item, 128));
    let exempt = table.take("exempt").map(networks);
    table.finish();
    Some(ResponseLimit {
        per_second: per_second.unwrap_or(default.per_second),
        slip: slip.unwrap_or(default.slip),
        v4_prefix: v4_prefix.unwrap_or(default.v4_prefix),
        v6_prefix: v6_prefix.unwrap_or(default.v6_prefix),
        exempt: exempt.unwrap_or(default.exempt),
    })
}

fn cookies(item: Item<'_>) -> Option<Cookies> {
    let default = Cookies::default();
    let mut table = TableReader::new("[access.cookies]", &item)?;
    let enabled = table.take("enabled").and_then(|item| item.boolean()).unwrap_or(default.enabled);
    let required = table.take("required").and_then(|item| {
        let required = item.boolean()?;
        if required && !enabled {
            return item
                .error("cookies cannot be required and not enabled")
                .help("take \"enabled\" out, or \"required\"")
                .reject();
        }
        Some(required)
    });
    table.finish();
    Some(Cookies { enabled, required: required.unwrap_or(default.required) })
}

/// Reads a rate, a second; 0: no limit.
fn rate(item: Item<'_>) -> Option<Option<u32>> {
    let rate = item.number(0, MAX_RATE).and_then(|rate| u32::try_from(rate).ok())?;
    Some((rate > 0).then_some(rate))
}

/// Reads networks; `private` and `any` stand for several.
fn networks(item: Item<'_>) -> Vec<Network> {
    let read = item.list(|element| match element.value {
        DeValue::String(word) if word == "private" => Some(AccessSettings::PRIVATE.to_vec()),
        DeValue::String(word) if word == "any" => Some(AccessSettings::ANY.to_vec()),
        _ => values::network(element).map(|network| vec![network]),
    });
    read.into_iter().flatten().collect()
}
