//! `muster.toml`: the server's own settings.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    access::{Access, access},
    cache::{Cache, cache},
    duration::duration,
    forward::{Placed, forward},
    locality,
    routing::LocalityRule,
    sources::{self, Sources},
    types::{Config, Listen},
    values::{self, Base, listen_address},
    walk::{Item, Table},
};
use crate::model::Network;

/// What `muster.toml` says.
pub(super) struct Server<'a> {
    pub(super) zones: Zones<'a>,
    pub(super) watch_files: bool,
    pub(super) listen: Listen,
    pub(super) access: Access,
    pub(super) state: Option<PathBuf>,
    pub(super) max_stale: Duration,
    pub(super) sources: Sources,
    pub(super) forward: Vec<Placed<'a>>,
    pub(super) cache: Cache,
    pub(super) localities: Vec<LocalityRule>,
    pub(super) reverse: Vec<Network>,
}

/// Where the zone files are.
pub(super) enum Zones<'a> {
    /// `zones` is left out: the folder `zones`, which need not exist.
    Default,
    /// Folders and files, each with its place.
    Given(Vec<(PathBuf, Item<'a>)>),
}

/// Reads a whole `muster.toml`.
pub(super) fn server<'a>(mut table: Table<'a>, base: &Base) -> Server<'a> {
    let zones = match table.take("zones") {
        None => Zones::Default,
        Some(item) => {
            Zones::Given(item.list(|element| values::path(element, base).map(|path| (path, element))))
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
    Server {
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

fn listen(item: Item<'_>) -> Option<Listen> {
    let default = Listen::default();
    let mut table = Table::new("[listen]", &item)?;
    let mut seen = HashMap::new();
    let dns = table.take("dns").and_then(|item| {
        item.non_empty_list("address", |element| {
            let address = listen_address(element)?;
            unique(&mut seen, address, element)?;
            Some(address)
        })
    });
    let admin = table.take("admin").and_then(|item| {
        let address = listen_address(item)?;
        // DNS is answered over TCP too, so the two cannot share a port.
        unique(&mut seen, address, item)?;
        Some(address)
    });
    let count = |item: Item<'_>, max| item.number(1, max).and_then(|count| usize::try_from(count).ok());
    let workers = table.take("workers").and_then(|item| count(item, 1024));
    let cpus = table
        .take("cpus")
        .map(|item| item.list(|element| element.number(0, 1023).and_then(|cpu| usize::try_from(cpu).ok())));
    let idle = |item| duration(item, Duration::from_millis(100), Duration::from_secs(3600));
    let tcp_idle = table.take("tcp_idle").and_then(idle);
    let tcp_connections = table.take("tcp_connections").and_then(|item| count(item, 1_000_000));
    let version = table.take("version").and_then(version);
    let trusted_forwarders = table.take("trusted_forwarders").map(|item| item.list(values::network));
    table.finish_with(|key| match key {
        "allow" | "deny" => Some(format!("{key:?} belongs in [access]")),
        _ => None,
    });
    Some(Listen {
        dns: dns.unwrap_or(default.dns),
        admin,
        workers: workers.unwrap_or(default.workers),
        cpus: cpus.unwrap_or_default(),
        tcp_idle: tcp_idle.unwrap_or(default.tcp_idle),
        tcp_connections: tcp_connections.unwrap_or(default.tcp_connections),
        version,
        trusted_forwarders: trusted_forwarders.unwrap_or_default(),
    })
}

/// Refuses a second socket on one address and port.
fn unique<'a>(seen: &mut HashMap<SocketAddr, Item<'a>>, address: SocketAddr, item: Item<'a>) -> Option<()> {
    if address.port() == 0 {
        return Some(());
    }
    match seen.insert(address, item) {
        None => Some(()),
        Some(first) => item
            .error(format!("{:?} has an address that is taken already", item.name))
            .also(first.place(), "it is taken here")
            .reject(),
    }
}

/// Reads what must fit into one TXT character-string (RFC 1035 section 3.3).
fn version(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    if text.len() <= 255 {
        return Some(text.to_owned());
    }
    item.must_be("a text of at most 255 bytes").label("longer than that").reject()
}
