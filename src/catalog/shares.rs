//! Shares: whose turn it is when some have more than others.

/// Divides turns among some in proportion to their weights, exactly: of any run of [`total`](Self::total) turns each has its
/// weight's number, and they are spread out evenly in between.
///
/// Turn *n* goes to the owner of the point *n* × stride on a circle whose length is the sum of the weights, on which each
/// owns an arc of its weight. With a stride that has no factor in common with the length every point is met once a round, and
/// with one near the golden section of it no part of the circle waits long. So a turn needs no state but its number,
/// no table however large the weights are, and no dice. Nginx' smooth weighted round-robin, which spreads as well, keeps a number for each
/// owner and looks at all of them at every turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Where each one's arc ends, ascending; an arc of no length is nobody's turn.
    ends: Box<[u32]>,
    stride: u32,
}

impl Shares {
    /// Divides turns by these weights; `None` if all are 0. Weights whose sum is over 32 bits are taken down in proportion.
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
        Some(Self { ends, stride: stride(end) })
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
    pub fn of(&self, at: usize) -> u32 {
        let before = at.checked_sub(1).and_then(|at| self.ends.get(at)).copied().unwrap_or(0);
        self.ends.get(at).map_or(0, |end| end - before)
    }
}

/// The number nearest to the golden section of `total` that has no factor in common with it.
fn stride(total: u32) -> u32 {
    let golden = u32::try_from(u64::from(total) * 618_034 / 1_000_000).unwrap_or(0);
    (0..=total)
        .flat_map(|away| [golden.saturating_add(away), golden.saturating_sub(away)])
        .find(|stride| *stride > 0 && gcd(*stride, total) == 1)
        .unwrap_or(1)
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
        assert_eq!((0..5).map(|at| shares.of(at)).collect::<Vec<_>>(), [0, 3, 0, 1, 0]);
    }

    #[test]
    fn huge_sums_are_scaled_and_nobody_is_lost() {
        let mut weights = vec![u32::from(u16::MAX); 70_000];
        weights.push(1);
        let shares = Shares::new(&weights).unwrap();
        assert!(shares.of(70_000) >= 1);
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

    /// All pairs, so that the worst is known: with 62:79 a run that is shorter than a round can be 5.22 turns off.
    #[test]
    fn shorter_runs_are_never_far_off() {
        for (a, b) in (1..100).flat_map(|a| (1..100).map(move |b| (a, b))) {
            let shares = Shares::new(&[a, b]).unwrap();
            let due = f64::from(b) / f64::from(a + b);
            // How far the turns up to each are ahead of what is due; a run's difference is that of its two ends.
            let (mut ahead, mut least, mut most) = (0.0_f64, 0.0_f64, 0.0_f64);
            for turn in 0..shares.total() {
                ahead += f64::from(u8::from(shares.pick(turn) == 1)) - due;
                (least, most) = (least.min(ahead), most.max(ahead));
            }
            assert!(most - least < 5.3, "{a}:{b}: {}", most - least);
        }
    }
}
