//! Reads `muster.toml`.

use std::{path::PathBuf, time::Duration};

use super::{
    access::access,
    cache::cache,
    forward::{PlacedRule, forward},
    listen::listen,
    locality::{localities, reverse},
    sources::{DeclaredSources, sources},
};
use crate::{
    config::{
        schema::{AccessSettings, CacheSettings, Config, Listen, LocalityRule},
        toml::{Item, Read, TableReader, duration, values, values::PathBase},
    },
    model::Network,
};

/// Limits of `max_stale`.
const MIN_MAX_STALE: Duration = Duration::from_secs(1);
const MAX_MAX_STALE: Duration = Duration::from_secs(365 * 24 * 3600);

/// The content of `muster.toml`.
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

/// Reads a whole `muster.toml`; sections that are wrong are as if left out.
pub(in crate::config) fn server<'a>(mut table: TableReader<'a>, base: &PathBase) -> ServerFile<'a> {
    let zones = match table.take("zones") {
        None => ZonePaths::Default,
        Some(item) => {
            ZonePaths::Given(item.list(|element| values::path(element, base).map(|path| (path, element))))
        }
    };
    let watch_files = table.read_or("watch_files", false, |item| item.boolean());
    let listen = table.read_or("listen", Listen::default(), listen);
    let access = table.read_or("access", AccessSettings::default(), access);
    let state = table.read_or("state", None, |item| values::path(item, base).map(Some));
    let max_stale = table
        .read_or("max_stale", Config::DEFAULT_MAX_STALE, |item| duration(item, MIN_MAX_STALE, MAX_MAX_STALE));
    let sources = sources(&mut table, base);
    let forward = table.read_or("forward", Vec::new(), |item| forward(item, &listen, base));
    let cache = table.read_or("cache", CacheSettings::default(), cache);
    let localities = table.take("locality").map(localities).unwrap_or_default();
    let reverse = table.take("reverse").map(reverse).unwrap_or_default();
    // The zone files are read in any case, so that one mistake does not hide the next.
    let _: Read<()> = table.finish_with(|key| match key {
        "namespace" | "services" | "import" | "ttl" => {
            Some(format!("{key:?} belongs in a zone file, such as zones/shop.toml"))
        }
        _ => None,
    });
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
