//! Collections: which objects a feed follows, what it keeps of each, and how they change.

use serde::de::DeserializeOwned;

use super::scope::Scope;
use crate::source::WatchError;

/// A kind of object, reduced to what muster keeps of it.
pub(super) trait Object: Sized + Send + 'static {
    /// The fields that are read.
    type Json: DeserializeOwned + Send;

    /// Returns the object's `resourceVersion`; empty if there is none.
    fn version(json: &Self::Json) -> &str;

    /// Converts the fields that were read into what is kept.
    fn from_json(json: Self::Json) -> Self;
}

/// The objects that a feed follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Collection {
    /// The path of the URL, such as `/api/v1/nodes`.
    pub(super) path: String,
    /// A label selector; `None`: all objects.
    pub(super) labels: Option<String>,
    /// Whether only the metadata of objects is requested.
    pub(super) metadata_only: bool,
}

/// One change of a collection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ObjectChange<T> {
    /// All objects.
    All(Vec<T>),
    /// Nothing has changed: after a failure, a new watch goes on where the last one was.
    Resumed,
    /// One object, new or changed.
    Applied(T),
    /// The last state of an object that is gone or no longer matches the selector.
    Deleted(T),
}

impl Collection {
    /// The most objects that one watch may follow: Kubernetes supports 150,000 pods in a cluster.
    ///
    /// <https://kubernetes.io/docs/setup/best-practices/cluster-large/>
    pub(super) const MAX_OBJECTS: usize = 200_000;

    /// The objects in `scope`; `api` is a path such as `/api/v1`.
    pub(super) fn within(scope: &Scope, api: &str, plural: &str) -> Self {
        let (namespace, labels) = match scope {
            Scope::Cluster => (None, None),
            Scope::Namespace(namespace) => (Some(namespace), None),
            Scope::Selected { namespace, labels } => (Some(namespace), Some(labels.clone())),
        };
        let path = match namespace {
            Some(namespace) => format!("{api}/namespaces/{}/{plural}", escaped(namespace)),
            None => format!("{api}/{plural}"),
        };
        Self { path, labels: labels.filter(|labels| !labels.is_empty()), metadata_only: false }
    }

    /// The error of a watch that would follow too many objects.
    pub(super) fn too_many() -> WatchError {
        WatchError::Refused(format!("more than {} objects in one watch", Self::MAX_OBJECTS))
    }

    /// The metadata of all objects of the cluster.
    pub(super) fn metadata(api: &str, plural: &str) -> Self {
        Self { path: format!("{api}/{plural}"), labels: None, metadata_only: true }
    }
}

/// Escapes a name so that it stays within one segment of a path.
fn escaped(name: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}
