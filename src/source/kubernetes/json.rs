//! The parts of the API's JSON that all objects share.
//!
//! Only fields that muster reads are declared; serde skips the rest. Go encodes an empty list or
//! map as `null` if its field lacks `omitempty`, so all of them are optional here.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

/// The `metadata` of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) resource_version: String,
    pub(super) uid: Option<String>,
    pub(super) deletion_timestamp: Option<IgnoredAny>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) annotations: Option<Annotations>,
}

/// The annotations that muster reads.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Annotations {
    #[serde(rename = "muster.dev/weight")]
    pub(super) weight: Option<String>,
}

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    #[serde(default)]
    pub(super) metadata: ListMetadata,
    pub(super) items: Option<Vec<T>>,
}

/// The `metadata` of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListMetadata {
    pub(super) resource_version: Option<String>,
    #[serde(rename = "continue")]
    pub(super) continue_token: Option<String>,
}
