//! `[[locality]]`: where networks are.

use std::sync::Arc;

use crate::model::Network;

/// One `[[locality]]`: where the clients and instances of a network are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalityRule {
    /// The network; `None`: it only says which region the zone is in.
    pub network: Option<Network>,
    /// The availability zone.
    pub zone: Arc<str>,
    /// Its region; `None`: taken from the zone's name, see [`region_of`].
    pub region: Option<Arc<str>>,
}

/// The region that an availability zone's name says it is in, as the large clouds name them: `eu-west-1` for AWS' `eu-west-1a`,
/// `us-central1` for Google's `us-central1-a`, `westeurope` for Azure's `westeurope-1`; else the zone is its own region.
pub fn region_of(zone: &str) -> &str {
    let alphanumeric = |byte: u8| byte.is_ascii_alphanumeric();
    match zone.as_bytes() {
        [.., before, last] if before.is_ascii_digit() && last.is_ascii_alphabetic() => {
            zone.get(..zone.len() - 1).unwrap_or(zone)
        }
        [_, .., b'-', last] if alphanumeric(*last) => zone.get(..zone.len() - 2).unwrap_or(zone),
        _ => zone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_told_from_the_zones_of_the_large_clouds() {
        for (zone, region) in [
            ("eu-west-1a", "eu-west-1"),
            ("us-central1-a", "us-central1"),
            ("westeurope-1", "westeurope"),
            ("rack7", "rack7"),
            ("a", "a"),
            ("-1", "-1"),
            ("", ""),
        ] {
            assert_eq!(region_of(zone), region);
        }
    }
}
