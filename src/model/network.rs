//! Networks: an address with a prefix length, as in `10.0.0.0/8`.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::Ipv6Net;

use super::Name;

/// A network, or one address; the host bits are zero.
///
/// *Shape*: a v6 network. A v4 network is the network of its v4-mapped addresses (RFC 4291 section
/// 2.5.5.2), so that it contains a client in either form in which a socket gives its address. A v6
/// network that is wider than the mapped ones, such as `::/0`, contains no v4 addresses: its author
/// means v6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(Ipv6Net);

/// Why a text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The part before the slash is not an address.
    #[error("not an IP address in front of the slash")]
    Address,
    /// The part after the slash is not a prefix length.
    #[error("the length behind the slash must be a number from 0 to {max}")]
    Length {
        /// The longest prefix of the address's family.
        max: u8,
    },
    /// The address has bits set after the prefix.
    #[error("the address has bits set behind the prefix; the network is {meant}")]
    HostBits {
        /// The network that contains the address.
        meant: Network,
    },
}

impl Network {
    /// The length of the prefix of v4-mapped addresses.
    const MAPPED: u8 = 96;

    /// The network of `length` bits that contains `address`; `None` if the family has no such
    /// length.
    pub fn around(address: IpAddr, length: u8) -> Option<Self> {
        let length = match address {
            IpAddr::V4(_) => length.checked_add(Self::MAPPED)?,
            IpAddr::V6(_) => length,
        };
        Ipv6Net::new(v6(address), length).ok().map(|network| Self(network.trunc()))
    }

    /// A v4 network for constants. The length is at most 32 and the host bits are zero; a wrong
    /// length does not compile.
    pub const fn v4(address: Ipv4Addr, length: u8) -> Self {
        Self(Ipv6Net::new_assert(address.to_ipv6_mapped(), Self::MAPPED + length))
    }

    /// A v6 network for constants. The length is at most 128 and the host bits are zero; a wrong
    /// length does not compile.
    pub const fn v6(address: Ipv6Addr, length: u8) -> Self {
        Self(Ipv6Net::new_assert(address, length))
    }

    /// The bits of an address in its v6 form, which networks are compared by.
    #[inline]
    pub const fn bits_of(address: IpAddr) -> u128 {
        v6(address).to_bits()
    }

    /// The length of the prefix in the v6 form: 96 more than written for v4.
    pub const fn length(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether the network contains `address`; a v4-mapped address counts as the v4 address.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.contains_v6(v6(address))
    }

    #[inline]
    fn contains_v6(&self, address: Ipv6Addr) -> bool {
        let is_of_family = self.length() >= Self::MAPPED || address.to_ipv4_mapped().is_none();
        is_of_family && self.0.contains(&address)
    }

    /// Whether `address` is the first of the network: whether its host bits are zero.
    pub const fn starts_at(&self, address: IpAddr) -> bool {
        v6(address).to_bits() == self.0.addr().to_bits()
    }

    /// The network's address, if it has only one; v4 for a v4-mapped one.
    pub fn host(&self) -> Option<IpAddr> {
        (self.length() == 128).then(|| IpAddr::V6(self.0.addr()).to_canonical())
    }

    /// Whether the network contains every address of `other`.
    pub fn covers(&self, other: &Self) -> bool {
        self.length() <= other.length() && self.contains_v6(other.0.addr())
    }

    /// The name at or below which all reverse names of the network are (RFC 1035 section 3.5, RFC
    /// 3596 section 2.5). The prefix must end between two labels.
    pub fn reverse_name(&self) -> Option<Name> {
        let mut text = String::new();
        let length = usize::from(self.prefix_length());
        match self.address() {
            IpAddr::V4(address) => {
                for octet in address.octets().iter().take(length / 8).rev() {
                    write!(text, "{octet}.").ok()?;
                }
                text.push_str("in-addr.arpa");
            }
            IpAddr::V6(address) => {
                let nibbles = address.octets().map(|octet| [octet >> 4, octet & 15]);
                for nibble in nibbles.as_flattened().iter().take(length / 4).rev() {
                    write!(text, "{nibble:x}.").ok()?;
                }
                text.push_str("ip6.arpa");
            }
        }
        text.parse().ok()
    }

    /// The network's addresses as ranges of v6 bits, both ends included: one, or two around the
    /// v4-mapped ones that it does not contain.
    pub fn ranges(&self) -> impl Iterator<Item = (u128, u128)> + use<> {
        let (first, last) = (self.0.network().to_bits(), self.0.broadcast().to_bits());
        let mapped = Self::v4(Ipv4Addr::UNSPECIFIED, 0).0;
        let (first_v4, last_v4) = (mapped.network().to_bits(), mapped.broadcast().to_bits());
        let is_split = self.length() < Self::MAPPED && first <= first_v4 && first_v4 <= last;
        let (one, other) = if is_split {
            (Some((first, first_v4 - 1)), (last_v4 < last).then_some((last_v4 + 1, last)))
        } else {
            (Some((first, last)), None)
        };
        one.into_iter().chain(other)
    }

    /// The first address: v4 for a network of v4 addresses.
    pub const fn address(&self) -> IpAddr {
        match self.0.addr().to_ipv4_mapped() {
            Some(address) if self.length() >= Self::MAPPED => IpAddr::V4(address),
            _ => IpAddr::V6(self.0.addr()),
        }
    }

    /// The prefix length as written for the network's family.
    pub const fn prefix_length(&self) -> u8 {
        match self.address() {
            IpAddr::V4(_) => self.length() - Self::MAPPED,
            IpAddr::V6(_) => self.length(),
        }
    }
}

