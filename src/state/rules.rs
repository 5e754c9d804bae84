//! Fingerprints of rules: whether stored state answers the query that the configuration has now.

use std::{
    collections::HashMap,
    hash::{Hash as _, Hasher as _},
};

use serde_json::{Value, json};
use siphasher::sip::SipHasher24;

use crate::{
    config::{
        CheckKind, Config, ConsulQuery, HealthCheck, HttpCheck, KubernetesObjects, KubernetesQuery,
        MemberRule, PortRef, SourceQuery, TlsCheck,
    },
    model::{Import, Member, SourceId, SourceKind},
};

/// The fingerprints of a configuration's members and imports.
///
/// A fingerprint covers what decides which instances a source reports and how they look: the
/// source's address, cluster and datacenter, and the member's rule. Timing, TLS and tokens are left
/// out. It is the same for every version of muster that asks the same.
#[derive(Debug)]
pub(super) struct Rules {
    sources: HashMap<SourceId, Value>,
    members: HashMap<Member, u64>,
    imports: HashMap<Import, u64>,
}

impl Rules {
    pub(super) fn new(config: &Config) -> Self {
        let consul = config
            .consul
            .iter()
            .map(|source| (source.id.clone(), json!(["consul", source.address, source.datacenter])));
        let kubernetes = config
            .kubernetes
            .iter()
            .map(|source| (source.id.clone(), json!(["kubernetes", source.kubeconfig, source.context])));
        let sources: HashMap<_, _> = consul.chain(kubernetes).collect();
        let mut rules = Self { sources, members: HashMap::new(), imports: HashMap::new() };
        for namespace in &config.namespaces {
            for (member, rule) in namespace.services.iter().flat_map(|service| service.members()) {
                if let Some(value) = rules.of_member(rule) {
                    rules.members.insert(member, fingerprint(&value));
                }
            }
            for (import, rule) in namespace.imports() {
                let source = rules.sources.get(&rule.source);
                let value = json!([source, "import", rule.include, rule.exclude]);
                rules.imports.insert(import, fingerprint(&value));
            }
        }
        rules
    }

    /// A member's fingerprint; `None` if its state is not kept.
    pub(super) fn member(&self, member: &Member) -> Option<u64> {
        if member.place == Member::IMPORTED || member.place == Member::CLIENTS {
            return Some(fingerprint(&json!([self.sources.get(&member.source)?, member.place])));
        }
        self.members.get(member).copied()
    }

    /// An import's fingerprint; `None` if the configuration lacks it.
    pub(super) fn import(&self, import: &Import) -> Option<u64> {
        self.imports.get(import).copied()
    }

    fn of_member(&self, rule: &MemberRule) -> Option<Value> {
        let query = match &rule.query {
            SourceQuery::Consul(ConsulQuery { service, tags, filter, datacenter, port }) => {
                json!([service, tags, filter, datacenter, port])
            }
            SourceQuery::Kubernetes(KubernetesQuery { namespace, objects, port }) => {
                json!([namespace, objects_value(objects), port.as_ref().map(port_value)])
            }
            // Only the health that probes found is kept. The file has everything else.
            SourceQuery::Static(member) => return member.check.as_ref().map(check_value),
        };
        debug_assert_ne!(rule.source.kind, SourceKind::Static, "a static member has a static query");
        let labels: Vec<_> = rule.labels.iter().collect();
        let port_name = rule.port_name.as_ref().map(|(name, protocol)| (name.as_ref(), protocol.as_str()));
        Some(json!([self.sources.get(&rule.source), query, labels, port_name]))
    }
}

fn objects_value(objects: &KubernetesObjects) -> Value {
    match objects {
        KubernetesObjects::Pods(selector) => json!(["pods", selector.to_string()]),
        KubernetesObjects::Service(service) => json!(["service", service]),
    }
}

fn port_value(port: &PortRef) -> Value {
    match port {
        PortRef::Number(number) => json!(number),
        PortRef::Name(name) => json!(name),
    }
}

/// What a probe asks, without how often.
fn check_value(check: &HealthCheck) -> Value {
    match &check.kind {
        CheckKind::Tcp => json!(["tcp", check.port]),
        CheckKind::Http(HttpCheck { path, tls, host, status, body }) => match tls {
            None => json!(["http", check.port, path, host, status, body]),
            Some(TlsCheck::AnyCertificate) => json!(["https", check.port, path, host, status, body]),
            Some(TlsCheck::Verified { ca_file, valid_for }) => {
                let verified = (ca_file, valid_for.as_secs());
                json!(["https", check.port, path, host, status, body, verified])
            }
        },
    }
}

fn fingerprint(value: &Value) -> u64 {
    let mut hasher = SipHasher24::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}
