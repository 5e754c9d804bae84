//! Reads how far a source's word is followed: `damping`, `remove_at_most`, `second_opinion`.

use std::time::Duration;

use crate::config::{
    schema::{Amount, Damping, Flapping, GuardRule, RemovalLimit},
    toml::{Item, Read, TableReader, duration, parse_duration, parse_percent},
};

/// Longest time of any of the keys.
const MAX_TIME: Duration = Duration::from_secs(3600);
/// Shortest time that changes are counted in.
const MIN_WINDOW: Duration = Duration::from_secs(1);
/// Fewest and most `flaps`. One change is no flapping.
const FLAPS: (i64, i64) = (2, 100);

/// Highest count in `remove_at_most`.
const MAX_COUNT: u32 = 1_000_000;

/// The kind of the tables that have these keys, in the reference.
const KIND: &str = "a guard";

/// Reads the keys that sources and members share.
pub(super) fn guard(table: &mut TableReader<'_>) -> GuardRule {
    let damping = table.take_shared(KIND, "damping").and_then(|item| damping(item).ok());
    let removal = table.take_shared(KIND, "remove_at_most").and_then(|item| removal_limit(item).ok());
    let second_opinion = table.take_shared(KIND, "second_opinion").and_then(|item| second_opinion(item).ok());
    GuardRule { damping, removal, second_opinion }
}

/// Reads a number or a share, and the time that it is for.
fn removal_limit(item: Item<'_>) -> Read<RemovalLimit> {
    const EXPECTED: &str = "how many in which time, such as \"30%/10s\" or \"2/1m\"";
    let text = item.text_as(EXPECTED)?;
    let Some((amount, window)) = text.split_once('/') else {
        return item.must_be(EXPECTED).help("write a slash and the time behind the number").reject();
    };
    let amount = match parse_percent(amount) {
        Some(percent) => Some(percent).filter(|percent| (1..=100).contains(percent)).map(Amount::Percent),
        None => amount.trim().parse().ok().filter(|count| (1..=MAX_COUNT).contains(count)).map(Amount::Count),
    };
    let Some(amount) = amount else {
        let help = format!("the number is 1 to {MAX_COUNT}, or 1% to 100%");
        return item.must_be(EXPECTED).help(help).reject();
    };
    match parse_duration(window) {
        Ok(window) if (MIN_WINDOW..=MAX_TIME).contains(&window) => Ok(RemovalLimit { amount, window }),
        Ok(_) => item.must_be(EXPECTED).help("the time is 1s to 1h").reject(),
        Err(help) => item.must_be(EXPECTED).help(help).reject(),
    }
}

fn second_opinion(item: Item<'_>) -> Read<bool> {
    let mut table = TableReader::new("second_opinion", &item)?;
    let tcp = table.require("tcp", "tcp = true").and_then(|item| item.boolean());
    table.finish();
    tcp
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
