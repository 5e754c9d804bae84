//! Reads how far a source's word is followed: `damping`.

use std::time::Duration;

use crate::config::{
    schema::{Damping, Flapping, GuardRule},
    toml::{Item, Read, TableReader, duration},
};

/// Longest time of any of the keys.
const MAX_TIME: Duration = Duration::from_secs(3600);
/// Shortest time that changes are counted in.
const MIN_WINDOW: Duration = Duration::from_secs(1);
/// Fewest and most `flaps`. One change is no flapping.
const FLAPS: (i64, i64) = (2, 100);

/// The kind of the tables that have these keys, in the reference.
const KIND: &str = "a guard";

/// Reads the keys that sources and members share.
pub(super) fn guard(table: &mut TableReader<'_>) -> GuardRule {
    let damping = table.take_shared(KIND, "damping").and_then(|item| damping(item).ok());
    GuardRule { damping }
}

fn damping(item: Item<'_>) -> Read<Damping> {
    let mut table = TableReader::new("damping", &item)?;
    let settle = table.read_or("settle", Duration::ZERO, |item| duration(item, Duration::ZERO, MAX_TIME));
    let hold = table.read_or("flap_hold", Duration::ZERO, |item| duration(item, Duration::ZERO, MAX_TIME));
    let of_flapping = ["flaps", "flap_window"].map(|key| table.peek(key));
    let changes = table.read_or("flaps", Flapping::DEFAULT_CHANGES, |item| item.number(FLAPS.0, FLAPS.1));
    let window =
        table.read_or("flap_window", Flapping::DEFAULT_WINDOW, |item| duration(item, MIN_WINDOW, MAX_TIME));
    if table.peek("flap_hold").is_none() {
        for item in of_flapping.into_iter().flatten() {
            item.error(format!("{:?} needs \"flap_hold\"", item.name))
                .at(item.key)
                .help("an instance that flaps is held for \"flap_hold\": add flap_hold = \"10s\"")
                .report();
        }
    }
    table.finish();
    let flapping = (!hold.is_zero()).then_some(Flapping { hold, changes, window });
    Ok(Damping { settle, flapping })
}
