//! Which of a service's instances are meant: keys that groups, failover tiers and further names share.

use super::context::NamespaceContext;
use crate::{
    config::{
        schema::{InstanceFilter, MemberRule},
        toml::{Item, TableReader, given, values},
    },
    model::{SourceId, SourceKind},
};

/// What the reference calls these keys.
const KIND: &str = "a filter";

/// Reads a filter's keys of `table`, for a service of these members; none: they could not be read.
pub(super) fn filter(
    table: &mut TableReader<'_>,
    from: &[MemberRule],
    context: &NamespaceContext<'_>,
) -> Option<InstanceFilter> {
    let labels = table.take_of(KIND, "labels").map(values::labels);
    let selector = table
        .take_of(KIND, "selector")
        .map(|item| values::selector(item, "an empty one would take every instance: leave it out for that"));
    let source = source(table, from, context);
    let datacenter = table.take_of(KIND, "datacenter").map(values::datacenter);
    let locality = table.take_of(KIND, "locality").map(|item| item.text());
    Some(InstanceFilter {
        labels: given(labels)?.unwrap_or_default(),
        selector: given(selector)?.unwrap_or_default(),
        source: given(source)?,
        datacenter: given(datacenter)?.map(Into::into),
        locality: given(locality)?.map(Into::into),
    })
}

/// Tells whether every instance passes.
pub(super) fn takes_all(filter: &InstanceFilter) -> bool {
    *filter == InstanceFilter::default()
}

#[expect(clippy::option_option, reason = "left out, wrong and read are three things")]
fn source(
    table: &mut TableReader<'_>,
    from: &[MemberRule],
    context: &NamespaceContext<'_>,
) -> Option<Option<SourceId>> {
    let items = ["source", "consul", "kubernetes"].map(|key| table.take_of(KIND, key));
    let mut items = items.into_iter().flatten();
    let item = items.next()?;
    if let Some(other) = items.next() {
        let draft =
            other.error(format!("an instance has one source, not both {:?} and {:?}", item.name, other.name));
        return Some(
            draft
                .at(other.key)
                .also((item.scope.file, item.key), "the other one is here")
                .help("\"source\" is for sources of every kind: one of the keys is enough")
                .reject(),
        );
    }
    let source = match item.name {
        "consul" => context.sources.named(item, SourceKind::Consul),
        "kubernetes" => context.sources.named(item, SourceKind::Kubernetes),
        _ => context.sources.of_any_kind(item),
    };
    if let Some(source) = &source {
        warn_of_strangers(&item, source, from);
    }
    Some(source)
}

/// Warns of a source that none of the service's members is of.
fn warn_of_strangers(item: &Item<'_>, source: &SourceId, from: &[MemberRule]) {
    if !from.is_empty() && from.iter().all(|member| member.source != *source) {
        item.scope
            .warning(item.span, format!("no instance of this service is from {source}"))
            .label("so nothing passes here")
            .help("its sources are those of \"from\"")
            .report();
    }
}
