//! Waiting times between attempts.

use std::time::Duration;

/// Waiting times between attempts: doubling, with jitter, so that many watches do not come back in
/// step.
///
/// Rejected: the backon crate. Its jitter lengthens a delay to as much as its double, past the
/// maximum, and the rule for when to reset would still be ours.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The longest first wait.
    pub const FIRST: Duration = Duration::from_millis(100);
    /// The longest wait of all.
    pub const MAX: Duration = Duration::from_secs(15);

    /// Returns how long to wait before the next attempt: between half and all of a time that
    /// doubles with each call.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(Self::MAX);
        wait
    }

    /// Notes that a success ended after `lasted`. Starts over if it lasted [`MAX`](Self::MAX) or
    /// longer, and reports whether it did.
    ///
    /// A shorter success counts as part of the failure: a server may answer a list and refuse its
    /// watch. Starting over after each of them would request the list many times a second, forever.
    pub fn lost_after(&mut self, lasted: Duration) -> bool {
        let was_calm = lasted >= Self::MAX;
        if was_calm {
            *self = Self::default();
        }
        was_calm
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: Self::FIRST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_the_maximum() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..12).map(|_| backoff.wait()).collect();
        assert!(waits[0] <= Backoff::FIRST && waits[0] >= Backoff::FIRST / 2);
        assert!(waits[11] <= Backoff::MAX && waits[11] >= Backoff::MAX / 2);
    }

    #[test]
    fn only_a_long_success_starts_over() {
        let mut backoff = Backoff::default();
        while backoff.wait() < Backoff::MAX / 2 {}
        assert!(!backoff.lost_after(Backoff::MAX - Duration::from_millis(1)));
        assert!(backoff.wait() >= Backoff::MAX / 2);
        assert!(backoff.lost_after(Backoff::MAX));
        assert!(backoff.wait() <= Backoff::FIRST);
    }
}
