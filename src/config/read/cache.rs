//! Reads `[cache]`.

use std::time::Duration;

use toml::de::DeValue;

use crate::config::{
    schema::CacheSettings,
    toml::{Item, TableReader, duration, values},
};

/// Reads `[cache]`.
pub(super) fn cache(item: Item<'_>) -> Option<CacheSettings> {
    let default = CacheSettings::default();
    let mut table = TableReader::new("[cache]", &item)?;
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
    let cache = CacheSettings {
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
