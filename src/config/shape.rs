//! What answers look like: keys that a namespace, its services and its imports share.

use super::{
    types::{Shape, WhenAllUnhealthy},
    values,
    walk::{Item, Table},
};
use crate::model::{Health, HealthSet};

/// Most records that `max_answers` may ask for.
const MAX_ANSWERS: i64 = 1000;

/// Reads the shape's keys of `table`; what is left out is as in `above`.
pub(super) fn shape(table: &mut Table<'_>, above: &Shape) -> Shape {
    let words = [("all", WhenAllUnhealthy::All), ("none", WhenAllUnhealthy::None)];
    let max_answers = |item: Item<'_>| item.number(1, MAX_ANSWERS).and_then(|max| usize::try_from(max).ok());
    Shape {
        ttl: table.take("ttl").and_then(values::ttl).unwrap_or(above.ttl),
        accept: table.take("accept").and_then(accept).unwrap_or(above.accept),
        when_all_unhealthy: table
            .take("when_all_unhealthy")
            .and_then(|item| item.word(&words))
            .unwrap_or(above.when_all_unhealthy),
        max_answers: table.take("max_answers").and_then(max_answers).unwrap_or(above.max_answers),
        panic_threshold: above.panic_threshold,
        order: above.order,
        nearness: above.nearness,
        txt: above.txt,
    }
}

fn accept(item: Item<'_>) -> Option<HealthSet> {
    let words = Health::ALL.map(|health| (health.as_str(), health));
    let states = item.non_empty_list("health state", |element| element.word(&words))?;
    Some(states.into_iter().collect())
}
