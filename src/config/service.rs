//! `[services.NAME]`: one name and where its instances come from.

use super::{
    member, route,
    shape::shape,
    types::Service,
    walk::{Item, Table, shorten},
    zone::Context,
};
use crate::model::Name;

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
    let is_srv_shaped = |(service, proto): (&str, &str)| {
        service.starts_with('_') && proto.starts_with('_') && !proto.contains('.')
    };
    if entry.name.split_once('.').is_some_and(|parts| !is_srv_shaped(parts)) {
        return bad("it has a dot in it".to_owned());
    }
    apex.join(entry.name).map_or_else(|error| bad(error.to_string()), Some)
}

/// Reads a service that is called `name`.
pub(super) fn service(item: Item<'_>, name: Name, context: &Context<'_>) -> Option<Service> {
    let mut table = Table::new("[services.NAME]", &item)?;
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
    let from = table.require("from", "from = [{ static = [\"10.0.0.5:80\"] }]").and_then(|item| {
        if item.value.as_array().is_some_and(|array| array.len() > MAX_MEMBERS) {
            return item.error(format!("a service has at most {MAX_MEMBERS} members")).reject();
        }
        item.non_empty_list("member, such as { static = [\"10.0.0.5:80\"] }", |element| {
            member::member(element, context)
        })
    });
    let shape = shape(&mut table, context.defaults);
    let routes = table.take("routes");
    if let Some(routes) = routes {
        route::routes(routes);
    }
    table.finish();
    Some(Service {
        name,
        shape,
        alias: None,
        from: from?,
        routes: Vec::new(),
        failover: None,
        names: Vec::new(),
    })
}
