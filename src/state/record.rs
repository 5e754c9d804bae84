//! Records: the stored form of members, imports and instances, as JSON.
//!
//! Rejected: the types of [`crate::model`] themselves. A change of theirs would change the file.

use std::net::IpAddr;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::model::{
    Health, Import, Instance, Member, Name, NamedPort, Protocol, SourceId, SourceKind, Target,
};

/// The state of one member.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MemberRecord {
    /// The fingerprint of its rule.
    pub(super) rule: u64,
    pub(super) instances: Vec<InstanceRecord>,
}

/// The state of one import.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ImportRecord {
    /// The fingerprint of its rule.
    pub(super) rule: u64,
    pub(super) names: Vec<String>,
}

/// One instance.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InstanceRecord {
    id: String,
    addresses: Vec<IpAddr>,
    host: Option<String>,
    port: u16,
    named_ports: Vec<(String, String, u16)>,
    health: String,
    reason: Option<String>,
    weight: u16,
    labels: Vec<(String, String)>,
    locality: Option<String>,
    datacenter: Option<String>,
    kube_namespace: Option<String>,
    shares_address: bool,
}

/// Name, kind of source, name of source, place.
type KeyParts = (String, String, String, u16);

/// The key of a member's record.
pub(super) fn member_key(member: &Member) -> String {
    key(&member.service, &member.source, member.place)
}

/// The key of an import's record.
pub(super) fn import_key(import: &Import) -> String {
    key(&import.apex, &import.source, import.place)
}

pub(super) fn member_of(key: &str) -> Option<Member> {
    let (service, source, place) = parts(key)?;
    Some(Member { service, source, place })
}

pub(super) fn import_of(key: &str) -> Option<Import> {
    let (apex, source, place) = parts(key)?;
    Some(Import { apex, source, place })
}

pub(super) fn encode(record: &impl Serialize) -> Vec<u8> {
    let encoded = serde_json::to_vec(record);
    debug_assert!(encoded.is_ok(), "records have string keys only");
    encoded.unwrap_or_default()
}

pub(super) fn decode<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

fn key(name: &Name, source: &SourceId, place: u16) -> String {
    let key = serde_json::to_string(&(name.to_string(), source.kind.as_str(), source.name.as_ref(), place));
    debug_assert!(key.is_ok(), "strings and numbers have a form in JSON");
    key.unwrap_or_default()
}

fn parts(key: &str) -> Option<(Name, SourceId, u16)> {
    let (name, kind, source, place): KeyParts = serde_json::from_str(key).ok()?;
    let kinds = [SourceKind::Consul, SourceKind::Kubernetes, SourceKind::Static];
    let kind = kinds.into_iter().find(|known| known.as_str() == kind)?;
    Some((name.parse().ok()?, SourceId { kind, name: source.into() }, place))
}

impl InstanceRecord {
    pub(super) fn new(instance: &Instance) -> Self {
        // Without `..`, so that a new field is not forgotten here.
        let Instance {
            id,
            target,
            port,
            named_ports,
            health,
            reason,
            weight,
            labels,
            locality,
            datacenter,
            kube_namespace,
            shares_address,
            held: _, // the catalog hands over the source's word
        } = instance;
        let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
        let (addresses, host) = match target {
            Target::Addresses(addresses) => (addresses.to_vec(), None),
            Target::Host(name) => (Vec::new(), Some(name.to_string())),
        };
        let named_port =
            |named: &NamedPort| (named.name.to_string(), named.protocol.as_str().to_owned(), named.port);
        Self {
            id: id.to_string(),
            addresses,
            host,
            port: *port,
            named_ports: named_ports.iter().map(named_port).collect(),
            health: health.as_str().to_owned(),
            reason: text(reason),
            weight: *weight,
            labels: labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            locality: text(locality),
            datacenter: text(datacenter),
            kube_namespace: text(kube_namespace),
            shares_address: *shares_address,
        }
    }

    /// The instance; `None` if it has no target or a value that this version does not know.
    pub(super) fn instance(self) -> Option<Instance> {
        let target = match self.host {
            Some(host) => Target::Host(host.parse().ok()?),
            None if self.addresses.is_empty() => return None,
            None => Target::Addresses(self.addresses.into()),
        };
        let named_port = |(name, protocol, port): (String, String, u16)| {
            let protocol =
                [Protocol::Tcp, Protocol::Udp].into_iter().find(|known| known.as_str() == protocol)?;
            Some(NamedPort { name: name.into(), protocol, port })
        };
        Some(Instance {
            id: self.id.into(),
            target,
            port: self.port,
            named_ports: self.named_ports.into_iter().map(named_port).collect::<Option<_>>()?,
            health: Health::ALL.into_iter().find(|known| known.as_str() == self.health)?,
            reason: self.reason.map(Into::into),
            weight: self.weight,
            labels: self.labels.into_iter().collect(),
            locality: self.locality.map(Into::into),
            datacenter: self.datacenter.map(Into::into),
            kube_namespace: self.kube_namespace.map(Into::into),
            shares_address: self.shares_address,
            held: None,
        })
    }
}
