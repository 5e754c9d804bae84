//! `names` of a service: further names for some of its instances.

use super::{
    context::{NamespaceContext, ReferenceKind, note},
    filter::{filter, takes_all},
};
use crate::{
    config::{
        schema::{MemberRule, SubsetName},
        toml::{Item, TableReader, shorten},
    },
    model::Name,
};

/// Reads a service's further names, in the order of their names.
pub(super) fn names(item: Item<'_>, from: &[MemberRule], context: &NamespaceContext<'_>) -> Vec<SubsetName> {
    let what = "a table of names, such as { \"v2.web\" = { labels = { version = \"v2\" } } }";
    let mut names: Vec<_> = item
        .entries(what)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|entry| {
            let name = name(entry, context);
            let mut table = TableReader::new("a further name", &entry)?;
            let filter = filter(&mut table, from, context);
            // A misspelt key is reported as such.
            let is_misspelt = table.keys().any(|key| key != "labels");
            table.finish();
            let filter = filter?;
            if takes_all(&filter) && !is_misspelt {
                return entry
                    .error("a further name must say which instances it has")
                    .label("says nothing")
                    .help("such as { labels = { version = \"v2\" } }; for all of them write a service with \"alias\"")
                    .reject();
            }
            Some(SubsetName { name: name?, filter })
        })
        .collect();
    names.sort_by_cached_key(|name| name.name.to_string());
    names
}

/// Reads the key: one or two labels below the apex.
fn name(entry: Item<'_>, context: &NamespaceContext<'_>) -> Option<Name> {
    let bad = |label: String| {
        entry
            .error(format!("{:?} is not a further name", shorten(entry.name)))
            .at(entry.key)
            .label(label)
            .help("it is one or two labels below the namespace, in quotes, such as \"v2.web\"")
            .reject()
    };
    if entry.name.split('.').count() > 2 {
        return bad("it has more than two labels".to_owned());
    }
    // RFC 2782: such labels are those of SRV names, which services and their ports have.
    if entry.name.split('.').any(|label| label.starts_with('_')) {
        return bad("a label begins with \"_\"".to_owned());
    }
    match context.apex.join(entry.name) {
        Ok(name) => {
            note(entry, entry.key, entry.name, ReferenceKind::Further(name.clone()), context);
            Some(name)
        }
        Err(error) => bad(error.to_string()),
    }
}
