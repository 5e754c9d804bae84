//! Why an instance is held.

/// Why an instance is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldReason {
    /// It has not been healthy for long enough (`settle`).
    Settling,
    /// Its health changes too often (`flap_hold`).
    Flapping,
}

impl HoldReason {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::Settling, Self::Flapping];

    /// The reason's name in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settling => "settling",
            Self::Flapping => "flapping",
        }
    }
}
