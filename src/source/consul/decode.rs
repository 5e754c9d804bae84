//! The JSON of Consul's health and catalog endpoints: the fields that muster reads. Strings are
//! borrowed from the body.
//!
//! *Source*:
//! <https://developer.hashicorp.com/consul/api-docs/health#list-service-instances-for-service> and
//! <https://developer.hashicorp.com/consul/api-docs/catalog#list-services>. Consul is written in
//! Go, which encodes empty lists, maps and pointers as `null`: every field may be `null` or
//! missing.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// A string, borrowed from the body unless it contains escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// One instance of a service, with its node and the checks of both.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct HealthEntry<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) node: ConsulNode<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) service: ConsulService<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) checks: Vec<ConsulCheck<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ConsulNode<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) node: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) address: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) datacenter: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) tagged_addresses: TaggedAddresses<Text<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) meta: BTreeMap<Text<'a>, Text<'a>>,
    /// Since Consul 1.17.
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) locality: ConsulLocality<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ConsulService<'a> {
    #[serde(rename = "ID", borrow, deserialize_with = "nullable")]
    pub(super) id: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) tags: Vec<Text<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) address: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) tagged_addresses: TaggedAddresses<ServiceAddress<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) meta: BTreeMap<Text<'a>, Text<'a>>,
    #[serde(deserialize_with = "nullable")]
    pub(super) port: i64,
    pub(super) weights: Option<ConsulWeights>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) locality: ConsulLocality<'a>,
}

/// Addresses by well-known tags. Other tags have a meaning only to those who set them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TaggedAddresses<T> {
    pub(super) lan_ipv4: Option<T>,
    pub(super) lan_ipv6: Option<T>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ServiceAddress<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) address: Text<'a>,
    #[serde(deserialize_with = "nullable")]
    pub(super) port: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ConsulWeights {
    #[serde(default = "default_weight")]
    pub(super) passing: i64,
    #[serde(default = "default_weight")]
    pub(super) warning: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ConsulLocality<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) zone: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ConsulCheck<'a> {
    #[serde(rename = "CheckID", borrow, deserialize_with = "nullable")]
    pub(super) id: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) name: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) status: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) notes: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) output: Text<'a>,
}

/// Decodes the body of `/v1/health/service/<name>`.
///
/// # Errors
/// When the body is not JSON of that shape.
pub(super) fn entries(body: &[u8]) -> Result<Vec<HealthEntry<'_>>, serde_json::Error> {
    serde_json::from_slice::<Option<_>>(body).map(Option::unwrap_or_default)
}

/// A check in a list of checks.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListedCheck<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) node: Text<'a>,
    #[serde(rename = "CheckID", borrow, deserialize_with = "nullable")]
    pub(super) id: Text<'a>,
    /// Empty for a check of the node itself.
    #[serde(rename = "ServiceName", borrow, deserialize_with = "nullable")]
    pub(super) service: Text<'a>,
}

/// Decodes the body of `/v1/health/state/<state>`.
///
/// # Errors
/// When the body is not JSON of that shape.
pub(super) fn checks(body: &[u8]) -> Result<Vec<ListedCheck<'_>>, serde_json::Error> {
    serde_json::from_slice::<Option<_>>(body).map(Option::unwrap_or_default)
}

/// Decodes the names in the body of `/v1/catalog/services`, in order.
///
/// # Errors
/// When the body is not JSON of that shape.
pub(super) fn service_names(body: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let services: Option<BTreeMap<String, IgnoredAny>> = serde_json::from_slice(body)?;
    Ok(services.unwrap_or_default().into_keys().collect())
}

/// A value that is its default when `null`.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

fn default_weight() -> i64 {
    1
}
