//! EDNS Client Subnet (RFC 7871): the client on whose behalf a forwarder queries.
//!
//! Any client can send the option, so it counts only from forwarders that the configuration trusts,
//! and is ignored from others. If an answer depends on the client, its scope is the length of the
//! prefix that the forwarder sent, otherwise 0.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{model::Network, wire::opt};

/// Maximum length of the option in a response, in bytes: code, length, family, prefix lengths, and
/// address.
pub(super) const SUBNET_OPTION: usize = 24;

/// A query's client subnet option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentSubnet {
    /// There is none.
    None,
    /// It is malformed: FORMERR, if the forwarder is trusted.
    Malformed,
    /// The client is in this network.
    In(Subnet),
}

/// A client's network, as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    family: u8,
    prefix: u8,
    address: [u8; 16],
}

impl SentSubnet {
    /// Reads the option's data.
    pub(super) fn read(data: &[u8]) -> Self {
        Self::parse(data).map_or(Self::Malformed, Self::In)
    }

    fn parse(data: &[u8]) -> Option<Subnet> {
        // "SCOPE PREFIX-LENGTH … In queries, it MUST be set to 0." (section 6)
        let (&[0, family, prefix, 0], sent) = data.split_first_chunk()? else { return None };
        let longest: u8 = match family {
            1 => 32,
            2 => 128,
            _ => return None,
        };
        let mut address = [0; 16];
        let target = address.get_mut(..usize::from(prefix.div_ceil(8)))?;
        if prefix > longest || sent.len() != target.len() {
            return None;
        }
        target.copy_from_slice(sent);
        let subnet = Subnet { family, prefix, address };
        // "ADDRESS … MUST be truncated to the number of bits indicated by the SOURCE PREFIX-LENGTH
        // field, padding with 0 bits" (section 6)
        let network = subnet.network()?;
        let address = subnet.whole_address();
        network.starts_at(address).then_some(subnet)
    }
}

impl Subnet {
    fn whole_address(&self) -> IpAddr {
        let [a, b, c, d, ..] = self.address;
        if self.family == 1 {
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.address))
        }
    }

    /// The network. Never `None`, because the prefix length was checked.
    pub(super) fn network(&self) -> Option<Network> {
        let network = Network::around(self.whole_address(), self.prefix);
        debug_assert!(network.is_some() || self.prefix > 128, "parse() checks the prefix length");
        network
    }

    /// The prefix length that the forwarder sent, in bits.
    pub(super) fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Writes the option for a response that is valid for `scope` bits: "FAMILY, SOURCE
    /// PREFIX-LENGTH, and ADDRESS in the response MUST match those in the query" (section 7.2.1).
    pub(super) fn write(&self, scope: u8, options: &mut impl Extend<u8>) {
        let octets = self.prefix.div_ceil(8);
        let address = self.address.get(..usize::from(octets)).unwrap_or_default();
        let [code0, code1] = opt::CLIENT_SUBNET.to_be_bytes();
        options.extend([code0, code1, 0, octets + 4]);
        options.extend([0, self.family, self.prefix, scope]);
        options.extend(address.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_read_and_comes_back_with_its_scope() {
        let data = [0, 1, 24, 0, 192, 0, 2];
        let SentSubnet::In(subnet) = SentSubnet::read(&data) else { panic!() };
        assert_eq!(subnet.network(), Some("192.0.2.0/24".parse().unwrap()));
        let mut options = Vec::new();
        subnet.write(24, &mut options);
        assert_eq!(options[..], [0, 8, 0, 7, 0, 1, 24, 24, 192, 0, 2]);
        let SentSubnet::In(host) = SentSubnet::read(&[0, 1, 32, 0, 10, 0, 0, 7]) else { panic!() };
        assert_eq!(host.network().unwrap().host(), Some([10, 0, 0, 7].into()));
        let SentSubnet::In(v6) = SentSubnet::read(&[0, 2, 20, 0, 0xfd, 0, 0x10]) else { panic!() };
        assert_eq!(v6.network(), Some("fd00:1000::/20".parse().unwrap()));
        // "a SOURCE PREFIX-LENGTH of 0 … MUST NOT" be replaced by another prefix: the client is
        // unknown.
        let SentSubnet::In(unknown) = SentSubnet::read(&[0, 1, 0, 0]) else { panic!() };
        assert_eq!(unknown.network().unwrap().host(), None);
    }

    #[test]
    fn options_that_rfc_7871_forbids_are_malformed() {
        let bad: [&[u8]; 9] = [
            &[],
            &[0, 1, 24],
            &[0, 3, 24, 0, 192, 0, 2],       // an unknown family
            &[1, 1, 24, 0, 192, 0, 2],       // another unknown family
            &[0, 1, 24, 24, 192, 0, 2],      // a scope in a query
            &[0, 1, 24, 0, 192, 0],          // too short
            &[0, 1, 24, 0, 192, 0, 2, 0],    // too long
            &[0, 1, 33, 0, 192, 0, 2, 0, 0], // more bits than the family has
            &[0, 1, 20, 0, 192, 0, 0x1f],    // bits after the prefix
        ];
        for data in bad {
            assert_eq!(SentSubnet::read(data), SentSubnet::Malformed, "{data:?}");
        }
    }
}
