//! Which client may do what: all networks of `[access]` in one sorted table of address ranges.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use crate::{config::AccessSettings, model::Network};

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct ClientAccess {
    pub(in crate::dns) level: AccessLevel,
    /// Whether response rate limiting applies.
    pub(in crate::dns) limited: bool,
}

impl ClientAccess {
    /// The same access without response rate limiting.
    pub(in crate::dns) const fn without_limits(self) -> Self {
        Self { limited: false, ..self }
    }
}

/// Which queries a client gets answers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum AccessLevel {
    /// None, and it gets no response at all.
    Denied,
    /// None: REFUSED.
    Refused,
    /// Queries for names in our namespaces, and special names.
    OwnNames,
    /// All queries; external names are forwarded if forwarding is configured.
    AllNames,
}

/// The access of every address.
///
/// IPv4 addresses have a table of their own, since most clients have one and comparing 32 bits takes
/// a fraction of the instructions of comparing 128.
#[derive(Debug)]
pub(super) struct AccessTable {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// The access in each range of addresses.
#[derive(Debug)]
struct Ranges<T> {
    /// Where each range starts, ascending. The first is 0; each ends where the next starts.
    starts: Box<[T]>,
    /// The access in each range: as long as `starts`.
    access: Box<[ClientAccess]>,
}

impl<T: Ord + Copy> Ranges<T> {
    /// Makes the table from each range's start and access.
    fn new(ranges: impl IntoIterator<Item = (T, ClientAccess)>) -> Self {
        let (starts, access): (Vec<_>, Vec<_>) = ranges.into_iter().unzip();
        Self { starts: starts.into(), access: access.into() }
    }

    #[inline]
    fn find(&self, bits: T) -> ClientAccess {
        let next = self.starts.partition_point(|start| *start <= bits);
        debug_assert!(next > 0 && next <= self.access.len(), "ranges cover all addresses from 0 on");
        self.access.get(next.wrapping_sub(1)).copied().unwrap_or(access([false; 4]))
    }
}

impl AccessTable {
    pub(super) fn new(access: &AccessSettings) -> Self {
        let lists = [&access.deny, &access.allow, &access.forward, &access.responses.exempt];
        // By how much the number of open networks of each list changes at an address.
        let mut changes = BTreeMap::from([(0, [0_i32; 4])]);
        for (which, list) in lists.into_iter().enumerate() {
            for (first, last) in list.iter().flat_map(Network::ranges) {
                if let Some(count) = changes.entry(first).or_default().get_mut(which) {
                    *count += 1;
                }
                if let Some(count) =
                    last.checked_add(1).and_then(|end| changes.entry(end).or_default().get_mut(which))
                {
                    *count -= 1;
                }
            }
        }
        let mut counts = [0; 4];
        let mut ranges: Vec<(u128, ClientAccess)> = Vec::with_capacity(changes.len());
        for (start, change) in changes {
            for (count, change) in counts.iter_mut().zip(change) {
                *count += change;
            }
            let access = self::access(counts.map(|count| count > 0));
            if ranges.last().is_none_or(|(_, before)| *before != access) {
                ranges.push((start, access));
            }
        }
        let v6 = Ranges::new(ranges);
        Self { v4: v4_ranges(&v6), v6 }
    }

    /// The access of an address.
    ///
    /// *Cost*: a binary search; a handful of comparisons with the default networks.
    #[inline]
    pub(super) fn find(&self, address: IpAddr) -> ClientAccess {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        }
    }
}

/// The part of the table that IPv4 addresses are in.
fn v4_ranges(all: &Ranges<u128>) -> Ranges<u32> {
    let bits = |address: Ipv4Addr| Network::bits_of(IpAddr::V4(address));
    let (first, last) = (bits(Ipv4Addr::UNSPECIFIED), bits(Ipv4Addr::BROADCAST));
    let inside = all.starts.iter().zip(&all.access).filter(|(start, _)| (first + 1..=last).contains(*start));
    // The low 32 bits of an IPv4-mapped address are the IPv4 address.
    let inside = inside.map(|(start, access)| (*start as u32, *access));
    Ranges::new(std::iter::once((0, all.find(first))).chain(inside))
}

