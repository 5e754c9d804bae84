//! How far a source's word is followed: `damping`.

use std::time::Duration;

/// What a source's or a member's table says of how its word is followed; `None` where it says
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardRule {
    /// `damping`.
    pub damping: Option<Damping>,
}

impl GuardRule {
    /// The rule of a member: its own, and its source's where it has none.
    #[must_use]
    pub fn over(self, source: &Self) -> Self {
        Self { damping: self.damping.or(source.damping) }
    }

    /// Whether it may ever hold an instance.
    pub fn is_on(&self) -> bool {
        self.damping.is_some_and(Damping::is_on)
    }
}

/// `damping = { … }`: good news that does not last is not answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damping {
    /// For how long an instance must have been healthy before it counts as healthy.
    pub settle: Duration,
    /// When an instance flaps; `None`: never.
    pub flapping: Option<Flapping>,
}

/// When an instance flaps, and how long it is then held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// For how long the instance must not have changed before it counts as healthy again.
    pub hold: Duration,
    /// How many changes of health within `window` make it flap.
    pub changes: u8,
    /// The time that `changes` are counted in.
    pub window: Duration,
}

impl Damping {
    /// Whether it may ever hold an instance.
    pub fn is_on(self) -> bool {
        !self.settle.is_zero() || self.flapping.is_some()
    }
}

impl Flapping {
    /// Default `flaps`.
    pub const DEFAULT_CHANGES: u8 = 5;
    /// Default `flap_window`.
    pub const DEFAULT_WINDOW: Duration = Duration::from_secs(30);
}
