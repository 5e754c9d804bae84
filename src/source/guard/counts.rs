//! How many instances are held, by reason.

use crate::model::HoldReason;

/// How many instances are held, in the order of [`HoldReason::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeldCounts([usize; HoldReason::ALL.len()]);

impl HeldCounts {
    /// One instance that was held for one reason, or not, is now held for another, or not.
    pub(super) fn change(&mut self, from: Option<HoldReason>, to: Option<HoldReason>) {
        if let Some(count) = from.and_then(|why| self.0.get_mut(why as usize)) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = to.and_then(|why| self.0.get_mut(why as usize)) {
            *count += 1;
        }
    }

    /// Those of two members together.
    #[must_use]
    pub(super) fn plus(mut self, other: Self) -> Self {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
        self
    }

    /// Those left when one member's are taken away.
    #[must_use]
    pub(super) fn minus(mut self, other: Self) -> Self {
        for (count, less) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_sub(less);
        }
        self
    }

    /// The counts that are not zero.
    pub(super) fn by_reason(self) -> impl Iterator<Item = (HoldReason, usize)> {
        HoldReason::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}
