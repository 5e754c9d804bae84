//! Whether an address is one that muster itself listens on.

use std::net::{IpAddr, SocketAddr};

/// Whether packets to `address` arrive at a socket that is bound to one of `own`.
///
/// A wildcard socket receives packets to all addresses of the machine, of its own family: muster's
/// IPv6 sockets take no IPv4. `is_local` decides which addresses the machine has. A reader of the
/// configuration counts those that every machine has, so that its result is the same everywhere;
/// the running server knows them all.
pub fn is_own_address(own: &[SocketAddr], address: SocketAddr, is_local: impl Fn(IpAddr) -> bool) -> bool {
    let ip = address.ip().to_canonical();
    own.iter().filter(|own| own.port() == address.port()).any(|own| {
        let own = own.ip().to_canonical();
        own == ip || (own.is_unspecified() && own.is_ipv4() == ip.is_ipv4() && is_local(ip))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0.0.0.0:53", "127.0.0.53:53", true)]
    #[case("0.0.0.0:53", "127.0.0.53:5353", false)]
    #[case("0.0.0.0:53", "192.0.2.1:53", false)]
    #[case("0.0.0.0:53", "[::ffff:127.0.0.1]:53", true)]
    #[case("192.0.2.1:53", "192.0.2.1:53", true)]
    #[case("192.0.2.1:53", "127.0.0.1:53", false)]
    #[case("[::]:53", "[::1]:53", true)]
    #[case("[::]:53", "127.0.0.1:53", false)]
    fn a_wildcard_socket_has_the_addresses_of_its_family(
        #[case] own: SocketAddr,
        #[case] address: SocketAddr,
        #[case] expected: bool,
    ) {
        assert_eq!(is_own_address(&[own], address, |ip| ip.is_loopback()), expected);
    }
}
