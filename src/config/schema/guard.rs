//! How far a source's word is followed: `damping`, `remove_at_most`, `second_opinion`.

use std::time::Duration;

use super::routing::Amount;

/// What a source's or a member's table says of how its word is followed; `None` where it says
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardRule {
    /// `damping`.
    pub damping: Option<Damping>,
    /// `remove_at_most`.
    pub removal: Option<RemovalLimit>,
    /// `second_opinion`: whether instances that go in bulk are probed.
    pub second_opinion: Option<bool>,
}

impl GuardRule {
    /// The rule of a member: its own, and its source's where it has none.
    #[must_use]
    pub fn over(self, source: &Self) -> Self {
        Self {
            damping: self.damping.or(source.damping),
            removal: self.removal.or(source.removal),
            second_opinion: self.second_opinion.or(source.second_opinion),
        }
    }

    /// Whether instances that go in bulk are probed.
    pub fn asks_for_second_opinions(&self) -> bool {
        self.second_opinion == Some(true)
    }

    /// How many instances may go within a time, if that is limited.
    pub fn removal_limit(&self) -> Option<RemovalLimit> {
        self.removal.or_else(|| self.asks_for_second_opinions().then_some(RemovalLimit::DEFAULT))
    }

    /// Whether it may ever hold an instance.
    pub fn is_on(&self) -> bool {
        self.damping.is_some_and(Damping::is_on) || self.removal_limit().is_some()
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

/// `remove_at_most = "30%/10s"`: how many instances of a member its source may take out of answers
/// within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovalLimit {
    /// How many: a share of those that are answered now or were within the time.
    pub amount: Amount,
    /// The time.
    pub window: Duration,
}

impl RemovalLimit {
    /// The limit with `second_opinion` alone.
    pub const DEFAULT: Self = Self { amount: Amount::Percent(30), window: Duration::from_secs(10) };
}

impl Flapping {
    /// Default `flaps`.
    pub const DEFAULT_CHANGES: u8 = 5;
    /// Default `flap_window`.
    pub const DEFAULT_WINDOW: Duration = Duration::from_secs(30);
}
