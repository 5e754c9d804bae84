//! `alias` of a service: that it is another name.

use super::{references, routing::Alias, walk::Item, zone::Context};
use crate::model::Name;

/// Reads the alias of the service `name`. Whether it leads to one of our services is found out when all files are read.
pub(super) fn alias(item: Item<'_>, name: &Name, context: &Context<'_>) -> Option<Alias> {
    const WHAT: &str = "the name of another service of this namespace, or a full name outside of all of them";
    let text = item.text_as(WHAT)?;
    let alias = if references::is_relative(text) {
        context.apex.join(text).map(Alias::Service)
    } else {
        text.parse().map(Alias::Outside)
    };
    match alias {
        Ok(Alias::Outside(root)) if root == Name::root() => item.must_be(WHAT).reject(),
        Ok(alias) => {
            references::alias(item, name.clone(), context);
            Some(alias)
        }
        Err(error) => item.must_be(WHAT).label(error.to_string()).reject(),
    }
}
