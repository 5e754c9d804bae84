//! Reads `failover`, `min_healthy` and `hold_down` of a service.

use std::time::Duration;

use super::{context::NamespaceContext, filter::filter};
use crate::config::{
    schema::{Amount, Failover, InstanceFilter, MemberRule},
    toml::{Item, Read, TableReader, duration, parse_percent, shorten},
};

/// Most tiers of a service.
const MAX_TIERS: usize = 100;

/// Highest count in `min_healthy`.
const MAX_COUNT: u32 = 65_535;

/// Reads a service's failover; `None` if it has none.
pub(super) fn failover(
    tiers: Option<Item<'_>>,
    [min_healthy, hold_down]: [Option<Item<'_>>; 2],
    from: &[MemberRule],
    context: &NamespaceContext<'_>,
) -> Read<Option<Failover>> {
    let Some(tiers) = tiers else {
        for item in [min_healthy, hold_down].into_iter().flatten() {
            item.error(format!("{:?} needs \"failover\"", item.name))
                .at(item.key)
                .help("for example, failover = [{ source = \"eks\" }, { source = \"vms\" }]")
                .report();
        }
        return Ok(None);
    };
    let min_healthy = min_healthy.map_or(Ok(Failover::DEFAULT_MIN_HEALTHY), amount);
    let hold_down = hold_down.map_or(Ok(Failover::DEFAULT_HOLD_DOWN), |item| {
        duration(item, Duration::ZERO, Failover::MAX_HOLD_DOWN)
    });
    let tiers = read_tiers(tiers, from, context);
    Ok(Some(Failover { tiers: tiers?, min_healthy: min_healthy?, hold_down: hold_down? }))
}

fn read_tiers(
    item: Item<'_>,
    from: &[MemberRule],
    context: &NamespaceContext<'_>,
) -> Read<Vec<InstanceFilter>> {
    if item.count() > MAX_TIERS {
        return item.error(format!("a service has at most {MAX_TIERS} failover tiers")).reject();
    }
    let mut seen: Vec<(InstanceFilter, Item<'_>)> = Vec::new();
    item.non_empty_list("tier, such as { source = \"eks\" }", |element| {
        let mut table = TableReader::new("a failover tier", &element)?;
        let filter = filter(&mut table, from, context);
        table.finish();
        let filter = filter?;
        // An instance belongs to the first tier that it matches.
        let earlier = seen.iter().find(|(other, _)| other.matches_all() || *other == filter);
        if let Some((_, earlier)) = earlier {
            element
                .error("this tier never has an instance")
                .also(earlier.place(), "this tier takes them all")
                .help("an instance belongs to the first tier that it matches: put { } last")
                .report();
        }
        seen.push((filter.clone(), element));
        Ok(filter)
    })
}

/// Reads a count, or a string with a percent sign.
fn amount(item: Item<'_>) -> Read<Amount> {
    let read = match item.value.as_str() {
        Some(text) => parse_percent(text).filter(|percent| (1..=100).contains(percent)).map(Amount::Percent),
        None => item
            .integer()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|count| (1..=MAX_COUNT).contains(count))
            .map(Amount::Count),
    };
    if let Some(amount) = read {
        return Ok(amount);
    }
    let draft = item.must_be(&format!("a number from 1 to {MAX_COUNT}, or a share from \"1%\" to \"100%\""));
    match item.value.as_str() {
        Some(text) if text.parse::<u32>().is_ok() => {
            let help =
                format!("write {} for a count, or {:?} for a share", shorten(text), format!("{text}%"));
            draft.help(help).reject()
        }
        _ => draft.reject(),
    }
}
