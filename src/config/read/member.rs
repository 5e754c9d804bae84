//! Reads one entry of a service's `from`: which source, and which of its instances.

use std::sync::Arc;

use super::{context::NamespaceContext, guard::guard, static_member::static_member};
use crate::{
    config::{
        schema::{
            ConsulQuery, GuardRule, KubernetesObjects, KubernetesQuery, MemberRule, PortRef, SourceQuery,
        },
        toml::{Item, Read, TableReader, list, values},
    },
    model::{Labels, Protocol, SourceId, SourceKind, nearest},
};

const KINDS: [&str; 3] = ["consul", "kubernetes", "static"];

const FORMS: &str = "a member is one of\n\
    { consul = \"vms\", service = \"web\" }\n\
    { kubernetes = \"eks\", namespace = \"shop\", selector = \"app=web\", port = 80 }\n\
    { static = [\"10.0.0.5:80\"] }";

/// Reads a member.
pub(super) fn member(item: Item<'_>, context: &NamespaceContext<'_>) -> Read<MemberRule> {
    let Some(entries) = item.value.as_table() else {
        return item.error("a member must be a table").label("not a table").help(FORMS).reject();
    };
    let table = TableReader::root("a member", entries, item.scope);
    let mut kinds = KINDS.into_iter().filter_map(|kind| table.peek(kind));
    match (kinds.next(), kinds.next()) {
        (Some(only), None) => match only.name {
            "consul" => consul(item, context),
            "kubernetes" => kubernetes(item, context),
            _ => in_file(item, context),
        },
        (Some(one), Some(other)) => other
            .error(format!("a member has one source, not both {:?} and {:?}", one.name, other.name))
            .at(other.key)
            .also(one.key_place(), "the other one is here")
            .help(format!("make them two members; {FORMS}"))
            .reject(),
        (None, _) => {
            let near = table.keys().find_map(|key| Some((table.peek(key)?, nearest(key, KINDS)?)));
            let message = format!("a member needs a source: {}", list(&KINDS, "or"));
            match near {
                Some((key, near)) => {
                    item.error(message).at(key.key).help(format!("did you mean {near:?}?")).reject()
                }
                None => item.error(message).label("has none of them").help(FORMS).reject(),
            }
        }
    }
}

/// Keys that every kind of member has.
struct CommonKeys {
    labels: Labels,
    port_name: Option<(Arc<str>, Protocol)>,
    guard: GuardRule,
}

impl CommonKeys {
    fn take(table: &mut TableReader<'_>) -> Self {
        Self {
            labels: table.read_or("labels", Labels::default(), values::labels),
            port_name: table.read_or("port_name", None, |item| values::port_name(item).map(Some)),
            guard: guard(table),
        }
    }

    fn rule(self, source: SourceId, query: SourceQuery) -> MemberRule {
        MemberRule { source, labels: self.labels, port_name: self.port_name, guard: self.guard, query }
    }
}

fn consul(item: Item<'_>, context: &NamespaceContext<'_>) -> Read<MemberRule> {
    let text = |item: Item<'_>| item.text().map(str::to_owned);
    let mut table = TableReader::new("a consul member", &item)?;
    let source = table.require("consul", "consul = \"vms\"");
    let source = source.and_then(|item| context.sources.get(item, SourceKind::Consul));
    let service = table.require("service", "service = \"web\"").and_then(text);
    let tags = table.take("tags").map(|item| item.list(text));
    let filter = table.optional("filter", text);
    let datacenter = table.optional("datacenter", values::datacenter);
    let port = table.optional("port", values::port);
    let common = CommonKeys::take(&mut table);
    table.finish();
    let query = ConsulQuery {
        service: service?,
        tags: tags.unwrap_or_default(),
        filter: filter?,
        datacenter: datacenter?,
        port: port?,
    };
    Ok(common.rule(source?, SourceQuery::Consul(query)))
}

fn kubernetes(item: Item<'_>, context: &NamespaceContext<'_>) -> Read<MemberRule> {
    let mut table = TableReader::new("a kubernetes member", &item)?;
    let source = table.require("kubernetes", "kubernetes = \"eks\"");
    let source = source.and_then(|item| context.sources.get(item, SourceKind::Kubernetes));
    let namespace = table.require("namespace", "namespace = \"default\"").and_then(values::kubernetes_name);
    let objects = objects(&mut table);
    let port = table.optional("port", port_ref);
    let common = CommonKeys::take(&mut table);
    table.finish();
    let query = KubernetesQuery { namespace: namespace?, objects: objects?, port: port? };
    Ok(common.rule(source?, SourceQuery::Kubernetes(query)))
}

fn objects(table: &mut TableReader<'_>) -> Read<KubernetesObjects> {
    const FORMS: &str =
        "write selector = \"app=web\" for pods, or service = \"web\" for the endpoints of a Service";
    match (table.take("selector"), table.take("service")) {
        (Some(item), None) => {
            values::selector(item, "an empty selector would match every pod of the namespace")
                .map(KubernetesObjects::Pods)
        }
        (None, Some(item)) => values::kubernetes_name(item).map(KubernetesObjects::Service),
        (Some(selector), Some(service)) => service
            .error("a kubernetes member has either \"selector\" or \"service\"")
            .at(service.key)
            .also(selector.key_place(), "the other one is here")
            .help(FORMS)
            .reject(),
        (None, None) => {
            let message = "a kubernetes member needs \"selector\" or \"service\"";
            Err(table.is_missing(["selector", "service"], message, FORMS))
        }
    }
}

fn port_ref(item: Item<'_>) -> Read<PortRef> {
    const EXPECTED: &str = "a port number, such as 80, or a port name, such as \"http\"";
    let Some(text) = item.value.as_str() else {
        return values::port(item).map(PortRef::Number);
    };
    // A port name has at least one letter (RFC 6335 section 5.1), so it is never taken for a
    // number.
    if text.parse::<u64>().is_ok() {
        return item.must_be(EXPECTED).help("write the number without the quotes").reject();
    }
    if !values::is_kubernetes_name(text) {
        return item
            .must_be(EXPECTED)
            .help("use at most 63 lower-case letters, digits and inner hyphens")
            .reject();
    }
    Ok(PortRef::Name(text.to_owned()))
}

/// Reads a member whose instances stand in the file.
fn in_file(item: Item<'_>, context: &NamespaceContext<'_>) -> Read<MemberRule> {
    let mut table = TableReader::new("a static member", &item)?;
    let query = static_member(&mut table, context);
    let common = CommonKeys::take(&mut table);
    table.finish();
    Ok(common.rule(SourceId::static_source(), SourceQuery::Static(query?)))
}
