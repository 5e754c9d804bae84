//! Which selectors match a pod, found by its labels.

use std::collections::{BTreeSet, HashMap};

use crate::model::{Labels, Selector};

/// Selectors of namespaces. Each is a number that the caller chose.
#[derive(Debug, Default)]
pub(super) struct PodIndex {
    namespaces: HashMap<String, SelectorIndex>,
}

/// The selectors of one namespace.
///
/// A selector that requires a label to have one of some values is found by these values only. If it
/// requires several labels, the one that fewest other selectors require counts: `env=prod` may be
/// in all of them.
#[derive(Debug, Default)]
struct SelectorIndex {
    by_label: HashMap<String, HashMap<String, Vec<Entry>>>,
    /// Those that require no value, such as `!canary`.
    others: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    number: usize,
    selector: Selector,
}

impl PodIndex {
    /// Makes an index of selectors, each with its namespace.
    pub(super) fn new<'a>(selectors: impl IntoIterator<Item = (usize, &'a str, Selector)>) -> Self {
        let mut namespaces = HashMap::<_, Vec<_>>::new();
        for (number, namespace, selector) in selectors {
            namespaces.entry(namespace.to_owned()).or_default().push(Entry { number, selector });
        }
        let index = |(namespace, entries)| (namespace, SelectorIndex::new(entries));
        Self { namespaces: namespaces.into_iter().map(index).collect() }
    }

    /// The selectors that match a pod with these labels.
    ///
    /// *Cost*: one lookup for each label, and one comparison for each selector that shares its
    /// rarest required label with the pod.
    pub(super) fn matching<'a>(
        &'a self,
        namespace: &str,
        labels: &'a Labels,
    ) -> impl Iterator<Item = usize> + use<'a> {
        let index = self.namespaces.get(namespace);
        let candidates = index.into_iter().flat_map(|index| index.candidates(labels));
        candidates.filter(|entry| entry.selector.matches(labels)).map(|entry| entry.number)
    }
}

impl SelectorIndex {
    fn new(entries: Vec<Entry>) -> Self {
        let mut uses = HashMap::<(String, String), usize>::new();
        for (key, value) in entries.iter().flat_map(|entry| entry.selector.required()) {
            *uses.entry((key.to_owned(), value.to_owned())).or_default() += 1;
        }
        let mut index = Self::default();
        for entry in entries {
            let mut costs = HashMap::<&str, usize>::new();
            for (key, value) in entry.selector.required() {
                *costs.entry(key).or_default() += uses.get(&(key.to_owned(), value.to_owned())).unwrap_or(&0);
            }
            let Some((rarest, _)) = costs.into_iter().min_by_key(|(key, cost)| (*cost, *key)) else {
                index.others.push(entry);
                continue;
            };
            let by_value = index.by_label.entry(rarest.to_owned()).or_default();
            let values = entry.selector.required().filter(|(key, _)| *key == rarest).map(|(_, value)| value);
            for value in values.collect::<BTreeSet<_>>() {
                by_value.entry(value.to_owned()).or_default().push(entry.clone());
            }
        }
        index
    }

    fn candidates<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = &'a Entry> {
        let found = labels.iter().filter_map(|(key, value)| self.by_label.get(key)?.get(value));
        found.flatten().chain(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(selectors: &[&str]) -> PodIndex {
        let parsed = selectors.iter().map(|text| text.parse().unwrap());
        PodIndex::new(parsed.enumerate().map(|(number, selector)| (number, "shop", selector)))
    }

    #[test]
    fn selectors_that_share_a_common_label_are_found_by_the_rare_one() {
        let texts: Vec<_> = (0..1000).map(|number| format!("env=prod,app=web-{number}")).collect();
        let index = index(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let labels: Labels = [("env", "prod"), ("app", "web-7")].into_iter().collect();
        assert_eq!(index.namespaces["shop"].candidates(&labels).count(), 1);
        assert_eq!(index.matching("shop", &labels).collect::<Vec<_>>(), [7]);
        assert_eq!(index.matching("other", &labels).count(), 0);
    }

    proptest! {
        #[test]
        fn the_index_finds_what_the_selectors_match(
            labels in prop::collection::btree_map("[ab]", "[xy]", 0..3),
        ) {
            const SELECTORS: [&str; 9] = [
                "", "a=x", "a in (x,y)", "a in (x,x)", "b=y,a=x", "!a", "a", "b!=x", "a notin (y),b in (x,y)",
            ];
            let labels: Labels = labels.into_iter().collect();
            let mut found: Vec<_> = index(&SELECTORS).matching("shop", &labels).collect();
            found.sort_unstable();
            let matches = |text: &str| text.parse::<Selector>().unwrap().matches(&labels);
            let expected: Vec<_> = (0..SELECTORS.len()).filter(|number| matches(SELECTORS[*number])).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
