//! Reads `[cache]`.

use std::time::Duration;

use toml::de::DeValue;

use crate::config::{
    schema::CacheSettings,
    toml::{Item, Read, TableReader, duration, values},
};

/// Longest `serve_stale`.
const MAX_SERVE_STALE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Reads `[cache]`.
pub(super) fn cache(item: Item<'_>) -> Read<CacheSettings> {
    let default = CacheSettings::default();
    let mut table = TableReader::new("[cache]", &item)?;
    let min_ttl_item = table.peek("min_ttl");
    let cache = CacheSettings {
        size: table.read_or("size", default.size, size),
        max_ttl: table.read_or("max_ttl", default.max_ttl, values::ttl),
        min_ttl: table.read_or("min_ttl", default.min_ttl, values::ttl),
        negative_ttl: table.read_or("negative_ttl", default.negative_ttl, values::ttl),
        serve_stale: table.read_or("serve_stale", default.serve_stale, |item| {
            duration(item, Duration::ZERO, MAX_SERVE_STALE)
        }),
        prefetch: table.read_or("prefetch", default.prefetch, |item| item.boolean()),
    };
    table.finish();
    match min_ttl_item {
        Some(item) if cache.min_ttl > cache.max_ttl => {
            item.must_be(&format!("at most \"max_ttl\", which is {}", cache.max_ttl)).reject()
        }
        _ => Ok(cache),
    }
}

/// Reads an amount of memory: a number of bytes, or a string with a unit.
fn size(item: Item<'_>) -> Read<usize> {
    const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
    let bytes = match item.value {
        DeValue::Integer(_) => item.integer().and_then(|number| u64::try_from(number).ok()),
        DeValue::String(text) => UNITS.iter().find_map(|(unit, length)| {
            text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?.checked_mul(*length)
        }),
        _ => None,
    };
    match bytes.filter(|bytes| *bytes <= 1 << 40).and_then(|bytes| usize::try_from(bytes).ok()) {
        Some(bytes) => Ok(bytes),
        None => item
            .must_be("an amount of memory up to 1TiB, such as \"64MiB\"")
            .help("units are KiB, MiB, GiB and TiB; 0 turns the cache off")
            .reject(),
    }
}
