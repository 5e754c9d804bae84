//! The fault suite, `make faults`: real servers that change fast, fail and recover, beside a checker
//! that knows the truth. It prints figures; what may never happen, a test asserts.

mod account;
mod catalog;
mod flapping;
mod kubernetes;
mod restarts;
mod second_opinion;

use std::{collections::BTreeSet, time::Duration};

use crate::rig::percentile;

/// Which of some instances fails or recovers next: a random one, while at least half stay healthy.
struct Flips {
    instances: usize,
    dead: BTreeSet<usize>,
}

impl Flips {
    fn new(instances: usize) -> Self {
        Self { instances, dead: BTreeSet::new() }
    }

    /// An instance and whether it recovers; `None` if it would be one too many that fails.
    fn next(&mut self) -> Option<(usize, bool)> {
        let at = rand::random_range(0..self.instances);
        if self.dead.remove(&at) {
            return Some((at, true));
        }
        (self.dead.len() < self.instances / 2).then(|| {
            self.dead.insert(at);
            (at, false)
        })
    }
}

/// Times of one kind as `p50 1.2ms, p99 3.4ms, max 5.6ms`.
fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| percentile(times, part));
    format!("p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}")
}
