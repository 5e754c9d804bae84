//! Scopes: which objects of a kind one watch follows, and how members share watches.
//!
//! A few selectors in a namespace are followed by a watch each: the server then sends only what
//! they match. More of them share one watch of the namespace, and the members of many namespaces
//! share one watch of the cluster; what matches is found locally. So the number of connections does
//! not grow with the number of members.

use std::collections::BTreeMap;

use crate::{
    config::{KubernetesObjects, SourceQuery},
    source::FollowedMember,
};

/// The objects of one kind that a watch follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// Those of all namespaces.
    Cluster,
    /// Those of one namespace.
    Namespace(String),
    /// Those of one namespace that match a label selector.
    Selected { namespace: String, labels: String },
}

/// The members that follow the same objects.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MemberGroup {
    pub(super) namespace: String,
    pub(super) objects: KubernetesObjects,
    pub(super) members: Vec<FollowedMember>,
}

/// The most selectors in one namespace that have watches of their own.
const MAX_SELECTED: usize = 3;
/// The most namespaces that have watches of their own, if the token may read the whole cluster.
const MAX_NAMESPACES: usize = 8;

impl Scope {
    /// The namespace of all objects in the scope; `None`: they are of several.
    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Cluster => None,
            Self::Namespace(namespace) | Self::Selected { namespace, .. } => Some(namespace),
        }
    }

    /// The name of the watch in logs and status; `objects` is the plural of the kind.
    pub(super) fn name(&self, objects: &str) -> String {
        match self {
            Self::Cluster => format!("all {objects}"),
            Self::Namespace(namespace) => format!("{objects} in {namespace}"),
            Self::Selected { namespace, labels } => format!("{objects} {labels} in {namespace}"),
        }
    }

    /// Whether the server sends only objects that match the one group of the scope.
    pub(super) fn is_selected(&self) -> bool {
        matches!(self, Self::Selected { .. })
    }
}

impl MemberGroup {
    fn selects_pods(&self) -> bool {
        matches!(self.objects, KubernetesObjects::Pods(_))
    }

    /// The label selector that the server would apply to the group's objects.
    fn labels(&self) -> String {
        match &self.objects {
            KubernetesObjects::Pods(selector) => selector.to_string(),
            // https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#ownership
            KubernetesObjects::Service(service) => format!("kubernetes.io/service-name={service}"),
        }
    }
}

/// Groups members that follow the same objects: those of pods, and those of Services.
pub(super) fn groups(members: Vec<FollowedMember>) -> (Vec<MemberGroup>, Vec<MemberGroup>) {
    let mut groups = BTreeMap::<_, MemberGroup>::new();
    for followed in members {
        let SourceQuery::Kubernetes(query) = &followed.rule.query else {
            debug_assert!(false, "a member of a Kubernetes source has a Kubernetes query");
            continue;
        };
        let (namespace, objects) = (query.namespace.clone(), query.objects.clone());
        let group = MemberGroup { namespace, objects, members: Vec::new() };
        let key = (group.namespace.clone(), group.selects_pods(), group.labels());
        groups.entry(key).or_insert(group).members.push(followed);
    }
    groups.into_values().partition(MemberGroup::selects_pods)
}

/// Distributes the groups of one kind of object over as few watches as make sense.
///
/// `may_use_cluster`: the token may read the objects of all namespaces, as far as is known.
/// `is_cluster_followed`: all of them are followed already.
pub(super) fn share(
    groups: Vec<MemberGroup>,
    may_use_cluster: bool,
    is_cluster_followed: bool,
) -> BTreeMap<Scope, Vec<MemberGroup>> {
    let mut by_namespace = BTreeMap::<_, Vec<_>>::new();
    for group in groups {
        by_namespace.entry(group.namespace.clone()).or_default().push(group);
    }
    let mut scopes = BTreeMap::<_, Vec<_>>::new();
    let shares_cluster = may_use_cluster && (is_cluster_followed || by_namespace.len() > MAX_NAMESPACES);
    for (namespace, groups) in by_namespace {
        let is_shared = groups.len() > MAX_SELECTED;
        for group in groups {
            let namespace = namespace.clone();
            let scope = match (shares_cluster, is_shared) {
                (true, _) => Scope::Cluster,
                (false, true) => Scope::Namespace(namespace),
                (false, false) => Scope::Selected { namespace, labels: group.labels() },
            };
            scopes.entry(scope).or_default().push(group);
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kubernetes::endpoint::member;

    /// As many groups in each of so many namespaces.
    fn groups_of(namespaces: usize, selectors: usize) -> Vec<MemberGroup> {
        let mut groups = Vec::new();
        for (namespace, selector) in (0..namespaces).flat_map(|n| (0..selectors).map(move |s| (n, s))) {
            let objects = KubernetesObjects::Pods(format!("app=a{selector}").parse().unwrap());
            groups.push(MemberGroup { namespace: format!("n{namespace}"), objects, members: Vec::new() });
        }
        groups
    }

    #[test]
    fn many_selectors_share_a_namespace_and_many_namespaces_the_cluster() {
        for (namespaces, selectors, may_use_cluster, is_cluster_followed, watches) in [
            (1, 1, true, false, 1),
            (1, 3, true, false, 3),
            (1, 4, true, false, 1),
            (1, 500, true, false, 1),
            (8, 3, true, false, 24),
            (8, 500, true, false, 8),
            (9, 1, true, false, 1),
            (9, 1, false, false, 9),
            (9, 500, false, false, 9),
            (1, 1, true, true, 1),
            (1, 3, false, true, 3),
        ] {
            let groups = groups_of(namespaces, selectors);
            let count = groups.len();
            let scopes = share(groups, may_use_cluster, is_cluster_followed);
            let case = format!("{selectors} selectors in each of {namespaces} namespaces");
            assert_eq!(scopes.len(), watches, "{case}");
            assert_eq!(scopes.values().map(Vec::len).sum::<usize>(), count, "{case}");
            let is_cluster = scopes.contains_key(&Scope::Cluster);
            assert_eq!(is_cluster, may_use_cluster && (is_cluster_followed || namespaces > 8), "{case}");
        }
    }

    #[test]
    fn members_of_the_same_objects_are_one_group() {
        let (pods, services) = groups(vec![member(None), member(None)]);
        assert_eq!((pods.len(), pods[0].members.len(), services.len()), (1, 2, 0));
    }
}
