//! Reads `[listen]`.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use crate::config::{
    schema::Listen,
    toml::{
        Item, Read, TableReader, duration,
        values::{self, listen_address},
    },
};

/// Limits of `tcp_idle`.
const MIN_TCP_IDLE: Duration = Duration::from_millis(100);
const MAX_TCP_IDLE: Duration = Duration::from_secs(3600);

/// Longest `lameduck`.
const MAX_LAMEDUCK: Duration = Duration::from_secs(300);

/// Reads `[listen]`.
pub(super) fn listen(item: Item<'_>) -> Read<Listen> {
    let default = Listen::default();
    let mut seen = HashMap::new();
    let mut address = |item| {
        let address = listen_address(item)?;
        check_unique(&mut seen, address, item)?;
        Ok(address)
    };
    let mut table = TableReader::new("[listen]", &item)?;
    let listen = Listen {
        dns: table.read_or("dns", default.dns, |item| item.non_empty_list("address", &mut address)),
        // DNS is answered over TCP too, so the two cannot share a port.
        admin: table.read_or("admin", default.admin, |item| address(item).map(Some)),
        admin_hosts: table.read_or("admin_hosts", default.admin_hosts, |item| {
            Ok(item.list(|element| element.text().map(str::to_owned)))
        }),
        lameduck: table
            .read_or("lameduck", default.lameduck, |item| duration(item, Duration::ZERO, MAX_LAMEDUCK)),
        workers: table.read_or("workers", default.workers, |item| item.number(1, 1024)),
        cpus: table.read_or("cpus", default.cpus, |item| Ok(item.list(|element| element.number(0, 1023)))),
        tcp_idle: table
            .read_or("tcp_idle", default.tcp_idle, |item| duration(item, MIN_TCP_IDLE, MAX_TCP_IDLE)),
        tcp_connections: table
            .read_or("tcp_connections", default.tcp_connections, |item| item.number(1, 1_000_000)),
        version: table.read_or("version", default.version, |item| version(item).map(Some)),
        trusted_forwarders: table
            .read_or("trusted_forwarders", default.trusted_forwarders, |item| Ok(item.list(values::network))),
    };
    // The rest of the section is good, and [forward] is checked against its addresses.
    let _: Read<()> = table.finish_with(|key| match key {
        "allow" | "deny" => Some(format!("{key:?} belongs in [access]")),
        _ => None,
    });
    Ok(listen)
}

/// Refuses a second socket on one address and port.
fn check_unique<'a>(
    seen: &mut HashMap<SocketAddr, Item<'a>>,
    address: SocketAddr,
    item: Item<'a>,
) -> Read<()> {
    if address.port() == 0 {
        return Ok(());
    }
    match seen.insert(address, item) {
        None => Ok(()),
        Some(first) => item
            .error(format!("the address {:?} is already in use", address.to_string()))
            .also(first.place(), "first used here")
            .reject(),
    }
}

/// Reads a text that fits into one TXT character-string (RFC 1035 section 3.3).
fn version(item: Item<'_>) -> Read<String> {
    let text = item.text()?;
    if text.len() <= 255 {
        return Ok(text.to_owned());
    }
    item.must_be("a string of at most 255 bytes").label(format!("has {} bytes", text.len())).reject()
}
