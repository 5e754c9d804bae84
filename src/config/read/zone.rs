//! A zone file: one namespace with its services and imports.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use super::{
    answer_defaults::answer_settings,
    context::{NamespaceContext, Reference},
    import::read_imports,
    service,
    sources::DeclaredSources,
};
use crate::{
    config::{
        schema::{AnswerSettings, Namespace, ServiceDefinition, Truncate},
        toml::{Item, Scope, TableReader, values},
    },
    model::Name,
};

/// A zone file as it was read.
pub(in crate::config) struct ZoneFile<'a> {
    pub(in crate::config) namespace: Namespace,
    /// Where its name is.
    pub(in crate::config) named: Item<'a>,
    /// Every service that it has, even if that could not be read.
    pub(in crate::config) declared: HashSet<Name>,
    /// The names that it gives.
    pub(in crate::config) references: Vec<Reference>,
}

/// Reads a whole zone file.
pub(in crate::config) fn zone<'a>(
    mut table: TableReader<'a>,
    sources: &DeclaredSources,
) -> Option<ZoneFile<'a>> {
    let named = table.require("namespace", "namespace = \"shop.internal\"");
    let apex = named.and_then(apex);
    let defaults = answer_settings(&mut table, &AnswerSettings::default());
    let negative_ttl = table.take("negative_ttl").and_then(values::ttl);
    let ns = table.take("ns").map(|item| item.list(values::name)).unwrap_or_default();
    let hostmaster = table.take("hostmaster").and_then(values::mailbox);
    let truncate = table.take("truncate").and_then(truncate);
    let dns_sd = table.take("dns_sd").and_then(|item| item.boolean());
    let services = table.take("services");
    let imports = table.take("import");
    let scope = table.scope;
    table.finish_with(|key| match key {
        "listen" | "zones" | "state" | "max_stale" | "consul" | "kubernetes" | "forward" | "cache"
        | "locality" | "reverse" => Some(format!("{key:?} belongs in muster.toml")),
        _ => None,
    });
    // What is below is read under any apex, so that a bad one hides nothing.
    let under = apex.clone().unwrap_or_else(Name::root);
    let references = RefCell::default();
    let context = NamespaceContext { apex: &under, defaults: &defaults, sources, references: &references };
    let (services, declared) = services.map(|item| read_services(item, &context)).unwrap_or_default();
    let imports = imports.map(|item| read_imports(item, &context)).unwrap_or_default();
    let apex = apex?;
    let hostmaster = hostmaster.or_else(|| apex.child(b"hostmaster").ok());
    let namespace = Namespace {
        file: scope.file.path.clone(),
        ttl: defaults.ttl,
        negative_ttl: negative_ttl.unwrap_or(Namespace::DEFAULT_NEGATIVE_TTL),
        ns,
        hostmaster: hostmaster.or_else(|| too_long(named?, scope))?,
        truncate: truncate.unwrap_or_default(),
        dns_sd: dns_sd.unwrap_or(false),
        services,
        imports,
        apex,
    };
    let declared = declared.into_keys().collect();
    Some(ZoneFile { namespace, named: named?, declared, references: references.into_inner() })
}

fn apex(item: Item<'_>) -> Option<Name> {
    let apex = values::name(item)?;
    if apex == Name::root() {
        return item
            .must_be("a name below the root")
            .help("one label is enough, such as \"internal\"")
            .reject();
    }
    Some(apex)
}

fn too_long<T>(named: Item<'_>, scope: Scope<'_>) -> Option<T> {
    scope
        .error(named.span, "\"namespace\" leaves no room for names in it")
        .label("with \"hostmaster\" before it, it is longer than 255 octets")
        .reject()
}

fn truncate(item: Item<'_>) -> Option<Truncate> {
    let types = item.list(|element| element.word(&[("A", "A"), ("AAAA", "AAAA"), ("SRV", "SRV")]));
    let has = |kind| types.contains(&kind);
    if has("A") != has("AAAA") {
        return item
            .error("\"truncate\" must have both \"A\" and \"AAAA\", or neither")
            .help("clients ask for both at one time, and treat them alike")
            .reject();
    }
    Some(Truncate { addresses: has("A"), srv: has("SRV") })
}

/// Reads the services; gives also the names of those that could not be read.
fn read_services<'a>(
    item: Item<'a>,
    context: &NamespaceContext<'_>,
) -> (Vec<ServiceDefinition>, HashMap<Name, Item<'a>>) {
    let entries = item.entries("a table of services, such as [services.web]").unwrap_or_default();
    let mut seen: HashMap<Name, Item<'_>> = HashMap::new();
    let mut services = Vec::new();
    for entry in entries {
        let name = service::name(entry, context.apex);
        if let Some(name) = &name
            && let Some(first) = seen.insert(name.clone(), entry)
        {
            entry
                .error(format!("the service {:?} is there twice", entry.name))
                .at(entry.key)
                .also((first.scope.file, first.key), "first here")
                .help("names are the same in upper and lower case")
                .report();
        }
        // Read it even under a bad name: its own errors count too.
        let read = service::service(entry, name.clone().unwrap_or_else(Name::root), context);
        services.extend(read.filter(|_| name.is_some()));
    }
    services.sort_by_cached_key(|service| service.name.to_string());
    (services, seen)
}
