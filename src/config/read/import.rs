//! Reads `[[import]]`: services that follow a source's own list.

use super::{answer_settings::answer_settings, context::NamespaceContext};
use crate::{
    config::{
        schema::ImportRule,
        toml::{Item, Read, TableReader},
    },
    model::SourceKind,
};

/// Most imports of a namespace: each is known by a number of 16 bits.
const MAX_IMPORTS: usize = 1000;

/// Reads a namespace's imports; leaves out those that are wrong.
pub(super) fn imports(item: Item<'_>, context: &NamespaceContext<'_>) -> Vec<ImportRule> {
    if item.value.as_array().is_some_and(|array| array.len() > MAX_IMPORTS) {
        item.error(format!("a namespace has at most {MAX_IMPORTS} imports")).report();
        return Vec::new();
    }
    item.list(|element| import(element, context))
}

fn import(item: Item<'_>, context: &NamespaceContext<'_>) -> Read<ImportRule> {
    let pattern = |element: Item<'_>| element.text().map(str::to_owned);
    let mut table = TableReader::new("[[import]]", &item)?;
    let source = table.require("consul", "consul = \"vms\"");
    let source = source.and_then(|item| context.sources.get(item, SourceKind::Consul));
    let include =
        table.read_or("include", vec!["*".to_owned()], |item| item.non_empty_list("pattern", pattern));
    let exclude = table.take("exclude").map(|item| item.list(pattern));
    let answers = answer_settings(&mut table, context.defaults);
    table.finish();
    Ok(ImportRule { source: source?, include, exclude: exclude.unwrap_or_default(), answers })
}
