//! Reads a zone file: one namespace with its services and imports.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use super::{
    answer_settings::answer_settings,
    context::{NamespaceContext, Reference},
    import::imports,
    service::{service, service_name},
    sources::DeclaredSources,
};
use crate::{
    config::{
        schema::{AnswerSettings, Namespace, ServiceDefinition, Truncate},
        toml::{Item, Read, Scope, TableReader, values, values::PathBase},
    },
    model::Name,
};

/// A zone file as it was read.
pub(in crate::config) struct ZoneFile<'a> {
    pub(in crate::config) namespace: Namespace,
    /// Where the namespace's name is.
    pub(in crate::config) named: Item<'a>,
    /// Every service of the file, those that are wrong too.
    pub(in crate::config) declared: HashSet<Name>,
    /// The names that may be defined in another file.
    pub(in crate::config) references: Vec<Reference>,
}

/// Reads a whole zone file.
pub(in crate::config) fn zone<'a>(
    mut table: TableReader<'a>,
    sources: &DeclaredSources,
    base: &PathBase,
) -> Read<ZoneFile<'a>> {
    let named = table.require("namespace", "namespace = \"shop.internal\"");
    let apex = named.and_then(apex);
    let defaults = answer_settings(&mut table, &AnswerSettings::default());
    let negative_ttl = table.read_or("negative_ttl", Namespace::DEFAULT_NEGATIVE_TTL, values::ttl);
    let ns = table.take("ns").map(|item| item.list(values::name)).unwrap_or_default();
    let hostmaster = table.read_or("hostmaster", None, |item| values::mailbox(item).map(Some));
    let truncate = table.read_or("truncate", Truncate::default(), truncate);
    let dns_sd = table.read_or("dns_sd", false, |item| item.boolean());
    let services = table.take("services");
    let import = table.take("import");
    let scope = table.scope;
    // The file's other errors are reported too, so that one mistake does not hide the next.
    let _: Read<()> = table.finish_with(|key| match key {
        "listen" | "zones" | "state" | "max_stale" | "consul" | "kubernetes" | "forward" | "cache"
        | "locality" | "reverse" => Some(format!("{key:?} belongs in muster.toml")),
        _ => None,
    });
    // Under a wrong apex the services are read as if below the root, for the same reason.
    let above = apex.clone().unwrap_or_else(|_| Name::root());
    let references = RefCell::default();
    let context =
        NamespaceContext { apex: &above, defaults: &defaults, sources, base, references: &references };
    let (services, declared) = services.map(|item| read_services(item, &context)).unwrap_or_default();
    let imports = import.map(|item| imports(item, &context)).unwrap_or_default();
    let (named, apex) = (named?, apex?);
    let hostmaster = match hostmaster {
        Some(hostmaster) => hostmaster,
        None => apex.child(b"hostmaster").or_else(|_| refuse_long_apex(named, scope))?,
    };
    let namespace = Namespace {
        file: scope.file.path.clone(),
        ttl: defaults.ttl,
        negative_ttl,
        ns,
        hostmaster,
        truncate,
        dns_sd,
        services,
        imports,
        apex,
    };
    let declared = declared.into_keys().collect();
    Ok(ZoneFile { namespace, named, declared, references: references.into_inner() })
}

fn apex(item: Item<'_>) -> Read<Name> {
    let apex = values::name(item)?;
    if apex == Name::root() {
        return item
            .must_be("a name below the root")
            .help("one label is enough, such as \"internal\"")
            .reject();
    }
    Ok(apex)
}

fn refuse_long_apex<T>(named: Item<'_>, scope: Scope<'_>) -> Read<T> {
    scope
        .error(named.span, "\"namespace\" is too long to have names below it")
        .label("\"hostmaster\" below it is longer than 255 octets")
        .reject()
}

fn truncate(item: Item<'_>) -> Read<Truncate> {
    let types = item.list(|element| element.word(&[("A", "A"), ("AAAA", "AAAA"), ("SRV", "SRV")]));
    let has = |kind| types.contains(&kind);
    if has("A") != has("AAAA") {
        return item
            .error("\"truncate\" must have both \"A\" and \"AAAA\", or neither")
            .help("clients query both together and treat them alike")
            .reject();
    }
    Ok(Truncate { addresses: has("A"), srv: has("SRV") })
}

/// Reads the services, sorted by name, and returns the names of those that are wrong too.
fn read_services<'a>(
    item: Item<'a>,
    context: &NamespaceContext<'_>,
) -> (Vec<ServiceDefinition>, HashMap<Name, Item<'a>>) {
    let entries = item.entries("a table of services, such as [services.web]").unwrap_or_default();
    let mut seen: HashMap<Name, Item<'_>> = HashMap::new();
    let mut services = Vec::new();
    for entry in entries {
        let name = service_name(entry, context.apex);
        if let Ok(name) = &name
            && let Some(first) = seen.insert(name.clone(), entry)
        {
            entry
                .error(format!("duplicate service {:?}", entry.name))
                .at(entry.key)
                .also(first.key_place(), "first defined here")
                .help("names are the same in upper and lower case")
                .report();
        }
        // A service with a wrong name is read all the same: its other errors count too.
        let is_named = name.is_ok();
        let read = service(entry, name.unwrap_or_else(|_| Name::root()), context);
        services.extend(read.ok().filter(|_| is_named));
    }
    services.sort_by_cached_key(|service| service.name.to_string());
    (services, seen)
}
