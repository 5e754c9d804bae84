//! `routes` of a service: which clients get which weighted groups.

use std::collections::HashMap;

use super::{
    context::{NamespaceContext, ReferenceKind, is_relative, note},
    filter::{filter, takes_all},
};
use crate::{
    config::{
        schema::{ClientFilter, Group, MemberRule, Route},
        toml::{Item, TableReader, given, values},
    },
    model::Name,
};

/// Most routes of a service, and most groups of a split.
const MAX_ROUTES: usize = 1000;
const MAX_GROUPS: usize = 100;

/// Reads a service's routes.
pub(super) fn routes(item: Item<'_>, from: &[MemberRule], context: &NamespaceContext<'_>) -> Vec<Route> {
    if item.count() > MAX_ROUTES {
        item.error(format!("a service has at most {MAX_ROUTES} routes")).report();
        return Vec::new();
    }
    let mut everybody: Option<Item<'_>> = None;
    let mut seen: HashMap<ClientFilter, Item<'_>> = HashMap::new();
    item.list(|element| {
        let mut table = TableReader::new("a route", &element)?;
        let clients = table.take("clients").map(|item| clients(item, context));
        let split = table.require("split", "split = [{ labels = { version = \"v1\" }, weight = 90 }]");
        let split = split.and_then(|item| split_of(item, from, context));
        table.finish();
        if let Some(first) = everybody {
            unreachable(element, first, "that one is for every client");
        } else if clients.is_none() {
            everybody = Some(element);
        } else if let Some(Some(clients)) = &clients
            && let Some(first) = seen.insert(clients.clone(), element)
        {
            unreachable(element, first, "that one is for the same clients");
        }
        Some(Route { clients: given(clients)?, split: split? })
    })
}

fn unreachable(item: Item<'_>, first: Item<'_>, why: &str) {
    item.error("this route can never match, as the first that matches wins")
        .also(first.place(), why)
        .help("put the one for fewer clients first, or take one of them out")
        .report();
}

fn clients(item: Item<'_>, context: &NamespaceContext<'_>) -> Option<ClientFilter> {
    let mut table = TableReader::new("a route's clients", &item)?;
    let service = table.take("service");
    let labels = table.take("labels");
    let cidr = table.take("cidr");
    let [locality, kube_namespace] = ["locality", "kube_namespace"].map(|key| table.take(key));
    let is_narrow = [service, labels, cidr, locality, kube_namespace].iter().any(Option::is_some);
    let is_misspelt = table.keys().next().is_some();
    table.finish();
    let service = service.map(|item| client_service(item, context));
    let labels = labels.map(values::labels);
    let networks = cidr.map(|item| item.non_empty_list("network", values::network));
    let locality = locality.map(|item| item.text().map(Into::into));
    let kube_namespace = kube_namespace.map(|item| values::kubernetes_name(item).map(Into::into));
    let read = ClientFilter {
        service: given(service)?,
        labels: given(labels)?.unwrap_or_default(),
        networks: given(networks)?.unwrap_or_default(),
        locality: given(locality)?,
        kube_namespace: given(kube_namespace)?,
    };
    if read != ClientFilter::default() {
        return Some(read);
    }
    if is_narrow || !is_misspelt {
        item.error("\"clients\" must say which clients it is for")
            .label("says nothing")
            .help("such as { service = \"web\" } or { cidr = \"10.0.0.0/8\" }; for every client leave \"clients\" out")
            .report();
    }
    None
}

fn split_of(item: Item<'_>, from: &[MemberRule], context: &NamespaceContext<'_>) -> Option<Vec<Group>> {
    if item.count() > MAX_GROUPS {
        return item.error(format!("a split has at most {MAX_GROUPS} groups")).reject();
    }
    let mut seen: Vec<(Group, Item<'_>)> = Vec::new();
    let split = item.non_empty_list("group", |element| {
        let group = group(element, from, context)?;
        seen.push((group.clone(), element));
        Some(group)
    })?;
    if split.len() < item.count() {
        return None;
    }
    if split.iter().all(|group| group.weight == 0) {
        item.error("\"split\" needs a weight above 0").label("every weight is 0").report();
    }
    for (at, (group, element)) in seen.iter().enumerate() {
        if takes_all(&group.filter) && split.len() > 1 {
            element
                .error("a group beside others must say which instances it has")
                .label("has all of them, also those of the other groups")
                .help("the rest is written as a selector, such as selector = \"version notin (v1,v2)\"")
                .report();
        }
        let equal = seen.iter().take(at).find(|(other, _)| other.filter == group.filter);
        if let (Some((_, first)), false) = (equal, takes_all(&group.filter)) {
            element
                .scope
                .warning(element.span, "two groups of one split have the same instances")
                .also(first.place(), "the first one is here")
                .help("make them one group with the sum of the weights")
                .report();
        }
    }
    Some(split)
}

fn group(item: Item<'_>, from: &[MemberRule], context: &NamespaceContext<'_>) -> Option<Group> {
    let mut table = TableReader::new("a route's group", &item)?;
    let filter = filter(&mut table, from, context);
    let weight = table.require("weight", "weight = 90").and_then(values::weight);
    let strict = table.take("strict").and_then(|item| item.boolean());
    table.finish();
    Some(Group { filter: filter?, weight: weight?, strict: strict.unwrap_or(false) })
}

/// Reads the service of a route's clients.
fn client_service(item: Item<'_>, context: &NamespaceContext<'_>) -> Option<Name> {
    const WHAT: &str = "a service's name, such as \"web\" or, of another namespace, \"web.shop.internal\"";
    let text = item.text_as(WHAT)?;
    let name = if is_relative(text) { context.apex.join(text) } else { text.parse() };
    match name {
        Ok(name) => {
            note(item, item.span, text, ReferenceKind::Client(name.clone()), context);
            Some(name)
        }
        Err(error) => item.must_be(WHAT).label(error.to_string()).reject(),
    }
}
