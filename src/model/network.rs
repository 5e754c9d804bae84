//! Networks: an address with a prefix length, as in `10.0.0.0/8`.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::Name;

/// A network, or one address; the host bits are zero.
///
/// Held as v6 bits: a v4 network is the one of its v4-mapped addresses (RFC 4291 section 2.5.5.2), so that a client is found
/// in it in whichever form a socket gives its address. A v6 network that is wider than those, such as `::/0`, has no v4 ones:
/// whoever writes it means v6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    bits: u128,
    /// Of the v6 form: 96 more than written for v4.
    length: u8,
}

/// Why a text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What stands before the slash is no address.
    #[error("not an IP address in front of the slash")]
    Address,
    /// What stands behind the slash is no prefix length.
    #[error("the length behind the slash must be a number from 0 to {max}")]
    Length {
        /// The longest prefix of the address's family.
        max: u8,
    },
    /// The address has bits behind the prefix.
    #[error("the address has bits set behind the prefix; the network is {meant}")]
    HostBits {
        /// The network that the address is in.
        meant: Network,
    },
}

impl Network {
    /// The bits before a v4 address in its v4-mapped form.
    const MAPPED: u8 = 96;
    /// The first v4-mapped address.
    const FIRST_V4: u128 = 0xffff_0000_0000;

    /// Makes the network of `length` bits that `address` is in; `None` where the family has no such length.
    pub fn around(address: IpAddr, length: u8) -> Option<Self> {
        let length = match address {
            IpAddr::V4(_) => length.checked_add(Self::MAPPED)?,
            IpAddr::V6(_) => length,
        };
        (length <= 128).then(|| Self { bits: Self::bits_of(address) & mask(length), length })
    }

    /// Makes a network known to be good, for constants; host bits are dropped and a length beyond 32 counts as 32.
    pub const fn v4(address: Ipv4Addr, length: u8) -> Self {
        let length = Self::MAPPED + if length > 32 { 32 } else { length };
        Self { bits: address.to_ipv6_mapped().to_bits() & mask(length), length }
    }

    /// As [`v4`](Self::v4), for v6 and lengths up to 128.
    pub const fn v6(address: Ipv6Addr, length: u8) -> Self {
        let length = if length > 128 { 128 } else { length };
        Self { bits: address.to_bits() & mask(length), length }
    }

    /// The v6 bits of an address, v4-mapped for v4: what networks are compared by.
    #[inline]
    pub const fn bits_of(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    /// How many bits of the v6 form are fixed: 96 more than are written for v4.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Tells whether `address` is in it; a v4-mapped address is taken as the v4 address.
    #[inline]
    pub const fn contains(&self, address: IpAddr) -> bool {
        self.contains_bits(Self::bits_of(address))
    }

    #[inline]
    const fn contains_bits(&self, address: u128) -> bool {
        let is_of_family = self.length >= Self::MAPPED || address & mask(Self::MAPPED) != Self::FIRST_V4;
        (address ^ self.bits) & mask(self.length) == 0 && is_of_family
    }

    /// The network that is this one address.
    pub const fn of(address: IpAddr) -> Self {
        Self { bits: Self::bits_of(address), length: 128 }
    }

    /// Tells whether `address` is its first one: whether no bit behind the prefix is set.
    pub const fn starts_at(&self, address: IpAddr) -> bool {
        Self::bits_of(address) == self.bits
    }

    /// Its one address, if it has no more than one; a v4-mapped one as the v4 address.
    pub fn host(&self) -> Option<IpAddr> {
        (self.length == 128).then(|| IpAddr::V6(Ipv6Addr::from_bits(self.bits)).to_canonical())
    }

    /// Tells whether every address of `other` is in it.
    pub const fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && self.contains_bits(other.bits)
    }

    /// The name that all reverse names of its addresses are at or below (RFC 1035 section 3.5, RFC 3596 section 2.5); its length
    /// must end at a label's border.
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

    /// Its addresses as ranges of v6 bits, both ends included: one, or two around the v4 ones that are not in it.
    pub fn ranges(&self) -> impl Iterator<Item = (u128, u128)> + use<> {
        let (first, last) = (self.bits, self.bits | !mask(self.length));
        let is_split = self.length < Self::MAPPED && first <= Self::FIRST_V4 && Self::FIRST_V4 <= last;
        let (one, other) = if is_split {
            let last_v4 = Self::FIRST_V4 | !mask(Self::MAPPED);
            (Some((first, Self::FIRST_V4 - 1)), (last_v4 < last).then_some((last_v4 + 1, last)))
        } else {
            (Some((first, last)), None)
        };
        one.into_iter().chain(other)
    }

    /// The first address: v4 for a network of v4 addresses.
    pub const fn address(&self) -> IpAddr {
        let address = Ipv6Addr::from_bits(self.bits);
        match address.to_ipv4_mapped() {
            Some(address) if self.length >= Self::MAPPED => IpAddr::V4(address),
            _ => IpAddr::V6(address),
        }
    }

    /// The prefix length, as written for its family.
    pub const fn prefix_length(&self) -> u8 {
        match self.address() {
            IpAddr::V4(_) => self.length - Self::MAPPED,
            IpAddr::V6(_) => self.length,
        }
    }
}

/// `length` ones in front; `length` is at most 128.
#[inline]
const fn mask(length: u8) -> u128 {
    match length {
        0 => 0,
        _ => u128::MAX << (128 - length),
    }
}

impl From<IpAddr> for Network {
    /// The network of one address.
    fn from(address: IpAddr) -> Self {
        Self { bits: Self::bits_of(address), length: 128 }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads `10.0.0.0/8`, `fd00::/8`, or an address alone.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, length) = match text.split_once('/') {
            None => (text, None),
            Some((address, length)) => (address, Some(length)),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let Some(length) = length else { return Ok(address.into()) };
        let max = if address.is_ipv4() { 32 } else { 128 };
        // `u8` would take a sign as well.
        let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse::<u8>().ok().filter(|length| is_number && *length <= max);
        let network = length.and_then(|length| Self::around(address, length));
        match network {
            None => Err(NetworkError::Length { max }),
            Some(meant) if meant.bits != Self::bits_of(address) => Err(NetworkError::HostBits { meant }),
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
    fn a_network_has_its_own_addresses_and_no_others(
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
    fn v4_addresses_at_the_end_of_a_v6_network_leave_one_range() {
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
    fn what_is_no_network_is_refused_with_its_reason(#[case] text: &str, #[case] why: NetworkError) {
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