/// The v6 form of an address: v4-mapped for v4.
#[inline]
const fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

impl From<IpAddr> for Network {
    /// The network of one address.
    #[inline]
    fn from(address: IpAddr) -> Self {
        Self(Ipv6Net::from(v6(address)))
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Parses `10.0.0.0/8`, `fd00::/8`, or an address alone.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, length) = match text.split_once('/') {
            None => (text, None),
            Some((address, length)) => (address, Some(length)),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let Some(length) = length else { return Ok(address.into()) };
        let max = if address.is_ipv4() { 32 } else { 128 };
        // `u8` would accept a sign.
        let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse::<u8>().ok().filter(|length| is_number && *length <= max);
        match length.and_then(|length| Self::around(address, length)) {
            None => Err(NetworkError::Length { max }),
            Some(meant) if !meant.starts_at(address) => Err(NetworkError::HostBits { meant }),
            Some(network) => Ok(network),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.prefix_length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("10.0.0.0/8", "10.255.0.1", "11.0.0.0")]
    #[case("10.2.3.4/32", "10.2.3.4", "10.2.3.5")]
    #[case("10.2.3.4", "10.2.3.4", "10.2.3.5")]
    #[case("0.0.0.0/0", "255.1.2.3", "::1")]
    #[case("0.0.0.0/0", "::ffff:9.9.9.9", "fd00::1")]
    #[case("fd00::/8", "fdff::1", "fc00::1")]
    #[case("::1", "::1", "127.0.0.1")]
    #[case("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3")]
    #[case("::ffff:0:0/96", "1.2.3.4", "1::")]
    fn a_network_contains_its_addresses_and_no_others(
        #[case] text: &str,
        #[case] inside: &str,
        #[case] outside: &str,
    ) {
        assert!(network(text).contains(address(inside)), "{inside} in {text}");
        assert!(!network(text).contains(address(outside)), "{outside} in {text}");
    }

    #[rstest]
    #[case("::/0")]
    #[case("::/72")]
    fn a_wide_v6_network_has_no_v4_addresses(#[case] text: &str) {
        assert!(network(text).contains(address("::1")));
        assert!(!network(text).contains(address("10.0.0.1")));
        assert!(!network(text).contains(address("::ffff:10.0.0.1")));
        let in_ranges = |bits| network(text).ranges().any(|(first, last)| first <= bits && bits <= last);
        assert!(in_ranges(1) && !in_ranges(Network::bits_of(address("10.0.0.1"))));
        assert!(in_ranges(Network::bits_of(address("::ffff:0:0")) - 1));
        assert!(in_ranges(Network::bits_of(address("::1:0:0:0"))));
    }

    #[test]
    fn v4_addresses_at_the_end_leave_one_range() {
        assert_eq!(network("::/80").ranges().collect::<Vec<_>>(), [(0, 0xfffe_ffff_ffff)]);
    }

    #[rstest]
    #[case("10.0.0.0/8", "10.0.0.0/8")]
    #[case("10.2.3.4", "10.2.3.4/32")]
    #[case("FD00::/8", "fd00::/8")]
    #[case("::/0", "::/0")]
    #[case("0.0.0.0/0", "0.0.0.0/0")]
    #[case("::ffff:10.0.0.0/104", "10.0.0.0/8")]
    fn a_network_is_written_with_its_length(#[case] text: &str, #[case] written: &str) {
        assert_eq!(network(text).to_string(), written);
    }

    #[rstest]
    #[case("10.0.0.1/8", NetworkError::HostBits { meant: network("10.0.0.0/8") })]
    #[case("fd00::1/64", NetworkError::HostBits { meant: network("fd00::/64") })]
    #[case("10.0.0.0/33", NetworkError::Length { max: 32 })]
    #[case("fd00::/129", NetworkError::Length { max: 128 })]
    #[case("10.0.0.0/", NetworkError::Length { max: 32 })]
    #[case("10.0.0.0/+8", NetworkError::Length { max: 32 })]
    #[case("10.0.0.0/-1", NetworkError::Length { max: 32 })]
    #[case("10.0.0/8", NetworkError::Address)]
    #[case("private", NetworkError::Address)]
    #[case("", NetworkError::Address)]
    fn other_texts_are_refused_with_the_reason(#[case] text: &str, #[case] why: NetworkError) {
        assert_eq!(text.parse::<Network>(), Err(why));
    }

    #[test]
    fn a_network_covers_its_parts_and_itself() {
        assert!(network("10.0.0.0/8").covers(&network("10.2.0.0/16")));
        assert!(network("10.0.0.0/8").covers(&network("10.0.0.0/8")));
        assert!(!network("10.2.0.0/16").covers(&network("10.0.0.0/8")));
        assert!(!network("10.0.0.0/8").covers(&network("fd00::/8")));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_and_has_the_address(bits: u128, v4: u32, is_v4: bool, length in 0_u8..=128) {
            let address = if is_v4 { IpAddr::V4(v4.into()) } else { IpAddr::V6(bits.into()) };
            let Some(network) = Network::around(address, length) else {
                prop_assert!(is_v4 && length > 32);
                return Ok(());
            };
            prop_assume!(is_v4 || length >= 96 || bits >> 32 != 0xffff);
            prop_assert!(network.contains(address));
            prop_assert_eq!(network.to_string().parse(), Ok(network));
            let bits = Network::bits_of(address);
            prop_assert!(network.ranges().any(|(first, last)| first <= bits && bits <= last));
        }
    }
}