fn access([denied, allowed, forwarded, exempt]: [bool; 4]) -> ClientAccess {
    let level = match (denied, allowed, forwarded) {
        (true, ..) => AccessLevel::Denied,
        (false, false, _) => AccessLevel::Refused,
        (false, true, false) => AccessLevel::OwnNames,
        (false, true, true) => AccessLevel::AllNames,
    };
    ClientAccess { level, limited: !exempt }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[rstest]
    #[case("127.0.0.1", AccessLevel::AllNames)]
    #[case("::1", AccessLevel::AllNames)]
    #[case("10.200.3.4", AccessLevel::AllNames)]
    #[case("172.31.255.255", AccessLevel::AllNames)]
    #[case("172.32.0.0", AccessLevel::Refused)]
    #[case("100.64.0.1", AccessLevel::AllNames)]
    #[case("100.128.0.0", AccessLevel::Refused)]
    #[case("192.168.0.1", AccessLevel::AllNames)]
    #[case("169.254.1.1", AccessLevel::AllNames)]
    #[case("fd12:3456::1", AccessLevel::AllNames)]
    #[case("fe80::1", AccessLevel::AllNames)]
    #[case("::ffff:10.0.0.1", AccessLevel::AllNames)]
    #[case("::ffff:9.9.9.9", AccessLevel::Refused)]
    #[case("9.9.9.9", AccessLevel::Refused)]
    #[case("0.0.0.0", AccessLevel::Refused)]
    #[case("255.255.255.255", AccessLevel::Refused)]
    #[case("2001:db8::1", AccessLevel::Refused)]
    #[case("::", AccessLevel::Refused)]
    #[case("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AccessLevel::Refused)]
    fn private_clients_may_query_everything_by_default(#[case] address: &str, #[case] level: AccessLevel) {
        let access = AccessTable::new(&AccessSettings::default()).find(address.parse().unwrap());
        assert_eq!(access.level, level);
        assert_eq!(access.limited, level == AccessLevel::Refused);
    }

    #[test]
    fn forwarding_needs_both_allow_and_forward() {
        let access = AccessSettings { allow: AccessSettings::ANY.into(), ..AccessSettings::default() };
        let table = AccessTable::new(&access);
        assert_eq!(table.find([9, 9, 9, 9].into()).level, AccessLevel::OwnNames);
        assert_eq!(table.find([10, 0, 0, 1].into()).level, AccessLevel::AllNames);

        let access = AccessSettings { allow: networks(&["10.1.0.0/16"]), ..AccessSettings::default() };
        let table = AccessTable::new(&access);
        assert_eq!(table.find([10, 1, 0, 1].into()).level, AccessLevel::AllNames);
        assert_eq!(table.find([10, 2, 0, 1].into()).level, AccessLevel::Refused);
        assert_eq!(table.find([127, 0, 0, 1].into()).level, AccessLevel::Refused);
    }

    #[test]
    fn deny_overrides_allow() {
        let access =
            AccessSettings { deny: networks(&["10.2.0.0/16", "10.2.3.4"]), ..AccessSettings::default() };
        let table = AccessTable::new(&access);
        for (address, level) in [
            ([10, 2, 3, 4], AccessLevel::Denied),
            ([10, 2, 255, 255], AccessLevel::Denied),
            ([10, 3, 0, 0], AccessLevel::AllNames),
            ([10, 1, 255, 255], AccessLevel::AllNames),
        ] {
            assert_eq!(table.find(address.into()).level, level, "{address:?}");
        }
    }

    proptest! {
        /// The table agrees with a search of the lists.
        #[test]
        fn the_table_agrees_with_the_lists(
            lists in prop::array::uniform4(prop::collection::vec((any::<[u8; 4]>(), 0_u8..=32, any::<bool>()), 0..6)),
            near in 0_usize..24,
            offset in -2_i64..=2,
        ) {
            let [deny, allow, forward, exempt] = lists.map(|list| -> Vec<Network> {
                list.into_iter()
                    .filter_map(|(v4, length, is_v6)| {
                        let v6 = u128::from(u32::from_be_bytes(v4)) << 96;
                        let address = if is_v6 { IpAddr::V6(v6.into()) } else { IpAddr::V4(v4.into()) };
                        Network::around(address, length)
                    })
                    .collect()
            });
            let mut access = AccessSettings { allow, forward, deny, ..AccessSettings::default() };
            access.responses.exempt = exempt;
            let all: Vec<_> = [&access.deny, &access.allow, &access.forward, &access.responses.exempt]
                .into_iter().flatten().flat_map(Network::ranges).collect();
            prop_assume!(!all.is_empty());
            let (first, last) = all[near % all.len()];
            let edge = if near % 2 == 0 { first } else { last };
            let address = IpAddr::V6(edge.wrapping_add_signed(offset.into()).into());
            let has = |list: &[Network]| list.iter().any(|network| network.contains(address));
            let expected = super::access([has(&access.deny), has(&access.allow), has(&access.forward), has(&access.responses.exempt)]);
            prop_assert_eq!(AccessTable::new(&access).find(address), expected);
        }
    }
}
