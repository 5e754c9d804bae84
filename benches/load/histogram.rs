//! A histogram of times with buckets of at most 1.6 % width.

/// Buckets in each doubling of the value.
const STEPS: u64 = 64;
/// `STEPS` as a power of two.
const BITS: u32 = STEPS.trailing_zeros();

/// Counts of times in nanoseconds: exact below 64 ns, then 64 buckets a doubling.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; ((u64::BITS - BITS + 1) as usize) << BITS], total: 0 }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    /// The value that `share` of all values are at or below, as its bucket's lower end; 0 if there
    /// are none.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return lower_end(index as u64);
            }
        }
        0
    }
}

fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    ((u64::from(shift) << BITS) + (value >> shift)) as usize
}

fn lower_end(bucket: u64) -> u64 {
    // The first two rows are exact; in each later one the top bit is implied by the row.
    let shift = (bucket >> BITS).saturating_sub(1);
    (bucket - (shift << BITS)) << shift
}
