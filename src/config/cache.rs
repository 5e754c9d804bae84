//! `[cache]`: how long forwarded answers are kept, and how many.

use std::time::Duration;

use toml::de::DeValue;

use super::{
    duration::duration,
    values,
    walk::{Item, Table},
};

/// What of forwarded answers is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// How much memory it may take, in bytes; 0: nothing is kept.
    pub size: usize,
    /// Longest time that an answer counts as fresh, in seconds.
    pub max_ttl: u32,
    /// Shortest time that an answer counts as fresh, in seconds; answers with TTL 0 are never kept.
    pub min_ttl: u32,
    /// Longest time that the news that something does not exist counts as fresh, in seconds.
    pub negative_ttl: u32,
    /// How long an answer may be given after its time where no upstream gives a new one (RFC 8767); zero: never.
    pub serve_stale: Duration,
    /// Whether popular answers are asked for again before their time is over.
    pub prefetch: bool,
}

impl Cache {
    /// Memory where nothing is said.
    pub const DEFAULT_SIZE: usize = 64 << 20;
    /// Longest time where nothing is said: a day.
    pub const DEFAULT_MAX_TTL: u32 = 86_400;
    /// Longest negative time where nothing is said: an hour ("one to three hours", RFC 2308 section 5).
    pub const DEFAULT_NEGATIVE_TTL: u32 = 3_600;
    /// How long stale answers are given where nothing is said ("between 1 day and 3 days", RFC 8767 section 5).
    pub const DEFAULT_SERVE_STALE: Duration = Duration::from_secs(24 * 3600);
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            size: Self::DEFAULT_SIZE,
            max_ttl: Self::DEFAULT_MAX_TTL,
            min_ttl: 0,
            negative_ttl: Self::DEFAULT_NEGATIVE_TTL,
            serve_stale: Self::DEFAULT_SERVE_STALE,
            prefetch: true,
        }
    }
}

/// Reads `[cache]`.
pub(super) fn cache(item: Item<'_>) -> Option<Cache> {
    let default = Cache::default();
    let mut table = Table::new("[cache]", &item)?;
    let size = table.take("size").and_then(size);
    let max_ttl = table.take("max_ttl").and_then(values::ttl);
    let min_ttl_item = table.take("min_ttl");
    let min_ttl = min_ttl_item.and_then(values::ttl);
    let negative_ttl = table.take("negative_ttl").and_then(values::ttl);
    let serve_stale = table
        .take("serve_stale")
        .and_then(|item| duration(item, Duration::ZERO, Duration::from_secs(7 * 24 * 3600)));
    let prefetch = table.take("prefetch").and_then(|item| item.boolean());
    table.finish();
    let cache = Cache {
        size: size.unwrap_or(default.size),
        max_ttl: max_ttl.unwrap_or(default.max_ttl),
        min_ttl: min_ttl.unwrap_or(default.min_ttl),
        negative_ttl: negative_ttl.unwrap_or(default.negative_ttl),
        serve_stale: serve_stale.unwrap_or(default.serve_stale),
        prefetch: prefetch.unwrap_or(default.prefetch),
    };
    if let Some(item) = min_ttl_item.filter(|_| cache.min_ttl > cache.max_ttl) {
        return item.must_be(&format!("at most \"max_ttl\", which is {}", cache.max_ttl)).reject();
    }
    Some(cache)
}

/// Reads an amount of memory: bytes as a number, or a text with a unit.
fn size(item: Item<'_>) -> Option<usize> {
    const WHAT: &str = "an amount of memory up to 1TiB, such as \"64MiB\"";
    const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
    let bytes = match item.value {
        DeValue::Integer(_) => item.integer().and_then(|number| u64::try_from(number).ok()),
        DeValue::String(text) => UNITS.iter().find_map(|(unit, length)| {
            text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?.checked_mul(*length)
        }),
        _ => None,
    };
    let bytes = bytes.filter(|bytes| *bytes <= 1 << 40).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.or_else(|| item.must_be(WHAT).help("units are KiB, MiB, GiB and TiB; 0 keeps nothing").reject())
}
