//! Labels: the `key=value` pairs of an instance.

use std::{fmt, sync::Arc};

/// The labels of one instance.
///
/// *Shape*: sorted by key, each key once. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(Option<Pairs>);

type Pairs = Arc<[(Box<str>, Box<str>)]>;

impl Labels {
    /// Returns the value of `key`, if the instance has that label.
    pub fn get(&self, key: &str) -> Option<&str> {
        let pairs = self.0.as_deref()?;
        let at = pairs.binary_search_by(|(k, _)| k.as_ref().cmp(key)).ok()?;
        debug_assert!(at < pairs.len(), "the search has found it there");
        pairs.get(at).map(|(_, value)| value.as_ref())
    }

    /// Iterates over the pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.as_deref().unwrap_or_default().iter().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// Whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns these labels with those of `over` added; where both have a key, `over` wins.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        if over.is_empty() {
            return self.clone();
        }
        if self.is_empty() {
            return over.clone();
        }
        self.iter().chain(over.iter()).collect()
    }
}

impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Labels {
    /// Collects pairs; the last of several with one key wins.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let pairs: std::collections::BTreeMap<Box<str>, Box<str>> =
            pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        if pairs.is_empty() {
            return Self::default();
        }
        Self(Some(pairs.into_iter().collect()))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_equal_keys_wins() {
        let labels: Labels = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        assert_eq!(labels.get("a"), Some("3"));
        assert_eq!(labels.iter().count(), 2);
        assert_eq!(labels.get("c"), None);
    }

    #[test]
    fn overlaid_labels_win() {
        let below: Labels = [("a", "1"), ("b", "2")].into_iter().collect();
        let above: Labels = [("b", "9")].into_iter().collect();
        let both = below.overlaid(&above);
        assert_eq!(both.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "9")]);
    }
}
