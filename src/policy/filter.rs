//! Filters: which of a service's candidates a group, a tier or a further name means.

use super::Candidate;
use crate::config::Filter;

/// Tells whether all that `filter` asks for holds of `candidate`.
pub fn matches(filter: &Filter, candidate: &Candidate) -> bool {
    let same = |wanted: &Option<_>, has: &Option<_>| wanted.is_none() || wanted == has;
    filter.labels.iter().all(|(key, value)| candidate.labels.get(key) == Some(value))
        && filter.selector.matches(&candidate.labels)
        && filter.source.as_ref().is_none_or(|source| candidate.sources.contains(source))
        && same(&filter.datacenter, &candidate.datacenter)
        && same(&filter.locality, &candidate.locality)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Health, SourceId, SourceKind},
        policy::testing::candidate,
    };

    #[test]
    fn all_that_is_asked_for_must_hold() {
        let source = |name: &str| SourceId { kind: SourceKind::Consul, name: name.into() };
        let mut vm = candidate("vm", Health::Healthy);
        vm.labels = [("version", "v1"), ("tier", "web")].into_iter().collect();
        vm.sources = vec![source("vms")];
        vm.datacenter = Some("dc1".into());
        vm.locality = Some("a".into());
        let good = [
            Filter::default(),
            Filter { labels: [("version", "v1")].into_iter().collect(), ..Filter::default() },
            Filter { selector: "version in (v1, v2),tier".parse().unwrap(), ..Filter::default() },
            Filter {
                source: Some(source("vms")),
                datacenter: Some("dc1".into()),
                locality: Some("a".into()),
                ..Filter::default()
            },
        ];
        for filter in good {
            assert!(matches(&filter, &vm), "{filter:?}");
        }
        let bad = [
            Filter { labels: [("version", "v1"), ("tier", "db")].into_iter().collect(), ..Filter::default() },
            Filter { selector: "version=v2".parse().unwrap(), ..Filter::default() },
            Filter { source: Some(source("other")), ..Filter::default() },
            Filter { datacenter: Some("dc2".into()), ..Filter::default() },
            Filter { locality: Some("b".into()), ..Filter::default() },
        ];
        for filter in bad {
            assert!(!matches(&filter, &vm), "{filter:?}");
        }
    }
}
