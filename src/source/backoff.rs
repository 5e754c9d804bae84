//! Waiting times between tries.

use std::time::Duration;

/// Waiting times between tries: doubling, with jitter, so that many watches do not come back in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The longest first wait.
    pub const FIRST: Duration = Duration::from_millis(100);
    /// The longest wait.
    pub const MOST: Duration = Duration::from_secs(15);

    /// Returns how long to wait before the next try: between half and all of a time that doubles with each call.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(Self::MOST);
        wait
    }

    /// Notes that a success has ended after `lasted`: begins anew if that is [`MOST`](Self::MOST) or more, and tells
    /// whether it did.
    ///
    /// A success that ends sooner is part of the failure, such as a list that is given where its watch is refused.
    /// Beginning anew after each of them would ask for the list many times a second, for ever.
    pub fn lost_after(&mut self, lasted: Duration) -> bool {
        let was_calm = lasted >= Self::MOST;
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
    fn it_doubles_with_jitter_up_to_its_limit_and_begins_anew_after_calm() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..12).map(|_| backoff.wait()).collect();
        assert!(waits[0] <= Backoff::FIRST && waits[0] >= Backoff::FIRST / 2);
        assert!(waits[11] <= Backoff::MOST && waits[11] >= Backoff::MOST / 2);
        assert!(!backoff.lost_after(Backoff::MOST - Duration::from_millis(1)));
        assert!(backoff.wait() >= Backoff::MOST / 2);
        assert!(backoff.lost_after(Backoff::MOST));
        assert!(backoff.wait() <= Backoff::FIRST);
    }
}
