//! Reads `[services.NAME]`: one name and where its instances come from.

use super::{
    answer_settings::answer_settings,
    context::{NamespaceContext, ReferenceKind, is_relative},
    failover::failover,
    member::member,
    route::routes,
    subset_names::subset_names,
};
use crate::{
    config::{
        schema::{AliasTarget, MemberRule, ServiceDefinition},
        toml::{Item, Read, TableReader, shorten},
    },
    model::Name,
};

/// Most members of a service: each is known by a number of 16 bits, of which the highest is taken.
const MAX_MEMBERS: usize = 1000;

/// Reads a service's name: one label, or `_service._proto` (RFC 2782).
pub(super) fn service_name(entry: Item<'_>, apex: &Name) -> Read<Name> {
    let bad = |label: &str| {
        entry
            .error(format!("{:?} is not a name for a service", shorten(entry.name)))
            .at(entry.key)
            .label(label)
            .help("use one label, such as \"web\", or a name such as \"_ldap._tcp\"")
            .reject()
    };
    if !is_relative(entry.name) {
        return bad("has a dot");
    }
    apex.join(entry.name).or_else(|error| bad(&error.to_string()))
}

/// Reads the service with this name.
pub(super) fn service(item: Item<'_>, name: Name, context: &NamespaceContext<'_>) -> Read<ServiceDefinition> {
    let mut table = TableReader::new("[services.NAME]", &item)?;
    if item.name.starts_with('_')
        && let Some(proto) = table.keys().find(|key| key.starts_with('_'))
    {
        // Without quotes the dot makes tables in tables.
        let whole = format!("{}.{proto}", item.name);
        return item
            .error(format!("{:?} must be in quotes, because it has a dot", shorten(&whole)))
            .help(format!("write [services.{:?}]", shorten(&whole)))
            .reject();
    }
    let answers = answer_settings(&mut table, context.defaults);
    let alias_item = table.take("alias");
    let own = ["from", "routes", "names", "failover", "min_healthy", "hold_down"].map(|key| table.take(key));
    if let Some(alias_item) = alias_item {
        for item in own.into_iter().flatten() {
            item.error(format!("a service with \"alias\" cannot have {:?}", item.name))
                .at(item.key)
                .also(alias_item.key_place(), "the alias is here")
                .help("an alias is another name of a service: remove one of the two")
                .report();
        }
        table.finish();
        return Ok(ServiceDefinition {
            alias: Some(alias(alias_item, &name, context)?),
            name,
            answers,
            from: Vec::new(),
            routes: Vec::new(),
            failover: None,
            names: Vec::new(),
        });
    }
    let [from, route_list, names, tiers, min_healthy, hold_down] = own;
    let from = from.map(|item| members(item, context)).unwrap_or_else(|| {
        let help = "such as from = [{ static = [\"10.0.0.5:80\"] }], or alias = \"web\"";
        Err(table.is_missing(["from", "alias"], "[services.NAME] needs \"from\"", help))
    });
    table.finish();
    let known = from.as_deref().unwrap_or_default();
    let routes = route_list.map(|item| routes(item, known, context));
    let failover = failover(tiers, [min_healthy, hold_down], known, context);
    let names = names.map(|item| subset_names(item, known, context));
    Ok(ServiceDefinition {
        name,
        answers,
        alias: None,
        routes: routes.unwrap_or_default(),
        failover: failover?,
        names: names.unwrap_or_default(),
        from: from?,
    })
}

/// Reads where the instances come from.
fn members(item: Item<'_>, context: &NamespaceContext<'_>) -> Read<Vec<MemberRule>> {
    if item.count() > MAX_MEMBERS {
        return item.error(format!("a service has at most {MAX_MEMBERS} members")).reject();
    }
    let expected = "member, such as { static = [\"10.0.0.5:80\"] }";
    item.complete_list(expected, |element| member(element, context))
}

/// Reads the alias of the service `name`. Whether its target is one of our services is found out
/// when all files are read.
fn alias(item: Item<'_>, name: &Name, context: &NamespaceContext<'_>) -> Read<AliasTarget> {
    const EXPECTED: &str =
        "the name of another service of this namespace, or a full name outside of all namespaces";
    let text = item.text_as(EXPECTED)?;
    let alias = if is_relative(text) {
        context.apex.join(text).map(AliasTarget::Service)
    } else {
        text.parse().map(AliasTarget::External)
    };
    match alias {
        Ok(AliasTarget::External(root)) if root == Name::root() => item.must_be(EXPECTED).reject(),
        Ok(alias) => {
            context.refer_by_value(item, ReferenceKind::Alias(name.clone()));
            Ok(alias)
        }
        Err(error) => item.must_be(EXPECTED).label(error.to_string()).reject(),
    }
}
