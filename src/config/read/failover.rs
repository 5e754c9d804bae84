//! `failover`, `min_healthy` and `hold_down` of a service.

use std::time::Duration;

use super::{
    context::NamespaceContext,
    filter::{filter, takes_all},
};
use crate::config::{
    schema::{Amount, Failover, InstanceFilter, MemberRule},
    toml::{Item, TableReader, duration, percent_of_text, shorten},
};

/// Most tiers of a service.
const MAX_TIERS: usize = 100;

/// Reads a service's failover.
pub(super) fn failover(
    tiers: Option<Item<'_>>,
    [min_healthy, hold_down]: [Option<Item<'_>>; 2],
    from: &[MemberRule],
    context: &NamespaceContext<'_>,
) -> Option<Failover> {
    let Some(tiers) = tiers else {
        for item in [min_healthy, hold_down].into_iter().flatten() {
            item.error(format!("{:?} needs \"failover\" beside it", item.name))
                .at(item.key)
                .help("such as failover = [{ source = \"eks\" }, { source = \"vms\" }]")
                .report();
        }
        return None;
    };
    let min_healthy = min_healthy.and_then(amount);
    let hold_down = hold_down.and_then(|item| duration(item, Duration::ZERO, Failover::MAX_HOLD_DOWN));
    Some(Failover {
        tiers: read_tiers(tiers, from, context)?,
        min_healthy: min_healthy.unwrap_or(Failover::DEFAULT_MIN_HEALTHY),
        hold_down: hold_down.unwrap_or(Failover::DEFAULT_HOLD_DOWN),
    })
}

fn read_tiers(
    item: Item<'_>,
    from: &[MemberRule],
    context: &NamespaceContext<'_>,
) -> Option<Vec<InstanceFilter>> {
    if item.count() > MAX_TIERS {
        return item.error(format!("a service has at most {MAX_TIERS} failover tiers")).reject();
    }
    let mut seen: Vec<(InstanceFilter, Item<'_>)> = Vec::new();
    item.non_empty_list("tier, such as { source = \"eks\" }", |element| {
        let mut table = TableReader::new("a failover tier", &element)?;
        let filter = filter(&mut table, from, context);
        table.finish();
        let filter = filter?;
        // An instance belongs to the first tier that it passes.
        let before = seen.iter().find(|(other, _)| takes_all(other) || *other == filter);
        if let Some((_, first)) = before {
            element
                .error("this tier can never have an instance")
                .also(first.place(), "that one takes all that it could have")
                .help("an instance belongs to the first tier that it passes: { } stands last")
                .report();
        }
        seen.push((filter.clone(), element));
        Some(filter)
    })
}

/// Largest count that `min_healthy` may ask for.
const MAX_COUNT: u32 = 65_535;

/// Reads a count, or a part with a percent sign.
pub(super) fn amount(item: Item<'_>) -> Option<Amount> {
    let what = format!("a number from 1 to {MAX_COUNT}, or a part from \"1%\" to \"100%\"");
    let read = match item.value.as_str() {
        Some(text) => {
            percent_of_text(text).filter(|percent| (1..=100).contains(percent)).map(Amount::Percent)
        }
        None => item
            .integer()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|count| (1..=MAX_COUNT).contains(count))
            .map(Amount::Count),
    };
    match (read, item.value.as_str()) {
        (Some(amount), _) => Some(amount),
        (None, Some(text)) if text.parse::<u32>().is_ok() => item
            .must_be(&what)
            .help(format!("write {} for so many, or {:?} for a part", shorten(text), format!("{text}%")))
            .reject(),
        _ => item.must_be(&what).reject(),
    }
}
