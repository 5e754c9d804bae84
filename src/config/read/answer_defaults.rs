//! What answers look like: keys that a namespace, its services and its imports share.

use crate::{
    config::{
        schema::{AnswerOrder, AnswerSettings, Near, Nearness, WhenAllUnhealthy},
        toml::{Item, TableReader, percent, values},
    },
    model::{Health, HealthSet},
};

/// Most records that `max_answers` may ask for.
const MAX_ANSWERS: i64 = 1000;

/// The words of `order`.
const ORDERS: [(&str, AnswerOrder); 3] =
    [("rotate", AnswerOrder::Rotate), ("random", AnswerOrder::Random), ("weighted", AnswerOrder::Weighted)];

/// Reads the answer settings among the keys of `table`; what is left out is as in `above`.
pub(super) fn answer_settings(table: &mut TableReader<'_>, above: &AnswerSettings) -> AnswerSettings {
    let words = [("all", WhenAllUnhealthy::All), ("none", WhenAllUnhealthy::None)];
    let max_answers = |item: Item<'_>| item.number(1, MAX_ANSWERS).and_then(|max| usize::try_from(max).ok());
    AnswerSettings {
        ttl: table.take("ttl").and_then(values::ttl).unwrap_or(above.ttl),
        accept: table.take("accept").and_then(accept).unwrap_or(above.accept),
        when_all_unhealthy: table
            .take("when_all_unhealthy")
            .and_then(|item| item.word(&words))
            .unwrap_or(above.when_all_unhealthy),
        max_answers: table.take("max_answers").and_then(max_answers).unwrap_or(above.max_answers),
        panic_threshold: table
            .take("panic_threshold")
            .and_then(|item| percent(item, 0))
            .unwrap_or(above.panic_threshold),
        order: table.take("order").and_then(|item| item.word(&ORDERS)).unwrap_or(above.order),
        nearness: nearness(table, above.nearness),
        txt: table.take("txt").and_then(|item| item.boolean()).unwrap_or(above.txt),
    }
}

fn accept(item: Item<'_>) -> Option<HealthSet> {
    let words = Health::ALL.map(|health| (health.as_str(), health));
    let states = item.non_empty_list("health state", |element| element.word(&words))?;
    Some(states.into_iter().collect())
}

/// Reads `prefer` and `spill_below`.
fn nearness(table: &mut TableReader<'_>, above: Option<Nearness>) -> Option<Nearness> {
    let words = [("zone", Some(Near::Zone)), ("region", Some(Near::Region)), ("none", None)];
    let prefer = table.take("prefer");
    let spill = table.take("spill_below");
    let spill_below = spill.and_then(|item| percent(item, 1));
    let near = match prefer {
        None => above.map(|above| above.prefer),
        Some(item) => item.word(&words)?,
    };
    match (near, spill) {
        (Some(prefer), _) => {
            let above = above.map_or(Nearness::DEFAULT_SPILL_BELOW, |above| above.spill_below);
            Some(Nearness { prefer, spill_below: spill_below.unwrap_or(above) })
        }
        (None, Some(item)) => item
            .error("\"spill_below\" needs \"prefer\"")
            .at(item.key)
            .help("add prefer = \"zone\" or prefer = \"region\" beside it, or take this out")
            .reject(),
        (None, None) => None,
    }
}
