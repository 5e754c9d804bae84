//! Nodes and their availability zones.

use std::sync::Arc;

use serde::Deserialize;

use super::{collection::Object, json::Metadata};

/// A node and its availability zone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) zone: Option<Arc<str>>,
}

/// The fields of a node that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeJson {
    metadata: Metadata,
}

impl Node {
    /// The labels with the zone: the current one, and the one before Kubernetes 1.17.
    ///
    /// <https://kubernetes.io/docs/reference/labels-annotations-taints/#topologykubernetesiozone>
    const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];
}

impl Object for Node {
    type Json = NodeJson;

    fn version(json: &NodeJson) -> &str {
        &json.metadata.resource_version
    }

    fn from_json(json: NodeJson) -> Self {
        let labels = json.metadata.labels.unwrap_or_default();
        let zone =
            Self::LABELS.into_iter().find_map(|label| labels.get(label).filter(|zone| !zone.is_empty()));
        Self { name: json.metadata.name.into(), zone: zone.map(|zone| zone.as_str().into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(labels: serde_json::Value) -> Option<String> {
        let json = serde_json::json!({ "metadata": { "name": "n", "labels": labels } });
        Node::from_json(serde_json::from_value(json).unwrap()).zone.map(|zone| zone.to_string())
    }

    #[test]
    fn the_current_label_wins_over_the_old_one() {
        let (new, old) = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone");
        assert_eq!(zone(serde_json::json!({ new: "a", old: "b" })).as_deref(), Some("a"));
        assert_eq!(zone(serde_json::json!({ old: "b" })).as_deref(), Some("b"));
        assert_eq!(zone(serde_json::json!({ new: "" })), None);
        assert_eq!(zone(serde_json::Value::Null), None);
    }
}
