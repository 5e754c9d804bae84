//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

/// Long enough for a busy machine; a test waits this long only if something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; `what` is what a failure says was waited for.
///
/// # Panics
///
/// When [`PATIENCE`] has passed.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        std::thread::yield_now();
    }
}
