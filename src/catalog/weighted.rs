//! Weighted rotation: whose turn it is when shares differ.

use num_integer::gcd;

/// Divides turns between owners in exact proportion to their weights, evenly spread.
///
/// Any run of [`total`](Self::total) turns gives each owner as many turns as its weight.
///
/// Turn *n* goes to the owner of the point *n* × stride on a circle whose length is the sum of the
/// weights, and on which each owner has an arc as long as its weight. If the stride and the length
/// have no common factor, every point is met once a round. If the stride is as long as an arc, that
/// arc is met as evenly as possible, so of two owners each has its share of any run of turns, give
/// or take less than one turn. With more owners, a stride near the golden section of the circle
/// leaves no part of it waiting for long.
///
/// So a turn needs no state but its number, no table however large the weights, and no dice.
/// Rejected: Nginx' smooth weighted round-robin. It spreads as well, but keeps a number for each
/// owner and looks at all of them at every turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// The end of each owner's arc, ascending; an owner with an arc of length 0 gets no turn.
    ends: Box<[u32]>,
    stride: u32,
}

impl Shares {
    /// Divides turns by these weights; `None` if all are 0.
    ///
    /// Weights whose sum exceeds 32 bits are scaled down in proportion, none of them to 0.
    pub(super) fn new(weights: &[u32]) -> Option<Self> {
        let divisor = weights.iter().copied().fold(0, gcd);
        if divisor == 0 {
            return None;
        }
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let scale = |weight: u32| match sum > u64::from(u32::MAX) {
            true => u64::from(weight) * u64::from(u32::MAX / 2) / sum + u64::from(weight > 0),
            false => u64::from(weight / divisor),
        };
        let mut end = 0_u32;
        let ends: Box<[u32]> = weights
            .iter()
            .map(|weight| {
                end = end.saturating_add(u32::try_from(scale(*weight)).unwrap_or(u32::MAX));
                end
            })
            .collect();
        debug_assert!(end < u32::MAX || sum <= u64::from(u32::MAX), "scaled weights do not overflow");
        let stride = stride(&ends);
        Some(Self { ends, stride })
    }

    /// The number of turns in a round, at least 1.
    pub fn total(&self) -> u32 {
        debug_assert!(self.ends.last().is_some_and(|end| *end > 0), "new() rejects weights that are all 0");
        self.ends.last().copied().unwrap_or(1).max(1)
    }

    /// The owner of a turn: an index into the weights. *Cost*: a division and a binary search.
    #[inline]
    pub fn pick(&self, turn: u32) -> usize {
        let point =
            (u64::from(turn) * u64::from(self.stride)).checked_rem(u64::from(self.total())).unwrap_or(0);
        self.ends.partition_point(|end| u64::from(*end) <= point)
    }

    /// The number of turns that an owner has in each round.
    pub fn turns_of(&self, owner: usize) -> u32 {
        let start = owner.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(owner).map_or(0, |end| end - start)
    }
}

/// The stride on a circle with these arcs.
fn stride(ends: &[u32]) -> u32 {
    let total = ends.last().copied().unwrap_or(0);
    // The points where one arc of some length ends and another begins.
    let mut borders = ends.iter().filter(|end| (1..total).contains(*end));
    match borders.next() {
        Some(first) if borders.all(|other| other == first) && gcd(*first, total) == 1 => *first,
        _ => golden(total),
    }
}

/// The stride near the golden section of `total` that spreads turns best, without a common factor.
fn golden(total: u32) -> u32 {
    const CANDIDATES: usize = 16;
    let golden = u32::try_from(u64::from(total) * 618_034 / 1_000_000).unwrap_or(0);
    (0..=total)
        .flat_map(|away| [golden.saturating_add(away), golden.saturating_sub(away)])
        .filter(|stride| (1..total).contains(stride) && gcd(*stride, total) == 1)
        .take(CANDIDATES)
        .min_by_key(|stride| greatest_quotient(*stride, total))
        .unwrap_or(1)
}

