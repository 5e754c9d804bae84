//! Reads `muster.toml`.

use std::{path::PathBuf, time::Duration};

use super::{
    access::access,
    cache::cache,
    forward::{PlacedRule, forward},
    listen::listen,
    locality,
    sources::{self, DeclaredSources},
};
use crate::{
    config::{
        schema::{AccessSettings, CacheSettings, Config, Listen, LocalityRule},
        toml::{Item, PathBase, TableReader, duration, values},
    },
    model::Network,
};

/// What `muster.toml` says.
pub(in crate::config) struct ServerFile<'a> {
    pub(in crate::config) zones: ZonePaths<'a>,
    pub(in crate::config) watch_files: bool,
    pub(in crate::config) listen: Listen,
    pub(in crate::config) access: AccessSettings,
    pub(in crate::config) state: Option<PathBuf>,
    pub(in crate::config) max_stale: Duration,
    pub(in crate::config) sources: DeclaredSources,
    pub(in crate::config) forward: Vec<PlacedRule<'a>>,
    pub(in crate::config) cache: CacheSettings,
    pub(in crate::config) localities: Vec<LocalityRule>,
    pub(in crate::config) reverse: Vec<Network>,
}

/// Where the zone files are.
pub(in crate::config) enum ZonePaths<'a> {
    /// `zones` is left out: the folder `zones`, which need not exist.
    Default,
    /// Folders and files, each with its place.
    Given(Vec<(PathBuf, Item<'a>)>),
}

/// Reads a whole `muster.toml`.
pub(in crate::config) fn server<'a>(mut table: TableReader<'a>, base: &PathBase) -> ServerFile<'a> {
    let zones = match table.take("zones") {
        None => ZonePaths::Default,
        Some(item) => {
            ZonePaths::Given(item.list(|element| values::path(element, base).map(|path| (path, element))))
        }
    };
    let watch_files = table.take("watch_files").and_then(|item| item.boolean()).unwrap_or_default();
    let listen = table.take("listen").and_then(listen).unwrap_or_default();
    let access = table.take("access").and_then(access).unwrap_or_default();
    let state = table.take("state");
    if let Some(item) = &state {
        item.scope
            .warning(
                item.key,
                "not applied yet: \"state\" is checked, but the last known good is not kept on disk",
            )
            .report();
    }
    let state = state.and_then(|item| values::path(item, base));
    let max_stale = table
        .take("max_stale")
        .and_then(|item| duration(item, Duration::from_secs(1), Duration::from_secs(365 * 24 * 3600)));
    let sources = sources::sources(&mut table, base);
    let forward = table.take("forward").and_then(|item| forward(item, &listen, base)).unwrap_or_default();
    let cache = table.take("cache").and_then(cache).unwrap_or_default();
    let localities = table.take("locality").map(locality::localities).unwrap_or_default();
    let reverse = table.take("reverse").map(locality::reverse).unwrap_or_default();
    table.finish_with(|key| match key {
        "namespace" | "services" | "import" | "ttl" => {
            Some(format!("{key:?} belongs in a zone file, such as zones/shop.toml"))
        }
        _ => None,
    });
    let max_stale = max_stale.unwrap_or(Config::DEFAULT_MAX_STALE);
    ServerFile {
        zones,
        watch_files,
        listen,
        access,
        state,
        max_stale,
        sources,
        forward,
        cache,
        localities,
        reverse,
    }
}
