//! Reads the keys about answers that a namespace, its services and its imports share.

use crate::{
    config::{
        schema::{AnswerOrder, AnswerSettings, Near, Nearness, WhenAllUnhealthy},
        toml::{Item, Read, TableReader, percent, values},
    },
    model::{Health, HealthSet},
};

/// Highest `max_answers`.
const MAX_ANSWERS: i64 = 1000;

/// The words of `order`.
const ORDERS: [(&str, AnswerOrder); 3] =
    [("rotate", AnswerOrder::Rotate), ("random", AnswerOrder::Random), ("weighted", AnswerOrder::Weighted)];

/// Reads the answer settings among the keys of `table`; the rest are those of `above`.
pub(super) fn answer_settings(table: &mut TableReader<'_>, above: &AnswerSettings) -> AnswerSettings {
    let words = [("all", WhenAllUnhealthy::All), ("none", WhenAllUnhealthy::None)];
    AnswerSettings {
        ttl: table.read_or("ttl", above.ttl, values::ttl),
        accept: table.read_or("accept", above.accept, accept),
        when_all_unhealthy: table
            .read_or("when_all_unhealthy", above.when_all_unhealthy, |item| item.word(&words)),
        max_answers: table.read_or("max_answers", above.max_answers, |item| item.number(1, MAX_ANSWERS)),
        panic_threshold: table.read_or("panic_threshold", above.panic_threshold, |item| percent(item, 0)),
        order: table.read_or("order", above.order, |item| item.word(&ORDERS)),
        nearness: nearness(table, above.nearness).unwrap_or_default(),
        txt: table.read_or("txt", above.txt, |item| item.boolean()),
    }
}

fn accept(item: Item<'_>) -> Read<HealthSet> {
    let words = Health::ALL.map(|health| (health.as_str(), health));
    let states = item.non_empty_list("health state", |element| element.word(&words))?;
    Ok(states.into_iter().collect())
}

/// Reads `prefer` and `spill_below`.
fn nearness(table: &mut TableReader<'_>, above: Option<Nearness>) -> Read<Option<Nearness>> {
    let words = [("zone", Some(Near::Zone)), ("region", Some(Near::Region)), ("none", None)];
    let prefer = table.take("prefer");
    let spill = table.take("spill_below");
    let spill_below = spill.map(|item| percent(item, 1)).transpose();
    let near = match prefer {
        None => above.map(|above| above.prefer),
        Some(item) => item.word(&words)?,
    };
    match (near, spill) {
        (Some(prefer), _) => {
            let above = above.map_or(Nearness::DEFAULT_SPILL_BELOW, |above| above.spill_below);
            Ok(Some(Nearness { prefer, spill_below: spill_below?.unwrap_or(above) }))
        }
        (None, Some(item)) => item
            .error("\"spill_below\" needs \"prefer\"")
            .at(item.key)
            .help("add prefer = \"zone\" or prefer = \"region\", or remove this")
            .reject(),
        (None, None) => Ok(None),
    }
}
