//! `routes` of a service: which clients get which weighted groups. Checked only: nothing applies them yet.

use super::{
    values,
    walk::{Item, Table},
};

/// Checks a service's routes and warns that they are not applied.
pub(super) fn routes(item: Item<'_>) {
    let message = "not applied yet: \"routes\" is checked, but every client gets the plain rotation";
    item.scope.warning(item.key, message).report();
    item.list(route);
}

fn route(item: Item<'_>) -> Option<()> {
    let mut table = Table::new("a route", &item)?;
    table.take("clients").and_then(clients);
    if let Some(split) = table.require("split", "split = [{ labels = { version = \"v1\" }, weight = 90 }]") {
        let weights = split.non_empty_list("group", group);
        if weights.is_some_and(|weights| weights.iter().all(|weight| *weight == 0)) {
            split.error("\"split\" needs a weight above 0").label("every weight is 0").report();
        }
    }
    table.finish();
    Some(())
}

fn clients(item: Item<'_>) -> Option<()> {
    let mut table = Table::new("a route's clients", &item)?;
    table.require("service", "service = \"web\"").and_then(values::name);
    table.finish();
    Some(())
}

fn group(item: Item<'_>) -> Option<u16> {
    let mut table = Table::new("a route's group", &item)?;
    table.require("labels", "labels = { version = \"v1\" }").and_then(values::labels);
    let weight = table.require("weight", "weight = 90").and_then(values::weight);
    table.finish();
    weight
}
