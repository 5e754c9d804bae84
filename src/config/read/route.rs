//! Reads `routes` of a service: which clients get which weighted groups.

use std::collections::HashMap;

use super::{
    context::{NamespaceContext, ReferenceKind, is_relative},
    filter::filter,
};
use crate::{
    config::{
        schema::{ClientFilter, Group, MemberRule, Route},
        toml::{Item, Read, TableReader, values},
    },
    model::Name,
};

/// Most routes of a service, and most groups of a split.
const MAX_ROUTES: usize = 1000;
const MAX_GROUPS: usize = 100;

/// Reads a service's routes; leaves out those that are wrong.
pub(super) fn routes(item: Item<'_>, from: &[MemberRule], context: &NamespaceContext<'_>) -> Vec<Route> {
    if item.count() > MAX_ROUTES {
        item.error(format!("a service has at most {MAX_ROUTES} routes")).report();
        return Vec::new();
    }
    let mut for_all: Option<Item<'_>> = None;
    let mut seen: HashMap<ClientFilter, Item<'_>> = HashMap::new();
    item.list(|element| {
        let mut table = TableReader::new("a route", &element)?;
        let clients = table.optional("clients", |item| clients(item, context));
        let split = table.require("split", "split = [{ labels = { version = \"v1\" }, weight = 90 }]");
        let split = split.and_then(|item| split_of(item, from, context));
        table.finish();
        if let Some(first) = for_all {
            refuse_unreachable(element, first, "this route is for every client");
        } else if let Ok(None) = &clients {
            for_all = Some(element);
        } else if let Ok(Some(clients)) = &clients
            && let Some(first) = seen.insert(clients.clone(), element)
        {
            refuse_unreachable(element, first, "this route is for the same clients");
        }
        Ok(Route { clients: clients?, split: split? })
    })
}

fn refuse_unreachable(item: Item<'_>, first: Item<'_>, why: &str) {
    item.error("this route never matches, because an earlier route matches first")
        .also(first.place(), why)
        .help("the first matching route wins: put the narrower route first, or remove one of them")
        .report();
}

fn clients(item: Item<'_>, context: &NamespaceContext<'_>) -> Read<ClientFilter> {
    let mut table = TableReader::new("a route's clients", &item)?;
    let service = table.take("service");
    let labels = table.take("labels");
    let cidr = table.take("cidr");
    let [locality, kube_namespace] = ["locality", "kube_namespace"].map(|key| table.take(key));
    let has_known_key = [service, labels, cidr, locality, kube_namespace].iter().any(Option::is_some);
    let finished = table.finish_with(|_| None);
    let service = service.map(|item| client_service(item, context)).transpose();
    let labels = labels.map(values::labels).transpose();
    let networks = cidr.map(|item| item.non_empty_list("network", values::network)).transpose();
    let locality = locality.map(|item| item.text().map(Into::into)).transpose();
    let kube_namespace = kube_namespace.map(|item| values::kubernetes_name(item).map(Into::into)).transpose();
    let read = ClientFilter {
        service: service?,
        labels: labels?.unwrap_or_default(),
        networks: networks?.unwrap_or_default(),
        locality: locality?,
        kube_namespace: kube_namespace?,
    };
    if read == ClientFilter::default() {
        // If a misspelled key is all that there is, that error is enough.
        if !has_known_key {
            finished?;
        }
        return item
            .error("\"clients\" must say which clients the route is for")
            .label("matches every client")
            .help(
                "such as { service = \"web\" } or { cidr = \"10.0.0.0/8\" }; for every client, leave \"clients\" out",
            )
            .reject();
    }
    Ok(read)
}

fn split_of(item: Item<'_>, from: &[MemberRule], context: &NamespaceContext<'_>) -> Read<Vec<Group>> {
    if item.count() > MAX_GROUPS {
        return item.error(format!("a split has at most {MAX_GROUPS} groups")).reject();
    }
    let mut seen: Vec<(Group, Item<'_>)> = Vec::new();
    let split = item.complete_list("group", |element| {
        let group = group(element, from, context)?;
        seen.push((group.clone(), element));
        Ok(group)
    })?;
    if split.iter().all(|group| group.weight == 0) {
        item.error("\"split\" needs a weight above 0").label("every weight is 0").report();
    }
    for (at, (group, element)) in seen.iter().enumerate() {
        if group.filter.matches_all() && split.len() > 1 {
            element
                .error("one of several groups must say which instances it has")
                .label("has every instance, those of the other groups too")
                .help("write the rest as a selector, such as selector = \"version notin (v1,v2)\"")
                .report();
        }
        let equal = seen.iter().take(at).find(|(other, _)| other.filter == group.filter);
        if let (Some((_, first)), false) = (equal, group.filter.matches_all()) {
            element
                .scope
                .warning(element.span, "two groups of one split have the same instances")
                .also(first.place(), "the other group is here")
                .help("make them one group with the sum of the weights")
                .report();
        }
    }
    Ok(split)
}

fn group(item: Item<'_>, from: &[MemberRule], context: &NamespaceContext<'_>) -> Read<Group> {
    let mut table = TableReader::new("a route's group", &item)?;
    let filter = filter(&mut table, from, context);
    let weight = table.require("weight", "weight = 90").and_then(values::weight);
    let strict = table.read_or("strict", false, |item| item.boolean());
    table.finish();
    Ok(Group { filter: filter?, weight: weight?, strict })
}

/// Reads the service of a route's clients.
fn client_service(item: Item<'_>, context: &NamespaceContext<'_>) -> Read<Name> {
    const EXPECTED: &str =
        "the name of a service, such as \"web\" or, in another namespace, \"web.shop.internal\"";
    let text = item.text_as(EXPECTED)?;
    let name = if is_relative(text) { context.apex.join(text) } else { text.parse() };
    match name {
        Ok(name) => {
            context.refer_by_value(item, ReferenceKind::Client(name.clone()));
            Ok(name)
        }
        Err(error) => item.must_be(EXPECTED).label(error.to_string()).reject(),
    }
}
