//! Why an instance is held.

/// Why an instance is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldReason {
    /// It has not been healthy for long enough (`settle`).
    Settling,
    /// Its health changes too often (`flap_hold`).
    Flapping,
    /// Too many others of its member go at the same time (`remove_at_most`).
    Limited,
    /// Its source condemns it, but it accepts connections (`second_opinion`).
    Contradicted,
}

impl HoldReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Settling, Self::Flapping, Self::Limited, Self::Contradicted];

    /// The reason's name in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settling => "settling",
            Self::Flapping => "flapping",
            Self::Limited => "limited",
            Self::Contradicted => "contradicted",
        }
    }
}
