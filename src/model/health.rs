//! Health: five states, ordered from best to worst.

use std::fmt;

/// The health of an instance; ordered from best to worst, so that the worst of several is their
/// `max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Every check passes.
    Healthy,
    /// A check warns and none fails (Consul only).
    Warning,
    /// No check has a result yet.
    #[default]
    Unknown,
    /// A check fails.
    Unhealthy,
    /// Taken out on purpose (Consul maintenance, a pod that is being deleted); not answered even
    /// when failing open.
    Draining,
}

impl Health {
    /// Every state, from best to worst.
    pub const ALL: [Self; 5] = [Self::Healthy, Self::Warning, Self::Unknown, Self::Unhealthy, Self::Draining];

    /// The state's name in configuration, logs, metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A set of health states, such as those that a service accepts into its answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HealthSet(u8);

impl HealthSet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);

    /// Returns the set with `health` added.
    #[must_use]
    pub const fn with(self, health: Health) -> Self {
        Self(self.0 | 1 << health as u8)
    }

    /// Whether `health` is in the set.
    pub const fn contains(self, health: Health) -> bool {
        self.0 & (1 << health as u8) != 0
    }
}

impl Default for HealthSet {
    /// Healthy and warning, as in Consul's own DNS.
    fn default() -> Self {
        Self::EMPTY.with(Health::Healthy).with(Health::Warning)
    }
}

impl FromIterator<Health> for HealthSet {
    fn from_iter<I: IntoIterator<Item = Health>>(states: I) -> Self {
        states.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for HealthSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Health::ALL.iter().filter(|health| self.contains(**health))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_two_is_their_max() {
        assert_eq!(Health::Healthy.max(Health::Warning), Health::Warning);
        assert_eq!(Health::Unknown.max(Health::Unhealthy), Health::Unhealthy);
        assert_eq!(Health::Unhealthy.max(Health::Draining), Health::Draining);
    }

    #[test]
    fn the_default_set_accepts_healthy_and_warning() {
        let accepted: Vec<_> =
            Health::ALL.into_iter().filter(|health| HealthSet::default().contains(*health)).collect();
        assert_eq!(accepted, [Health::Healthy, Health::Warning]);
    }
}
