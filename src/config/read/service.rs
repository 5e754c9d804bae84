//! `[services.NAME]`: one name and where its instances come from.

use super::{
    answer_defaults::answer_settings,
    context::{NamespaceContext, ReferenceKind, is_relative, note},
    failover, member, route, subset_names,
};
use crate::{
    config::{
        schema::{Alias, MemberRule, ServiceDefinition},
        toml::{Item, TableReader, shorten},
    },
    model::Name,
};

/// Most members of a service: their places are numbers of 16 bits, of which the last one is taken.
const MAX_MEMBERS: usize = 1000;

/// Reads a service's name: one label, or `_service._proto` (RFC 2782).
pub(super) fn name(entry: Item<'_>, apex: &Name) -> Option<Name> {
    let bad = |label: String| {
        entry
            .error(format!("{:?} is not a name for a service", shorten(entry.name)))
            .at(entry.key)
            .label(label)
            .help("a service is one label, such as \"web\", or has the shape \"_ldap._tcp\"")
            .reject()
    };
    if !is_relative(entry.name) {
        return bad("it has a dot in it".to_owned());
    }
    apex.join(entry.name).map_or_else(|error| bad(error.to_string()), Some)
}

/// Reads a service that is called `name`.
pub(super) fn service(
    item: Item<'_>,
    name: Name,
    context: &NamespaceContext<'_>,
) -> Option<ServiceDefinition> {
    let mut table = TableReader::new("[services.NAME]", &item)?;
    if item.name.starts_with('_')
        && let Some(proto) = table.keys().find(|key| key.starts_with('_'))
    {
        // Without quotes the dot makes tables in tables.
        let whole = format!("{}.{proto}", item.name);
        return item
            .error(format!("{:?} must be in quotes, because it has a dot in it", shorten(&whole)))
            .help(format!("write [services.{:?}]", shorten(&whole)))
            .reject();
    }
    let answers = answer_settings(&mut table, context.defaults);
    let alias = table.take("alias");
    let own = ["from", "routes", "names", "failover", "min_healthy", "hold_down"].map(|key| table.take(key));
    let [from, routes, names, tiers, min_healthy, hold_down] = own;
    if let Some(alias) = alias {
        for item in own.into_iter().flatten() {
            item.error(format!("a service with \"alias\" has no {:?}", item.name))
                .at(item.key)
                .also((alias.scope.file, alias.key), "the alias is here")
                .help("an alias is another service under one more name: take one of the two out")
                .report();
        }
        table.finish();
        let alias = read_alias(alias, &name, context)?;
        return Some(ServiceDefinition {
            name,
            answers,
            alias: Some(alias),
            from: Vec::new(),
            routes: Vec::new(),
            failover: None,
            names: Vec::new(),
        });
    }
    if from.is_none() {
        let help = "such as from = [{ static = [\"10.0.0.5:80\"] }], or alias = \"web\"";
        table.lacks(["from", "alias"], "[services.NAME] needs \"from\"", help);
    }
    table.finish();
    let from = from.and_then(|item| members(item, context));
    let known = from.as_deref().unwrap_or_default();
    let routes = routes.map(|item| route::routes(item, known, context));
    let failover = failover::failover(tiers, [min_healthy, hold_down], known, context);
    let names = names.map(|item| subset_names::names(item, known, context));
    Some(ServiceDefinition {
        name,
        answers,
        alias: None,
        routes: routes.unwrap_or_default(),
        failover,
        names: names.unwrap_or_default(),
        from: from?,
    })
}

/// Reads where the instances come from; `None` if any member could not be read.
fn members(item: Item<'_>, context: &NamespaceContext<'_>) -> Option<Vec<MemberRule>> {
    if item.count() > MAX_MEMBERS {
        return item.error(format!("a service has at most {MAX_MEMBERS} members")).reject();
    }
    let what = "member, such as { static = [\"10.0.0.5:80\"] }";
    let members = item.non_empty_list(what, |element| member::member(element, context))?;
    (members.len() == item.count()).then_some(members)
}

/// Reads the alias of the service `name`. Whether it leads to one of our services is found out when all files are read.
fn read_alias(item: Item<'_>, name: &Name, context: &NamespaceContext<'_>) -> Option<Alias> {
    const WHAT: &str = "the name of another service of this namespace, or a full name outside of all of them";
    let text = item.text_as(WHAT)?;
    let alias = if is_relative(text) {
        context.apex.join(text).map(Alias::Service)
    } else {
        text.parse().map(Alias::External)
    };
    match alias {
        Ok(Alias::External(root)) if root == Name::root() => item.must_be(WHAT).reject(),
        Ok(alias) => {
            note(item, item.span, text, ReferenceKind::Alias(name.clone()), context);
            Some(alias)
        }
        Err(error) => item.must_be(WHAT).label(error.to_string()).reject(),
    }
}
