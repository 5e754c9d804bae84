//! Names that zone files give of services, which may stand in another file: looked up when all are read.

use std::collections::{HashMap, HashSet};

use super::{
    context::{Reference, ReferenceKind, is_relative},
    zone::ZoneFile,
};
use crate::{
    config::{
        schema::{Alias, ImportRule},
        toml::{DiagnosticSink, nearest, shorten},
    },
    model::Name,
};

/// Looks up what the zones name of each other; an alias by a full name becomes one of the service that it leads to.
pub(in crate::config) fn resolve(zones: &mut [ZoneFile<'_>], log: &DiagnosticSink) {
    let world = NamespaceIndex::of(zones);
    let mut services = Vec::new();
    for (at, zone) in zones.iter().enumerate() {
        let mut further: HashMap<&Name, &Reference> = HashMap::new();
        for reference in &zone.references {
            match &reference.kind {
                ReferenceKind::Client(name) => world.check_client(name, zone, reference, log),
                ReferenceKind::Alias(service) => {
                    services.extend(
                        world.target(service, zone, reference, log).map(|name| (at, service.clone(), name)),
                    );
                }
                ReferenceKind::Further(name) => {
                    check_further(name, zone, reference, log, further.insert(name, reference))
                }
            }
        }
    }
    for (at, service, target) in services {
        let zone = zones
            .get_mut(at)
            .and_then(|zone| zone.namespace.services.iter_mut().find(|one| one.name == service));
        if let Some(service) = zone {
            service.alias = Some(Alias::Service(target));
        }
    }
}

/// What all zones have.
struct NamespaceIndex {
    apexes: HashSet<Name>,
    declared: HashSet<Name>,
    aliases: HashMap<Name, Alias>,
    imports: HashMap<Name, Vec<ImportRule>>,
}

impl NamespaceIndex {
    fn of(zones: &[ZoneFile<'_>]) -> Self {
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

    /// Tells whether an import could bring the service.
    fn could_import(&self, name: &Name) -> bool {
        let label = name.labels().next().map(String::from_utf8_lossy);
        let imports = name.parent().and_then(|apex| self.imports.get(&apex));
        label.zip(imports).is_some_and(|(label, imports)| imports.iter().any(|one| one.could_bring(&label)))
    }

    fn check_client(&self, name: &Name, zone: &ZoneFile<'_>, reference: &Reference, log: &DiagnosticSink) {
        if let Some(alias) = self.aliases.get(name) {
            let (Alias::Service(to) | Alias::External(to)) = alias;
            return reference
                .error(
                    log,
                    format!(
                        "the service {:?} is an alias, which has no instances of its own",
                        name.to_string()
                    ),
                )
                .help(format!("name what it stands for: {:?}", to.to_string()))
                .report();
        }
        if !self.declared.contains(name) && !self.could_import(name) {
            self.unknown(name, zone, reference, log);
        }
    }

    /// What the alias leads to, if that is a service of ours; `None` for one to outside, and where it is refused.
    fn target(
        &self,
        service: &Name,
        zone: &ZoneFile<'_>,
        reference: &Reference,
        log: &DiagnosticSink,
    ) -> Option<Name> {
        let (Alias::Service(target) | Alias::External(target)) = self.aliases.get(service)?;
        let own = &zone.namespace.apex;
        match self.apex(target) {
            None => return None,
            Some(apex) if apex != own => {
                return reference
                    .error(log, "an alias stays in its namespace, or leads to a name that is in none")
                    .label(format!("{:?} is in the namespace {:?}", target.to_string(), apex.to_string()))
                    .help("give this service the members of that one: the same \"from\"")
                    .reject();
            }
            Some(_) if target == service => {
                return reference
                    .error(log, "an alias of itself")
                    .help("name another service, or give it instances with \"from\"")
                    .reject();
            }
            Some(_) => {}
        }
        if let Some(Alias::Service(next) | Alias::External(next)) = self.aliases.get(target) {
            return reference
                .error(log, format!("the service {:?} is an alias itself", target.to_string()))
                .help(format!("name what that one stands for: {:?}", next.to_string()))
                .reject();
        }
        if self.declared.contains(target) {
            return Some(target.clone());
        }
        if self.could_import(target) {
            return reference
                .error(log, format!("the service {:?} is an import's, if it is there at all", target.to_string()))
                .help("an alias is of a [services.NAME]; name what the import brings: from = [{ consul = ... }]")
                .reject();
        }
        self.unknown(target, zone, reference, log);
        None
    }

    /// Says that there is no such service.
    fn unknown(&self, name: &Name, zone: &ZoneFile<'_>, reference: &Reference, log: &DiagnosticSink) {
        let own = &zone.namespace.apex;
        let apex = self.apex(name);
        let text = reference.text.trim_end_matches('.');
        let relative = is_relative(&reference.text);
        let candidates: Vec<String> = self
            .declared
            .iter()
            .map(|name| match name.below(own).filter(|_| relative) {
                Some(_) => shown_below(name, own),
                None => name.to_string(),
            })
            .collect();
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
                format!("there is no service {:?} in the namespace {:?}", shorten(text), apex.to_string())
            }
            None => format!("there is no namespace that has the service {:?}", shorten(text)),
        };
        reference.error(log, message).help(help).report();
    }
}

/// The name without the apex that it is below.
fn shown_below(name: &Name, apex: &Name) -> String {
    let (name, apex) = (name.to_string(), apex.to_string());
    name.strip_suffix(&apex).and_then(|name| name.strip_suffix('.')).unwrap_or(&name).to_owned()
}

fn check_further(
    name: &Name,
    zone: &ZoneFile<'_>,
    reference: &Reference,
    log: &DiagnosticSink,
    first: Option<&Reference>,
) {
    let text = shorten(&reference.text);
    if zone.declared.contains(name) {
        reference
            .error(log, format!("the further name {text:?} is a service's"))
            .help("choose another one, or make it the service's own: of its instances only some")
            .report();
    } else if let Some(first) = first {
        reference
            .error(log, format!("the further name {text:?} is there twice"))
            .also((&first.file, first.span), "first here")
            .report();
    }
}
