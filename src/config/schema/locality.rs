//! `[[locality]]`: where networks are.

use std::sync::Arc;

use crate::model::Network;

/// One `[[locality]]`: where the clients and instances of a network are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalityRule {
    /// The network; `None` if the rule only says which region the zone is in.
    pub network: Option<Network>,
    /// The availability zone.
    pub zone: Arc<str>,
    /// The zone's region; `None` to take it from the zone's name with [`region_of`].
    pub region: Option<Arc<str>>,
}

/// The region in an availability zone's name, as the large clouds name zones; else the zone's name.
///
/// `eu-west-1` for AWS's `eu-west-1a`, `us-central1` for Google's `us-central1-a`, `westeurope` for
/// Azure's `westeurope-1`.
pub fn region_of(zone: &str) -> &str {
    let without_last = |count: usize| {
        let end = zone.len() - count;
        debug_assert!(zone.is_char_boundary(end), "only ASCII characters are cut off");
        zone.get(..end).unwrap_or(zone)
    };
    match zone.as_bytes() {
        [.., before, last] if before.is_ascii_digit() && last.is_ascii_alphabetic() => without_last(1),
        [_, .., b'-', last] if last.is_ascii_alphanumeric() => without_last(2),
        _ => zone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zones_of_the_large_clouds_have_a_region() {
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
