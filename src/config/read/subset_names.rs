//! Reads `names` of a service: additional names for some of its instances.

use super::{
    context::{NamespaceContext, ReferenceKind},
    filter::filter,
};
use crate::{
    config::{
        schema::{MemberRule, SubsetName},
        toml::{Item, Read, TableReader, shorten},
    },
    model::Name,
};

/// Reads a service's subset names, sorted by name; leaves out those that are wrong.
pub(super) fn subset_names(
    item: Item<'_>,
    from: &[MemberRule],
    context: &NamespaceContext<'_>,
) -> Vec<SubsetName> {
    let expected = "a table of names, such as { \"v2.web\" = { labels = { version = \"v2\" } } }";
    let entries = item.entries(expected).unwrap_or_default();
    let mut names: Vec<_> =
        entries.into_iter().filter_map(|entry| subset_name(entry, from, context).ok()).collect();
    names.sort_by_cached_key(|name| name.name.to_string());
    names
}

fn subset_name(entry: Item<'_>, from: &[MemberRule], context: &NamespaceContext<'_>) -> Read<SubsetName> {
    let name = name(entry, context);
    let mut table = TableReader::new("a subset name", &entry)?;
    let filter = filter(&mut table, from, context);
    // A misspelled key is an error of its own, and the filter is only empty because of it.
    let is_misspelled = table.keys().any(|key| key != "labels");
    table.finish();
    let filter = filter?;
    if filter.matches_all() && !is_misspelled {
        return entry
            .error("a subset name must say which instances it has")
            .label("matches every instance")
            .help(
                "such as { labels = { version = \"v2\" } }; for all of them, write a service with \"alias\"",
            )
            .reject();
    }
    Ok(SubsetName { name: name?, filter })
}

/// Reads the key: one or two labels below the apex.
fn name(entry: Item<'_>, context: &NamespaceContext<'_>) -> Read<Name> {
    let bad = |label: &str| {
        entry
            .error(format!("{:?} is not a subset name", shorten(entry.name)))
            .at(entry.key)
            .label(label)
            .help("use one or two labels below the namespace, in quotes, such as \"v2.web\"")
            .reject()
    };
    if entry.name.split('.').count() > 2 {
        return bad("has more than two labels");
    }
    // RFC 2782: such labels are those of SRV names, which services and their ports have.
    if entry.name.split('.').any(|label| label.starts_with('_')) {
        return bad("a label begins with \"_\"");
    }
    match context.apex.join(entry.name) {
        Ok(name) => {
            context.refer_by_key(entry, ReferenceKind::Subset(name.clone()));
            Ok(name)
        }
        Err(error) => bad(&error.to_string()),
    }
}
