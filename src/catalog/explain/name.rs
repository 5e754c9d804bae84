//! Explaining a name: its kind, its service, and the client.

use super::{position::NamePosition, query::ExplainQuery, service::RouteClient};
use crate::{
    catalog::{snapshot::Lookup, state::Catalog, zone::Zone},
    model::{Explained, ExplainedClient, ExplainedService, KnownAs, Member, NameKind, Network},
};

/// The kind of name, a note for people, and the name's service.
type Explanation = (NameKind, String, Option<ExplainedService>);

impl Catalog {
    /// Explains how a name is answered, except for the answer itself. Changes nothing.
    ///
    /// *Cost*: that of publishing the service once.
    pub fn explain(&self, query: &ExplainQuery) -> Explained {
        let view = self.snapshot.view();
        let client = view.client(Network::from(query.client));
        let route_client =
            RouteClient { client: &client, address: query.client, tests: &self.client_index.tests };
        let name = &query.name;
        let (kind, note, service) = match view.lookup(name.wire()) {
            Lookup::Service(service, at) => {
                debug_assert!(at < name.as_wire().len(), "the service's name ends the queried one");
                let below = name.as_wire().get(..at).unwrap_or_default();
                let position = NamePosition::find(service, below);
                match self.explain_service(&service.name, &position, query, &route_client) {
                    Some(explained) => {
                        let (kind, note) = position.describe(service, &explained);
                        (kind, note, Some(explained))
                    }
                    None => (NameKind::NotSynced, "the service is changing: try again".to_owned(), None),
                }
            }
            other => self.explain_other(query, &other),
        };
        let known_as = self.client_index.reporters_of(query.client).map(|(member, id)| KnownAs {
            source: member.source.to_string(),
            service: (member.place != Member::CLIENTS).then(|| member.service.to_string()),
            id: id.to_string(),
        });
        let locality = client.locality();
        Explained {
            name: format!("{name}."),
            qtype: query.qtype.to_string(),
            client: ExplainedClient {
                address: query.client,
                known_as: known_as.collect(),
                ambiguous: client.is_ambiguous(),
                zone: locality.map(|at| at.zone.to_string()),
                region: locality.map(|at| at.region.to_string()),
            },
            kind,
            note,
            service,
            answer: None,
        }
    }

    /// Explains a name that belongs to no service.
    fn explain_other(&self, query: &ExplainQuery, lookup: &Lookup<'_>) -> Explanation {
        let name = &query.name;
        let is_own_server = |zone: &Zone| zone.built_in_ns && zone.ns.contains(name);
        let (kind, note) = match lookup {
            Lookup::NxDomain(zone) | Lookup::NotSynced(zone) if is_own_server(zone) => {
                (NameKind::Namespace, format!("the name server of {}", zone.apex))
            }
            Lookup::Apex(zone) => {
                let note =
                    format!("the namespace itself: it has SOA and NS; services are below {}", zone.apex);
                (NameKind::Namespace, note)
            }
            Lookup::EmptyNonTerminal(_) => {
                (NameKind::EmptyNonTerminal, "it has no records, but there are names below it".to_owned())
            }
            Lookup::Address(_, names) => {
                let names: Vec<_> = names.as_slice().iter().map(ToString::to_string).collect();
                (NameKind::Pointer, format!("the reverse name of an address of {}", names.join(", ")))
            }
            Lookup::Browse(zone, name) => (NameKind::Pointer, name.describe(zone)),
            Lookup::NxDomain(zone) if zone.is_reverse() => {
                (NameKind::NxDomain, "no instance has this address".to_owned())
            }
            Lookup::NxDomain(zone) => (NameKind::NxDomain, format!("no such service in {}", zone.apex)),
            Lookup::NotSynced(zone) => (NameKind::NotSynced, self.not_synced_note(zone)),
            Lookup::External | Lookup::Service(..) => {
                (NameKind::External, "in none of the namespaces".to_owned())
            }
        };
        (kind, note, None)
    }

    fn not_synced_note(&self, zone: &Zone) -> String {
        let waiting = self.imports.iter().filter(|(import, state)| import.apex == zone.apex && !state.synced);
        let mut sources: Vec<_> = waiting.map(|(import, _)| import.source.to_string()).collect();
        sources.sort_unstable();
        sources.dedup();
        let apex = &zone.apex;
        match sources.as_slice() {
            [] => format!("no such port in {apex} yet: not all of its services have synced"),
            [source] => format!("no such service in {apex} yet: waiting for the service list of {source}"),
            sources => {
                format!(
                    "no such service in {apex} yet: waiting for the service lists of {}",
                    sources.join(", ")
                )
            }
        }
    }
}
