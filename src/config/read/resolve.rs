//! Resolves the names of services that zone files refer to, once all files are read: they may be
//! defined in another file.

use std::collections::{HashMap, HashSet};

use super::{
    context::{Reference, ReferenceKind, is_relative},
    zone::ZoneFile,
};
use crate::{
    config::{
        schema::{AliasTarget, ImportRule},
        toml::{DiagnosticSink, Read, shorten},
    },
    model::{Name, nearest},
};

/// Checks the references of all namespaces; an alias to the full name of one of our services
/// becomes an alias to that service.
pub(in crate::config) fn resolve(zones: &mut [ZoneFile<'_>], sink: &DiagnosticSink) {
    let index = NamespaceIndex::new(zones);
    let mut resolved = Vec::new();
    for (at, zone) in zones.iter().enumerate() {
        let mut subsets: HashMap<&Name, &Reference> = HashMap::new();
        for reference in &zone.references {
            match &reference.kind {
                ReferenceKind::Client(name) => index.check_client(name, zone, reference, sink),
                ReferenceKind::Alias(service) => {
                    let target = index.alias_target(service, zone, reference, sink);
                    resolved.extend(target.ok().flatten().map(|target| (at, service.clone(), target)));
                }
                ReferenceKind::Subset(name) => {
                    check_subset(name, zone, reference, sink, subsets.insert(name, reference));
                }
            }
        }
    }
    for (at, service, target) in resolved {
        let service = zones
            .get_mut(at)
            .and_then(|zone| zone.namespace.services.iter_mut().find(|one| one.name == service));
        debug_assert!(service.is_some(), "only services that were read have a target");
        if let Some(service) = service {
            service.alias = Some(AliasTarget::Service(target));
        }
    }
}

/// The services of all namespaces.
struct NamespaceIndex {
    apexes: HashSet<Name>,
    declared: HashSet<Name>,
    aliases: HashMap<Name, AliasTarget>,
    imports: HashMap<Name, Vec<ImportRule>>,
}

impl NamespaceIndex {
    fn new(zones: &[ZoneFile<'_>]) -> Self {
        let namespaces = || zones.iter().map(|zone| &zone.namespace);
        let services = namespaces().flat_map(|namespace| &namespace.services);
        Self {
            apexes: namespaces().map(|namespace| namespace.apex.clone()).collect(),
            declared: zones.iter().flat_map(|zone| zone.declared.iter().cloned()).collect(),
            aliases: services.filter_map(|one| Some((one.name.clone(), one.alias.clone()?))).collect(),
            imports: namespaces().map(|one| (one.apex.clone(), one.imports.clone())).collect(),
        }
    }

    /// The longest apex that `name` is at or below.
    fn apex(&self, name: &Name) -> Option<&Name> {
        let above = std::iter::successors(Some(name.clone()), Name::parent);
        above.into_iter().find_map(|name| self.apexes.get(&name))
    }

    /// Whether an import can bring this service.
    fn can_be_imported(&self, name: &Name) -> bool {
        let label = name.labels().next().map(String::from_utf8_lossy);
        let imports = name.parent().and_then(|apex| self.imports.get(&apex));
        label.zip(imports).is_some_and(|(label, imports)| imports.iter().any(|one| one.can_bring(&label)))
    }

    fn check_client(&self, name: &Name, zone: &ZoneFile<'_>, reference: &Reference, sink: &DiagnosticSink) {
        if let Some(AliasTarget::Service(target) | AliasTarget::External(target)) = self.aliases.get(name) {
            reference
                .error(sink, format!("the service {:?} is an alias and has no instances", name.to_string()))
                .help(format!("write the alias's target: {:?}", target.to_string()))
                .report();
        } else if !self.declared.contains(name) && !self.can_be_imported(name) {
            self.report_unknown(name, zone, reference, sink);
        }
    }

    /// The service that an alias stands for; `None` if the alias is external.
    fn alias_target(
        &self,
        service: &Name,
        zone: &ZoneFile<'_>,
        reference: &Reference,
        sink: &DiagnosticSink,
    ) -> Read<Option<Name>> {
        let Some(AliasTarget::Service(target) | AliasTarget::External(target)) = self.aliases.get(service)
        else {
            return Ok(None);
        };
        let own = &zone.namespace.apex;
        match self.apex(target) {
            None => return Ok(None),
            Some(apex) if apex != own => {
                return reference
                    .error(
                        sink,
                        "an alias must lead to a service of its own namespace, or outside all namespaces",
                    )
                    .label(format!("{:?} is in the namespace {:?}", target.to_string(), apex.to_string()))
                    .help("give this service the same \"from\" as the other one instead")
                    .reject();
            }
            Some(_) if target == service => {
                return reference
                    .error(sink, "the alias leads to itself")
                    .help("write another service, or give this one instances with \"from\"")
                    .reject();
            }
            Some(_) => {}
        }
        if let Some(AliasTarget::Service(next) | AliasTarget::External(next)) = self.aliases.get(target) {
            return reference
                .error(sink, format!("the service {:?} is itself an alias", target.to_string()))
                .help(format!("write that alias's target: {:?}", next.to_string()))
                .reject();
        }
        if self.declared.contains(target) {
            return Ok(Some(target.clone()));
        }
        if self.can_be_imported(target) {
            return reference
                .error(sink, format!("the service {:?} can only come from an import", target.to_string()))
                .help(
                    "an alias needs a [services.NAME]; to rename an imported service, write from = [{ consul = ... }]",
                )
                .reject();
        }
        self.report_unknown(target, zone, reference, sink);
        Ok(None)
    }

    /// Reports that no such service exists.
    fn report_unknown(&self, name: &Name, zone: &ZoneFile<'_>, reference: &Reference, sink: &DiagnosticSink) {
        let own = &zone.namespace.apex;
        let apex = self.apex(name);
        let text = reference.text.trim_end_matches('.');
        let relative = is_relative(&reference.text);
        let mut candidates: Vec<String> = self
            .declared
            .iter()
            .map(|name| match name.below(own).filter(|below| relative && !below.is_empty()) {
                Some(_) => without_apex(name, own),
                None => name.to_string(),
            })
            .collect();
        candidates.sort();
        let near = nearest(text, candidates.iter().map(String::as_str));
        let help = match (near, apex) {
            (Some(near), _) => format!("did you mean {near:?}?"),
            (None, None) => "write a service of this namespace as one label, such as \"web\"".to_owned(),
            (None, Some(apex)) => {
                format!("add [services.NAME] or [[import]] to the zone file of {:?}", apex.to_string())
            }
        };
        let message = match apex {
            Some(apex) => {
                format!("unknown service {:?} in the namespace {:?}", shorten(text), apex.to_string())
            }
            None => format!("no namespace has the service {:?}", shorten(text)),
        };
        reference.error(sink, message).help(help).report();
    }
}

/// The name without the apex that it is below.
fn without_apex(name: &Name, apex: &Name) -> String {
    let (name, apex) = (name.to_string(), apex.to_string());
    let relative = name.strip_suffix(&apex).and_then(|name| name.strip_suffix('.'));
    debug_assert!(relative.is_some(), "the name is below the apex");
    relative.unwrap_or(&name).to_owned()
}

/// Refuses a subset name that is also a service's, or that the namespace has already: `first`.
fn check_subset(
    name: &Name,
    zone: &ZoneFile<'_>,
    reference: &Reference,
    sink: &DiagnosticSink,
    first: Option<&Reference>,
) {
    let text = shorten(&reference.text);
    if zone.declared.contains(name) {
        reference
            .error(sink, format!("the subset name {text:?} is also the name of a service"))
            .help("choose another name")
            .report();
    } else if let Some(first) = first {
        reference
            .error(sink, format!("duplicate subset name {text:?}"))
            .also((&first.file, first.span), "first defined here")
            .report();
    }
}
