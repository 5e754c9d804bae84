//! Reads `[[import]]`: services that follow a source's own list.

use super::{answer_defaults::answer_settings, context::NamespaceContext};
use crate::{
    config::{
        schema::ImportRule,
        toml::{Item, TableReader},
    },
    model::SourceKind,
};

/// Most imports of a namespace: their places are numbers of 16 bits.
const MAX_IMPORTS: usize = 1000;

pub(super) fn read_imports(item: Item<'_>, context: &NamespaceContext<'_>) -> Vec<ImportRule> {
    if item.value.as_array().is_some_and(|array| array.len() > MAX_IMPORTS) {
        item.error(format!("a namespace has at most {MAX_IMPORTS} imports")).report();
        return Vec::new();
    }
    item.list(|element| import(element, context))
}

fn import(item: Item<'_>, context: &NamespaceContext<'_>) -> Option<ImportRule> {
    let mut table = TableReader::new("[[import]]", &item)?;
    let source = table.require("consul", "consul = \"vms\"");
    let source = source.and_then(|item| context.sources.named(item, SourceKind::Consul));
    let patterns = |item: Item<'_>| item.list(|element| element.text().map(str::to_owned));
    let include = table
        .take("include")
        .and_then(|item| item.non_empty_list("pattern", |element| element.text().map(str::to_owned)));
    let exclude = table.take("exclude").map(patterns);
    let answers = answer_settings(&mut table, context.defaults);
    table.finish();
    Some(ImportRule {
        source: source?,
        include: include.unwrap_or_else(|| vec!["*".to_owned()]),
        exclude: exclude.unwrap_or_default(),
        answers,
    })
}
