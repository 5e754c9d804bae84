//! A zone file: one namespace with its services and imports.

use std::path::PathBuf;

use super::{answer_settings::AnswerSettings, pattern::matches, service::ServiceDefinition};
use crate::model::{Import, Name, SourceId};

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The namespace's own name.
    pub apex: Name,
    /// The path of the zone file.
    pub file: PathBuf,
    /// Default TTL of positive answers, in seconds.
    pub ttl: u32,
    /// TTL of negative answers (RFC 2308 section 5), in seconds.
    pub negative_ttl: u32,
    /// Name servers; empty for the built-in name server `ns.<apex>`, whose address is the one that
    /// the query was sent to.
    pub ns: Vec<Name>,
    /// The mailbox in the SOA record, as a name.
    pub hostmaster: Name,
    /// Which types of answers set TC if they do not fit into a datagram.
    pub truncate: Truncate,
    /// Whether clients can browse the services (DNS-SD, RFC 6763).
    pub dns_sd: bool,
    /// Services, sorted by name.
    pub services: Vec<ServiceDefinition>,
    /// Imports, in the order of the file.
    pub imports: Vec<ImportRule>,
}

impl Namespace {
    /// Default `negative_ttl`, in seconds.
    pub const DEFAULT_NEGATIVE_TTL: u32 = 1;

    /// The imports, with the numbers by which sources and catalog know them.
    pub fn imports(&self) -> impl Iterator<Item = (Import, &ImportRule)> {
        (0..).zip(&self.imports).map(|(place, rule)| {
            let import = Import { apex: self.apex.clone(), source: rule.source.clone(), place };
            (import, rule)
        })
    }
}

/// Which types of answers set TC if they do not fit; the others return a rotating subset without
/// TC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// A and AAAA. Off by default: some stub resolvers never retry over TCP.
    pub addresses: bool,
    /// SRV. On by default.
    pub srv: bool,
}

impl Default for Truncate {
    fn default() -> Self {
        Self { addresses: false, srv: true }
    }
}

/// `[[import]]`: every service that a Consul source lists gets a name in the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRule {
    /// The Consul source.
    pub source: SourceId,
    /// Patterns of service names, of which one must match; `*` stands for any run of characters.
    pub include: Vec<String>,
    /// Patterns of which none may match.
    pub exclude: Vec<String>,
    /// Settings of the imported services' answers.
    pub answers: AnswerSettings,
}

impl ImportRule {
    /// Whether the import brings a service with this name in Consul.
    pub fn takes(&self, service: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, service));
        any(&self.include) && !any(&self.exclude)
    }

    /// Whether the import can bring a service with this label, which is in lower case.
    pub(in crate::config) fn can_bring(&self, label: &str) -> bool {
        let takes = |pattern: &String| matches(&pattern.to_ascii_lowercase(), label);
        self.include.iter().any(takes) && !self.exclude.iter().any(|pattern| matches(pattern, label))
    }
}
