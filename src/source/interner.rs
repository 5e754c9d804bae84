//! Interning: equal values of many instances share one allocation.

use std::{collections::HashSet, hash::Hash, sync::Arc};

/// Values seen so far, at most [`LIMIT`](Self::LIMIT); each is handed out again for an equal one.
///
/// `T` is cheap to clone, such as an `Arc`.
#[derive(Debug)]
pub(super) struct Interner<T>(HashSet<T>);

impl<T: Clone + Eq + Hash> Interner<T> {
    /// The most remembered values. A full interner forgets them all and starts over; new values then
    /// no longer share with earlier ones.
    const LIMIT: usize = 1024;

    /// Replaces `value` by the equal one seen before, or remembers it.
    pub(super) fn share(&mut self, value: &mut T) {
        match self.0.get(value) {
            Some(seen) => *value = seen.clone(),
            None => self.remember(value.clone()),
        }
    }

    fn remember(&mut self, value: T) {
        if self.0.len() >= Self::LIMIT {
            self.0.clear();
        }
        self.0.insert(value);
    }
}

impl Interner<Arc<str>> {
    /// Returns the shared string that equals `text`.
    pub(super) fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(seen) = self.0.get(text) {
            return Arc::clone(seen);
        }
        let new: Arc<str> = text.into();
        self.remember(Arc::clone(&new));
        new
    }
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_one_allocation() {
        let mut interner = Interner::default();
        let first = interner.intern("eu-1a");
        let mut second: Arc<str> = "eu-1a".into();
        interner.share(&mut second);
        assert!(Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&first, &interner.intern("eu-1a")));
        assert_eq!(&*interner.intern("eu-1b"), "eu-1b");
    }

    #[test]
    fn a_full_interner_starts_over() {
        let mut interner = Interner::default();
        for number in 0..=Interner::<Arc<str>>::LIMIT {
            interner.intern(&number.to_string());
        }
        assert_eq!(interner.0.len(), 1);
    }
}
