//! Reads `[listen]`.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use crate::config::{
    schema::Listen,
    toml::{
        Item, TableReader, duration,
        values::{self, listen_address},
    },
};

/// Reads `[listen]`.
pub(super) fn listen(item: Item<'_>) -> Option<Listen> {
    let default = Listen::default();
    let mut table = TableReader::new("[listen]", &item)?;
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