/// The greatest partial quotient of the continued fraction of `part` / `whole`, which have no
/// common factor. The smaller it is, the more evenly the multiples of `part` lie on a circle of
/// length `whole`.
fn greatest_quotient(part: u32, whole: u32) -> u32 {
    let (mut whole, mut part, mut greatest) = (whole, part, 0);
    while part > 1 {
        greatest = greatest.max(whole / part);
        (whole, part) = (part, whole % part);
    }
    // The last quotient, over 1, equals one less followed by another 1.
    greatest.max(whole.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(shares: &Shares, owners: usize, from: u32, turns: u32) -> Vec<u32> {
        let mut counts = vec![0; owners];
        for turn in from..from + turns {
            counts[shares.pick(turn % shares.total())] += 1;
        }
        counts
    }

    #[test]
    fn ninety_to_ten_is_one_in_ten() {
        let shares = Shares::new(&[90, 10]).unwrap();
        assert_eq!(shares.total(), 10);
        let round: Vec<_> = (0..20).map(|turn| shares.pick(turn % 10)).collect();
        let canary: Vec<_> =
            round.iter().enumerate().filter(|(_, owner)| **owner == 1).map(|(at, _)| at).collect();
        assert_eq!(canary.len(), 2);
        assert_eq!(canary[1] - canary[0], 10);
    }

    #[test]
    fn equal_weights_alternate() {
        let shares = Shares::new(&[7, 7]).unwrap();
        assert_eq!((0..4).map(|turn| shares.pick(turn % 2)).collect::<Vec<_>>(), [0, 1, 0, 1]);
    }

    #[test]
    fn weight_0_gets_no_turn_and_all_0_is_no_shares() {
        assert_eq!(Shares::new(&[0, 0]), None);
        assert_eq!(Shares::new(&[]), None);
        let shares = Shares::new(&[0, 3, 0, 1, 0]).unwrap();
        assert_eq!(counts(&shares, 5, 0, 4), [0, 3, 0, 1, 0]);
        assert_eq!((0..5).map(|at| shares.turns_of(at)).collect::<Vec<_>>(), [0, 3, 0, 1, 0]);
    }

    #[test]
    fn huge_sums_are_scaled_and_every_owner_keeps_a_turn() {
        let mut weights = vec![u32::from(u16::MAX); 70_000];
        weights.push(1);
        let shares = Shares::new(&weights).unwrap();
        assert!(shares.turns_of(70_000) >= 1);
        assert!(shares.pick(shares.total() - 1) < weights.len());
    }

    proptest! {
        #[test]
        fn any_run_as_long_as_the_sum_has_the_exact_shares(
            weights in prop::collection::vec(0u32..200, 1..8),
            from in 0u32..10_000,
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let shares = Shares::new(&weights).unwrap();
            let sum = weights.iter().sum();
            prop_assert_eq!(counts(&shares, weights.len(), from, sum), weights);
        }
    }

    /// By how many turns any run can be off for the last of these owners.
    fn most_off(weights: &[u32]) -> f64 {
        let shares = Shares::new(weights).unwrap();
        let last = weights.len() - 1;
        let due = f64::from(shares.turns_of(last)) / f64::from(shares.total());
        // How far the turns so far are ahead of what is due; a run is off by the difference of its
        // ends.
        let (mut ahead, mut least, mut most) = (0.0_f64, 0.0_f64, 0.0_f64);
        for turn in 0..shares.total() {
            ahead += f64::from(u8::from(shares.pick(turn) == last)) - due;
            (least, most) = (least.min(ahead), most.max(ahead));
        }
        most - least
    }

    #[test]
    fn two_owners_have_their_share_of_any_run() {
        for (a, b) in (1..100).flat_map(|a| (1..100).map(move |b| (a, b))) {
            assert!(most_off(&[a, b]) < 1.0 + 1e-9, "{a}:{b}: {}", most_off(&[a, b]));
            assert!(most_off(&[0, a, 0, b]) < 1.0 + 1e-9, "{a}:{b} among owners of weight 0");
        }
    }

    /// Tries all weights below 30, so that the worst is known.
    #[test]
    fn three_owners_are_never_far_off() {
        let worst = (1..30)
            .flat_map(|a| (1..30).flat_map(move |b| (1..30).map(move |c| [a, b, c])))
            .map(|weights| (most_off(&weights), weights))
            .max_by(|one, other| one.0.total_cmp(&other.0))
            .unwrap();
        assert!(worst.0 <= 2.5, "{worst:?}");
    }
}
