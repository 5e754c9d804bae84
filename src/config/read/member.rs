//! One entry of a service's `from`: which source, and what to ask it for.

use super::{context::NamespaceContext, static_member};
use crate::{
    config::{
        schema::{ConsulQuery, KubernetesObjects, KubernetesQuery, MemberRule, PortRef, SourceQuery},
        toml::{Item, TableReader, list, nearest, values},
    },
    model::{Labels, SourceId, SourceKind},
};

const KINDS: [&str; 3] = ["consul", "kubernetes", "static"];

const FORMS: &str = "a member is one of\n\
    { consul = \"vms\", service = \"web\" }\n\
    { kubernetes = \"eks\", namespace = \"shop\", selector = \"app=web\", port = 80 }\n\
    { static = [\"10.0.0.5:80\"] }";

/// Reads a member.
pub(super) fn member(item: Item<'_>, context: &NamespaceContext<'_>) -> Option<MemberRule> {
    if item.value.as_table().is_none() {
        return item.error("a member must be a table").label("not a table").help(FORMS).reject();
    }
    let table = TableReader::root("a member", item.value.as_table()?, item.scope);
    let mut kinds = KINDS.into_iter().filter_map(|kind| table.peek(kind));
    match (kinds.next(), kinds.next()) {
        (Some(only), None) => match only.name {
            "consul" => consul(item, context),
            "kubernetes" => kubernetes(item, context),
            _ => fixed(item, context),
        },
        (Some(one), Some(other)) => other
            .error(format!("a member has one source, not both {:?} and {:?}", one.name, other.name))
            .at(other.key)
            .also((one.scope.file, one.key), "the other one is here")
            .help(format!("make them two members; {FORMS}"))
            .reject(),
        (None, _) => {
            let near = table.keys().find_map(|key| Some((table.peek(key)?, nearest(key, KINDS)?)));
            let message = format!("a member names its source: {}", list(&KINDS, "or"));
            match near {
                Some((key, near)) => {
                    item.error(message).at(key.key).help(format!("did you mean {near:?}?")).reject()
                }
                None => item.error(message).label("none of them is here").help(FORMS).reject(),
            }
        }
    }
}

/// What every kind of member can have.
struct CommonKeys {
    labels: Labels,
    port_name: Option<(std::sync::Arc<str>, crate::model::Protocol)>,
}

impl CommonKeys {
    fn take(table: &mut TableReader<'_>) -> Self {
        Self {
            labels: table.take("labels").and_then(values::labels).unwrap_or_default(),
            port_name: table.take("port_name").and_then(values::port_name),
        }
    }

    fn rule(self, source: SourceId, query: SourceQuery) -> MemberRule {
        MemberRule { source, labels: self.labels, port_name: self.port_name, query }
    }
}

fn consul(item: Item<'_>, context: &NamespaceContext<'_>) -> Option<MemberRule> {
    let mut table = TableReader::new("a consul member", &item)?;
    let source = table.take("consul").and_then(|item| context.sources.named(item, SourceKind::Consul));
    let service = table.require("service", "service = \"web\"").and_then(|item| item.text());
    let tags = table.take("tags").map(|item| item.list(|tag| tag.text().map(str::to_owned)));
    let filter = table.take("filter").and_then(|item| item.text()).map(str::to_owned);
    let datacenter = table.take("datacenter").and_then(values::datacenter);
    let port = table.take("port").and_then(values::port);
    let common = CommonKeys::take(&mut table);
    table.finish();
    let tags = tags.unwrap_or_default();
    let query = ConsulQuery { service: service?.to_owned(), tags, filter, datacenter, port };
    Some(common.rule(source?, SourceQuery::Consul(query)))
}

fn kubernetes(item: Item<'_>, context: &NamespaceContext<'_>) -> Option<MemberRule> {
    let mut table = TableReader::new("a kubernetes member", &item)?;
    let source =
        table.take("kubernetes").and_then(|item| context.sources.named(item, SourceKind::Kubernetes));
    let namespace = table.require("namespace", "namespace = \"default\"").and_then(values::kubernetes_name);
    let objects = objects(&mut table);
    let port = table.take("port").and_then(port_ref);
    let common = CommonKeys::take(&mut table);
    table.finish();
    let query = KubernetesQuery { namespace: namespace?, objects: objects?, port };
    Some(common.rule(source?, SourceQuery::Kubernetes(query)))
}

fn objects(table: &mut TableReader<'_>) -> Option<KubernetesObjects> {
    const FORMS: &str =
        "write selector = \"app=web\" for pods, or service = \"web\" for the endpoints of a Service";
    match (table.take("selector"), table.take("service")) {
        (Some(item), None) => values::selector(item, "an empty one would take every pod of the namespace")
            .map(KubernetesObjects::Pods),
        (None, Some(item)) => values::kubernetes_name(item).map(KubernetesObjects::Service),
        (Some(selector), Some(service)) => service
            .error("a kubernetes member has either \"selector\" or \"service\"")
            .at(service.key)
            .also((selector.scope.file, selector.key), "the other one is here")
            .help(FORMS)
            .reject(),
        (None, None) => {
            let message = "a kubernetes member needs \"selector\" or \"service\"";
            table.lacks(["selector", "service"], message, FORMS);
            None
        }
    }
}

fn port_ref(item: Item<'_>) -> Option<PortRef> {
    let Some(text) = item.value.as_str() else {
        return values::port(item).map(PortRef::Number);
    };
    const WHAT: &str = "a port's number, such as 80, or its name, such as \"http\"";
    // A port's name has a letter in it, so that it is never taken for a number.
    if text.parse::<u64>().is_ok() {
        return item.must_be(WHAT).help("write the number without the quotes").reject();
    }
    if !values::is_kubernetes_name(text) {
        return item
            .must_be(WHAT)
            .help("such names have at most 63 lower-case letters, digits and inner hyphens")
            .reject();
    }
    Some(PortRef::Name(text.to_owned()))
}

fn fixed(item: Item<'_>, context: &NamespaceContext<'_>) -> Option<MemberRule> {
    let mut table = TableReader::new("a static member", &item)?;
    let query = static_member::statics(&mut table, context.apex);
    let common = CommonKeys::take(&mut table);
    table.finish();
    Some(common.rule(SourceId::static_source(), SourceQuery::Static(query?)))
}
