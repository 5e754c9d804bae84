//! Reverse names: the names of addresses and networks below `in-addr.arpa` (RFC 1035 section 3.5)
//! and `ip6.arpa` (RFC 3596 section 2.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::zone::{Zone, ZoneKind};
use crate::{
    config::{AnswerSettings, Namespace, Truncate},
    model::Network,
    wire::WireName,
};

const V4: &[u8] = b"\x07in-addr\x04arpa\x00";
const V6: &[u8] = b"\x03ip6\x04arpa\x00";

/// The meaning of a reverse name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reversed {
    Address(IpAddr),
    /// A network; the names of its addresses are below.
    Network,
}

/// The zone of a network's reverse names, with the default TTLs.
///
/// `None` if the network has no reverse name.
pub(super) fn zone(network: &Network, serial: u32) -> Option<Zone> {
    let apex = network.reverse_name()?;
    Some(Zone {
        negative_ttl: Namespace::DEFAULT_NEGATIVE_TTL,
        ttl: AnswerSettings::default().ttl,
        serial,
        ns: vec![apex.child(b"ns").ok()?],
        built_in_ns: true,
        hostmaster: apex.child(b"hostmaster").ok()?,
        truncate: Truncate::default(),
        kind: ZoneKind::Reverse,
        unsynced_imports: 0.into(),
        unsynced_services: 0.into(),
        apex,
    })
}

/// Reads a lower-case name; `None` if it is not the reverse name of an address or network.
pub(super) fn read(name: WireName<'_>) -> Option<Reversed> {
    let name = name.as_bytes();
    match name.strip_suffix(V4) {
        Some(labels) => read_v4(labels),
        None => read_v6(name.strip_suffix(V6)?),
    }
}

fn read_v4(labels: &[u8]) -> Option<Reversed> {
    let mut octets = [0; 4];
    let mut slots = octets.iter_mut().rev();
    let mut rest = labels;
    while let Some((&length, after)) = rest.split_first() {
        let (digits, next) = after.split_at_checked(usize::from(length))?;
        // "domain names ... with leading zeroes omitted": 010 is no octet.
        let is_octet = digits.first().is_some_and(|first| *first != b'0' || digits.len() == 1)
            && digits.iter().all(u8::is_ascii_digit);
        let octet = str::from_utf8(digits).ok().filter(|_| is_octet)?.parse().ok()?;
        *slots.next()? = octet;
        rest = next;
    }
    let is_whole = slots.next().is_none();
    Some(if is_whole { Reversed::Address(Ipv4Addr::from(octets).into()) } else { Reversed::Network })
}

fn read_v6(labels: &[u8]) -> Option<Reversed> {
    const NIBBLES: usize = 32;
    let mut bits: u128 = 0;
    let (pairs, odd) = labels.as_chunks::<2>();
    if !odd.is_empty() || pairs.len() > NIBBLES {
        return None;
    }
    // The last label is the first nibble.
    for [length, digit] in pairs.iter().rev() {
        let nibble = char::from(*digit).to_digit(16).filter(|_| *length == 1)?;
        bits = bits << 4 | u128::from(nibble);
    }
    let is_whole = pairs.len() == NIBBLES;
    Some(if is_whole { Reversed::Address(Ipv6Addr::from_bits(bits).into()) } else { Reversed::Network })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::model::Name;

    const FULL_V6: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";

    #[rstest]
    #[case("10.0.0.0/8", "10.in-addr.arpa")]
    #[case("192.168.0.0/16", "168.192.in-addr.arpa")]
    #[case("10.1.2.3/32", "3.2.1.10.in-addr.arpa")]
    #[case("2001:db8::/32", "8.b.d.0.1.0.0.2.ip6.arpa")]
    #[case("2001:db8::1/128", FULL_V6)]
    #[case("f000::/4", "f.ip6.arpa")]
    fn a_network_has_an_apex(#[case] network: Network, #[case] expected: &str) {
        assert_eq!(zone(&network, 1).map(|zone| zone.apex), expected.parse().ok());
    }

    #[rstest]
    #[case("3.2.1.10.in-addr.arpa", Some("10.1.2.3"))]
    #[case("0.255.0.10.in-addr.arpa", Some("10.0.255.0"))]
    #[case(FULL_V6, Some("2001:db8::1"))]
    #[case("1.10.in-addr.arpa", Some("network"))]
    #[case("in-addr.arpa", Some("network"))]
    #[case("d.0.1.0.0.2.ip6.arpa", Some("network"))]
    #[case("4.3.2.1.10.in-addr.arpa", None)]
    #[case("256.1.10.in-addr.arpa", None)]
    #[case("03.2.1.10.in-addr.arpa", None)]
    #[case("00.2.1.10.in-addr.arpa", None)]
    #[case("ns.10.in-addr.arpa", None)]
    #[case("99999999999.10.in-addr.arpa", None)]
    #[case("g.0.2.ip6.arpa", None)]
    #[case("10.0.2.ip6.arpa", None)]
    fn a_reverse_name_is_an_address_a_network_or_neither(#[case] name: &str, #[case] expected: Option<&str>) {
        let name = name.parse::<Name>().unwrap();
        let read = read(name.wire()).map(|reversed| match reversed {
            Reversed::Address(address) => address.to_string(),
            Reversed::Network => "network".to_owned(),
        });
        assert_eq!(read.as_deref(), expected);
    }

    #[test]
    fn too_many_nibbles_are_not_an_address() {
        let name: Name = format!("0.{FULL_V6}").parse().unwrap();
        assert_eq!(read(name.wire()), None);
        let name = WireName::new(b"\x03+10\x07in-addr\x04arpa\x00").unwrap();
        assert_eq!(read(name), None);
    }
}
