//! Reads which of a service's instances are meant: keys that groups, failover tiers and subset
//! names share.

use super::context::NamespaceContext;
use crate::{
    config::{
        schema::{InstanceFilter, MemberRule},
        toml::{Item, Read, TableReader, values},
    },
    model::{SourceId, SourceKind},
};

/// The heading of these keys in the reference.
const KIND: &str = "a filter";

/// Reads a filter from the keys of `table`, for a service with the members `from`.
pub(super) fn filter(
    table: &mut TableReader<'_>,
    from: &[MemberRule],
    context: &NamespaceContext<'_>,
) -> Read<InstanceFilter> {
    let empty = "an empty selector would match every instance: leave it out for that";
    let labels = table.take_shared(KIND, "labels").map(values::labels).transpose();
    let selector = table.take_shared(KIND, "selector").map(|item| values::selector(item, empty)).transpose();
    let source = source(table, from, context);
    let datacenter = table.take_shared(KIND, "datacenter").map(values::datacenter).transpose();
    let locality = table.take_shared(KIND, "locality").map(|item| item.text()).transpose();
    Ok(InstanceFilter {
        labels: labels?.unwrap_or_default(),
        selector: selector?.unwrap_or_default(),
        source: source?,
        datacenter: datacenter?.map(Into::into),
        locality: locality?.map(Into::into),
    })
}

fn source(
    table: &mut TableReader<'_>,
    from: &[MemberRule],
    context: &NamespaceContext<'_>,
) -> Read<Option<SourceId>> {
    let items = ["source", "consul", "kubernetes"].map(|key| table.take_shared(KIND, key));
    let mut items = items.into_iter().flatten();
    let Some(item) = items.next() else { return Ok(None) };
    if let Some(other) = items.next() {
        return other
            .error(format!("an instance has one source, not both {:?} and {:?}", item.name, other.name))
            .at(other.key)
            .also(item.key_place(), "the other one is here")
            .help("use one of the keys; \"source\" takes sources of every kind")
            .reject();
    }
    let source = match item.name {
        "consul" => context.sources.get(item, SourceKind::Consul),
        "kubernetes" => context.sources.get(item, SourceKind::Kubernetes),
        _ => context.sources.get_any(item),
    }?;
    warn_of_unused_source(&item, &source, from);
    Ok(Some(source))
}

/// Warns of a source that none of the service's members has.
fn warn_of_unused_source(item: &Item<'_>, source: &SourceId, from: &[MemberRule]) {
    if !from.is_empty() && from.iter().all(|member| member.source != *source) {
        item.scope
            .warning(item.span, format!("this service has no instances from {source}"))
            .label("matches nothing")
            .help("use a source that \"from\" names")
            .report();
    }
}
