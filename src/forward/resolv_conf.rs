//! resolv.conf: the name servers that the machine uses.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    path::Path,
};

use tracing::debug;

use crate::config;

/// Port of plain DNS. resolv.conf cannot name another one.
const DNS_PORT: u16 = 53;

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// Reads a file such as resolv.conf. `None` if it cannot be read.
pub(super) fn read(path: &Path) -> Option<String> {
    let read = config::read_limited(path, MAX_FILE);
    if let Err(error) = &read {
        debug!(file = %path.display(), "cannot be read: {error}");
    }
    read.ok().map(|text| String::from_utf8_lossy(&text).into_owned())
}

/// The name servers in a file such as resolv.conf (resolv.conf(5)), in order, without duplicates.
/// Entries that are not an address are ignored.
pub(super) fn nameservers(text: &str) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        if let Some(address) = words.next().and_then(address)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// Parses an address; a link-local one may have its interface after a `%`, as a number or a name.
fn address(word: &str) -> Option<SocketAddr> {
    let Some((address, scope)) = word.split_once('%') else {
        return word.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, DNS_PORT));
    };
    let ip: Ipv6Addr = address.parse().ok()?;
    let scope = scope.parse().ok().or_else(|| nix::net::if_::if_nametoindex(scope).ok())?;
    Some(SocketAddrV6::new(ip, DNS_PORT, 0, scope).into())
}

/// Whether this machine has the address: only its own can be bound.
pub(super) fn is_local(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nameserver_lines_are_read() {
        let text = "# nameserver 10.0.0.1\nsearch example.com\nnameserver 10.0.0.2\n  nameserver\t10.0.0.2 # again\n\
                    nameserver fd00::2\nnameserver fe80::1%1\nnameserver resolver\nnameservers 10.0.0.9\noptions ndots:5\n";
        let found: Vec<_> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.2:53", "[fd00::2]:53", "[fe80::1%1]:53"]);
    }

    #[test]
    fn only_addresses_of_this_machine_are_local() {
        assert!(is_local("127.0.0.53".parse().unwrap()));
        assert!(!is_local("192.0.2.1".parse().unwrap()));
    }
}
