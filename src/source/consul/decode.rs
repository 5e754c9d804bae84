//! The JSON of Consul's health and catalog endpoints, as far as it is needed; strings are borrowed from the body.
//!
//! *Source*: <https://developer.hashicorp.com/consul/api-docs/health#list-service-instances-for-service> and
//! <https://developer.hashicorp.com/consul/api-docs/catalog#list-services>. Consul is written in Go, whose encoder gives
//! `null` for empty lists, maps and pointers: everything may be `null` or missing.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// A string that is borrowed from the body unless there are escapes in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// An instance of a service with its node and the checks of both.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Entry<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) node: Node<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) service: Service<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) checks: Vec<Check<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Node<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) node: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) address: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) datacenter: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) tagged_addresses: Tagged<Text<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) meta: BTreeMap<Text<'a>, Text<'a>>,
    /// Since Consul 1.17.
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) locality: Locality<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Service<'a> {
    #[serde(rename = "ID", borrow, deserialize_with = "nullable")]
    pub(super) id: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) tags: Vec<Text<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) address: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) tagged_addresses: Tagged<ServiceAddress<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) meta: BTreeMap<Text<'a>, Text<'a>>,
    #[serde(deserialize_with = "nullable")]
    pub(super) port: i64,
    pub(super) weights: Option<Weights>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) locality: Locality<'a>,
}

/// Addresses by well-known tags; those of other tags are not ours to choose.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tagged<T> {
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
pub(super) struct Weights {
    #[serde(default = "one")]
    pub(super) passing: i64,
    #[serde(default = "one")]
    pub(super) warning: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Locality<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) zone: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Check<'a> {
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

/// Reads the body of `/v1/health/service/<name>`.
///
/// # Errors
/// When it is not JSON of that shape.
pub(super) fn entries(body: &[u8]) -> Result<Vec<Entry<'_>>, serde_json::Error> {
    serde_json::from_slice::<Option<_>>(body).map(Option::unwrap_or_default)
}

/// Reads the names in the body of `/v1/catalog/services`, in order.
///
/// # Errors
/// When it is not JSON of that shape.
pub(super) fn service_names(body: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let services: Option<BTreeMap<String, IgnoredAny>> = serde_json::from_slice(body)?;
    Ok(services.unwrap_or_default().into_keys().collect())
}

fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

fn one() -> i64 {
    1
}
