//! Explaining: why a name is answered as it is, to one client.
//!
//! Made from what answers are made from: the same merge, the same [`policy::plan`](crate::policy::plan()) with a copy of
//! what it remembers, so that looking changes nothing. What is really answered is asked of the answer path by who asks for
//! the explanation, while the catalog stands still; a property test holds the two together.
//!
//! Explaining from the compiled pools was rejected: they no longer know why an instance is not in them.

mod list;
mod service;
mod verdict;
mod words;

use std::net::IpAddr;

use hickory_proto::rr::RecordType;

use self::service::{At, Seen};
use super::{snapshot::Lookup, state::Catalog, zone::Zone};
use crate::model::{Explained, ExplainedClient, ExplainedService, KnownAs, Member, Name, NameKind, Network};

/// What is to be explained.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The name.
    pub name: Name,
    /// The type of the question.
    pub qtype: RecordType,
    /// Who would ask.
    pub client: IpAddr,
    /// How many instances are listed at most.
    pub limit: usize,
}

type Explanation = (NameKind, String, Option<ExplainedService>);

impl Catalog {
    /// Explains how a name is answered; all but the answer itself. Changes nothing. *Cost*: that of publishing the service once.
    pub fn explain(&self, asked: &Asked) -> Explained {
        let view = self.snapshot.view();
        let client = view.client(Network::of(asked.client));
        let seen = Seen { client: &client, address: asked.client, tests: &self.client_index.tests };
        let name = &asked.name;
        let (kind, note, service) = match view.lookup(name.as_wire()) {
            Lookup::Service(service, at) => {
                let below = name.as_wire().get(..at).unwrap_or_default();
                let at = At::find(service, below);
                match self.explain_service(&service.name, &at, asked, &seen) {
                    Some(explained) => at.describe(service, explained),
                    None => {
                        (NameKind::NotSynced, "it is changing at this moment: ask again".to_owned(), None)
                    }
                }
            }
            other => self.explain_other(asked, &other),
        };
        let known_as = self.client_index.reporters_of(asked.client).map(|(member, id)| KnownAs {
            source: member.source.to_string(),
            service: (member.place != Member::CLIENTS).then(|| member.service.to_string()),
            id: id.to_string(),
        });
        let locality = client.locality();
        Explained {
            name: format!("{name}."),
            qtype: asked.qtype.to_string(),
            client: ExplainedClient {
                address: asked.client,
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

    /// Explains a name that is no service's.
    fn explain_other(&self, asked: &Asked, lookup: &Lookup<'_>) -> Explanation {
        let name = &asked.name;
        let is_own_server = |zone: &Zone| zone.built_in_ns && zone.ns.contains(name);
        let (kind, note) = match lookup {
            Lookup::NxDomain(zone) | Lookup::NotSynced(zone) if is_own_server(zone) => {
                let note = format!("the name server of {}", zone.apex);
                (NameKind::Namespace, note)
            }
            Lookup::Apex(zone) => {
                let note =
                    format!("the namespace itself: it has SOA and NS; its services are below {}", zone.apex);
                (NameKind::Namespace, note)
            }
            Lookup::EmptyNonTerminal(_) => (
                NameKind::EmptyNonTerminal,
                "it has no records of its own, but something stands below it".to_owned(),
            ),
            Lookup::Address(_, names) => {
                let names: Vec<_> = names.as_slice().iter().map(ToString::to_string).collect();
                (NameKind::Pointer, format!("the reverse name of an address of {}", names.join(", ")))
            }
            Lookup::Browse(zone, what) => (NameKind::Pointer, what.describe(zone)),
            Lookup::NxDomain(zone) if zone.is_reverse() => {
                (NameKind::NxDomain, "no instance has an address of this reverse name".to_owned())
            }
            Lookup::NxDomain(zone) => (NameKind::NxDomain, format!("no such service in {}", zone.apex)),
            Lookup::NotSynced(zone) => (NameKind::NotSynced, self.unknown(zone)),
            Lookup::External | Lookup::Service(..) => {
                (NameKind::External, "under none of the namespaces here".to_owned())
            }
        };
        (kind, note, None)
    }

    fn unknown(&self, zone: &Zone) -> String {
        let unheard = self.imports.iter().filter(|(import, state)| import.apex == zone.apex && !state.synced);
        let mut sources: Vec<_> = unheard.map(|(import, _)| import.source.to_string()).collect();
        sources.sort_unstable();
        sources.dedup();
        if sources.is_empty() {
            let apex = &zone.apex;
            return format!(
                "nobody in {apex} is known to have such a port, but not all of its services have been heard"
            );
        }
        format!(
            "no such service in {} is known, but it is not known either that there is none: {} has not said which \
             services it has",
            zone.apex,
            sources.join(", ")
        )
    }
}

#[cfg(test)]
mod tests;
