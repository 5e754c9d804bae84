//! Collections: which objects a feed follows, and what is read of each.

use serde::de::DeserializeOwned;

/// A kind of object, and how little of it is kept.
pub(super) trait Object: Sized + Send + 'static {
    /// The fields that are read.
    type Json: DeserializeOwned + Send;

    /// Returns the object's `resourceVersion`; empty where there is none.
    fn version(json: &Self::Json) -> &str;

    /// Converts what was read into what is kept.
    fn from_json(json: Self::Json) -> Self;
}

/// Which objects are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Collection {
    /// The path of its URL, such as `/api/v1/nodes`.
    pub(super) path: String,
    /// A label selector; `None`: all objects.
    pub(super) labels: Option<String>,
    /// Whether only the metadata of objects is asked for.
    pub(super) metadata_only: bool,
}

impl Collection {
    /// All objects with `labels` of a namespace; `api` is such as `/api/v1`.
    pub(super) fn namespaced(api: &str, namespace: &str, plural: &str, labels: String) -> Self {
        let labels = Some(labels).filter(|labels| !labels.is_empty());
        let path = format!("{api}/namespaces/{}/{plural}", escaped(namespace));
        Self { path, labels, metadata_only: false }
    }

    /// All objects of the cluster, in whichever namespace.
    pub(super) fn everywhere(api: &str, plural: &str) -> Self {
        Self { path: format!("{api}/{plural}"), labels: None, metadata_only: false }
    }

    /// The metadata of all objects of the cluster.
    pub(super) fn metadata(api: &str, plural: &str) -> Self {
        Self { path: format!("{api}/{plural}"), labels: None, metadata_only: true }
    }
}

/// Keeps a name from reaching out of its segment of a path.
fn escaped(name: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}
