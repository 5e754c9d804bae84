//! One zone file: a namespace with its services and imports.

use std::path::PathBuf;

use super::{answer_settings::AnswerSettings, pattern::matches, service::ServiceDefinition};
use crate::model::{Import, Name, SourceId};

/// A namespace: one file under `zones`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The zone's name.
    pub apex: Name,
    /// The file it came from, as shown to people.
    pub file: PathBuf,
    /// TTL of positive answers where the service says nothing, in seconds.
    pub ttl: u32,
    /// TTL of negative answers (RFC 2308 section 5), in seconds.
    pub negative_ttl: u32,
    /// Names of its name servers; empty: `ns.<apex>`, which has the address that was asked.
    pub ns: Vec<Name>,
    /// The SOA's mailbox, as a name.
    pub hostmaster: Name,
    /// Whether an answer that does not fit into a datagram says TC, by type of question.
    pub truncate: Truncate,
    /// Whether its services can be browsed (DNS-SD, RFC 6763).
    pub dns_sd: bool,
    /// Services, in the order of their names.
    pub services: Vec<ServiceDefinition>,
    /// Services that follow a source's own list.
    pub imports: Vec<ImportRule>,
}

impl Namespace {
    /// TTL of negative answers where nothing is said, in seconds.
    pub const DEFAULT_NEGATIVE_TTL: u32 = 1;
}

impl Namespace {
    /// The namespace's imports, with the numbers by which sources and catalog know them.
    pub fn imports(&self) -> impl Iterator<Item = (Import, &ImportRule)> {
        (0..).zip(&self.imports).map(|(place, rule)| {
            let import = Import { apex: self.apex.clone(), source: rule.source.clone(), place };
            (import, rule)
        })
    }
}

/// Which types of answers say TC when they do not fit; the others give a rotating subset without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// For A and AAAA. Off by default: some stub resolvers never retry over TCP.
    pub addresses: bool,
    /// For SRV. On by default.
    pub srv: bool,
}

impl Default for Truncate {
    fn default() -> Self {
        Self { addresses: false, srv: true }
    }
}

/// `[[import]]`: every service that a Consul source lists gets its name in the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRule {
    /// The Consul source whose list is followed.
    pub source: SourceId,
    /// Patterns (`*` stands for any run of characters) of which one must match the service's name.
    pub include: Vec<String>,
    /// Patterns of which none may match.
    pub exclude: Vec<String>,
    /// What the answers look like.
    pub answers: AnswerSettings,
}

impl ImportRule {
    /// Tells whether the import brings a service that Consul calls `service`.
    pub fn takes(&self, service: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, service));
        any(&self.include) && !any(&self.exclude)
    }

    /// Tells whether a service that the import brings can have this name, in lower case as names are looked up.
    pub(in crate::config) fn can_bring(&self, label: &str) -> bool {
        let takes = |pattern: &String| matches(&pattern.to_ascii_lowercase(), label);
        self.include.iter().any(takes) && !self.exclude.iter().any(|pattern| matches(pattern, label))
    }
}
