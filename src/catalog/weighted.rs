//! Shares: whose turn it is when some have more than others.

/// Divides turns among some in proportion to their weights, exactly: of any run of
/// [`total`](Self::total) turns each has its weight's number, and they are spread out evenly in
/// between.
///
/// Turn *n* goes to the owner of the point *n* × stride on a circle whose length is the sum of the
/// weights, on which each owns an arc of its weight. With a stride that has no factor in common
/// with the length every point is met once a round. With one as long as an arc that arc is met as
/// evenly as can be, so of two owners each has its share of any run of turns but for less than one;
/// of more, one near the golden section of the circle lets no part of it wait long. So a turn needs
/// no state but its number, no table however large the weights are, and no dice. Nginx' smooth
/// weighted round-robin, which spreads as well, keeps a number for each owner and looks at all of
/// them at every turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Where each one's arc ends, ascending; an arc of no length is nobody's turn.
    ends: Box<[u32]>,
    stride: u32,
}

impl Shares {
    /// Divides turns by these weights; `None` if all are 0. Weights whose sum is over 32 bits are
    /// taken down in proportion.
    pub(super) fn new(weights: &[u32]) -> Option<Self> {
        let divisor = weights.iter().copied().fold(0, gcd);
        if divisor == 0 {
            return None;
        }
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        // No-one is scaled down to nothing.
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
        let stride = stride(&ends);
        Some(Self { ends, stride })
    }

    /// After how many turns everything begins anew; at least 1.
    pub fn total(&self) -> u32 {
        self.ends.last().copied().unwrap_or(1).max(1)
    }

    /// Whose turn it is. *Cost*: a division and a binary search.
    pub fn pick(&self, turn: u32) -> usize {
        let point =
            (u64::from(turn) * u64::from(self.stride)).checked_rem(u64::from(self.total())).unwrap_or(0);
        self.ends.partition_point(|end| u64::from(*end) <= point)
    }

    /// How many turns of each round someone has.
    pub fn turns_of(&self, at: usize) -> u32 {
        let before = at.checked_sub(1).and_then(|at| self.ends.get(at)).copied().unwrap_or(0);
        self.ends.get(at).map_or(0, |end| end - before)
    }
}

/// The stride on a circle of these arcs.
fn stride(ends: &[u32]) -> u32 {
    let total = ends.last().copied().unwrap_or(0);
    // Where one arc that has a length ends and another begins.
    let mut borders = ends.iter().filter(|end| (1..total).contains(*end));
    match borders.next() {
        Some(first) if borders.all(|other| other == first) && gcd(*first, total) == 1 => *first,
        _ => golden(total),
    }
}

/// Of the numbers near the golden section of `total` that have no factor in common with it the one
/// that spreads turns best.
fn golden(total: u32) -> u32 {
    const TRIED: usize = 16;
    let golden = u32::try_from(u64::from(total) * 618_034 / 1_000_000).unwrap_or(0);
    (0..=total)
        .flat_map(|away| [golden.saturating_add(away), golden.saturating_sub(away)])
        .filter(|stride| (1..total).contains(stride) && gcd(*stride, total) == 1)
        .take(TRIED)
        .min_by_key(|stride| greatest_quotient(*stride, total))
        .unwrap_or(1)
}

/// The greatest partial quotient of the continued fraction of `part` / `whole`, which has no common
/// factor: the smaller it is, the more evenly the multiples of `part` lie on a circle as long as
/// `whole`.
fn greatest_quotient(part: u32, whole: u32) -> u32 {
    let (mut whole, mut part, mut greatest) = (whole, part, 0);
    while part > 1 {
        greatest = greatest.max(whole / part);
        (whole, part) = (part, whole % part);
    }
    // The last one, over 1, is the same as one less and another 1.
    greatest.max(whole.saturating_sub(1))
}

fn gcd(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
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
            round.iter().enumerate().filter(|(_, who)| **who == 1).map(|(at, _)| at).collect();
        assert_eq!(canary.len(), 2);
        assert_eq!(canary[1] - canary[0], 10);
    }

    #[test]
    fn equal_weights_alternate() {
        let shares = Shares::new(&[7, 7]).unwrap();
        assert_eq!((0..4).map(|turn| shares.pick(turn % 2)).collect::<Vec<_>>(), [0, 1, 0, 1]);
    }

    #[test]
    fn no_weight_is_no_turn_and_all_zero_is_nobody() {
        assert_eq!(Shares::new(&[0, 0]), None);
        assert_eq!(Shares::new(&[]), None);
        let shares = Shares::new(&[0, 3, 0, 1, 0]).unwrap();
        assert_eq!(counts(&shares, 5, 0, 4), [0, 3, 0, 1, 0]);
        assert_eq!((0..5).map(|at| shares.turns_of(at)).collect::<Vec<_>>(), [0, 3, 0, 1, 0]);
    }

    #[test]
    fn huge_sums_are_scaled_and_nobody_is_lost() {
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

    /// By how many turns any run can be off for the last of these.
    fn most_off(weights: &[u32]) -> f64 {
        let shares = Shares::new(weights).unwrap();
        let last = weights.len() - 1;
        let due = f64::from(shares.turns_of(last)) / f64::from(shares.total());
        // How far the turns up to each are ahead of what is due; a run's difference is that of its
        // two ends.
        let (mut ahead, mut least, mut most) = (0.0_f64, 0.0_f64, 0.0_f64);
        for turn in 0..shares.total() {
            ahead += f64::from(u8::from(shares.pick(turn) == last)) - due;
            (least, most) = (least.min(ahead), most.max(ahead));
        }
        most - least
    }

    #[test]
    fn of_two_each_has_its_share_of_any_run() {
        for (a, b) in (1..100).flat_map(|a| (1..100).map(move |b| (a, b))) {
            assert!(most_off(&[a, b]) < 1.0 + 1e-9, "{a}:{b}: {}", most_off(&[a, b]));
            assert!(most_off(&[0, a, 0, b]) < 1.0 + 1e-9, "{a}:{b} among others that have none");
        }
    }

    /// All of them, so that the worst is known.
    #[test]
    fn of_three_none_is_far_off() {
        let worst = (1..30)
            .flat_map(|a| (1..30).flat_map(move |b| (1..30).map(move |c| [a, b, c])))
            .map(|weights| (most_off(&weights), weights))
            .max_by(|one, other| one.0.total_cmp(&other.0))
            .unwrap();
        assert!(worst.0 <= 2.5, "{worst:?}");
    }
}
