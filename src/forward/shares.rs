//! Shares: which client's query gives way when there is no room for another one.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use tokio::time::Instant;

/// How long a fetch may run before it may be shed. Most upstreams have answered by then, and a fetch
/// that gives way at once would only be repeated by its client.
const JOSTLE: Duration = Duration::from_millis(200);

/// Who is charged for a fetch: an IPv4 address or an IPv6 /64, which one host can have whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Requester(u128);

impl Requester {
    /// The one that a query from this address is charged to.
    pub fn of(address: IpAddr) -> Self {
        const HOST_BITS: u32 = 64;
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => Self(address.to_bits() >> HOST_BITS << HOST_BITS),
        }
    }
}

impl Default for Requester {
    /// Nobody: a prefetch.
    fn default() -> Self {
        Self(Ipv6Addr::UNSPECIFIED.to_bits())
    }
}

/// The fetches of one rule by the client that began them. `K` says which fetch it is.
#[derive(Debug)]
pub(super) struct Shares<K> {
    by_requester: HashMap<Requester, BTreeMap<u64, Begun<K>>>,
    len: usize,
}

#[derive(Debug)]
struct Begun<K> {
    at: Instant,
    key: K,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self { by_requester: HashMap::new(), len: 0 }
    }
}

impl<K: Clone> Shares<K> {
    /// The number of fetches.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The number of fetches that a client has begun.
    pub(super) fn of(&self, requester: Requester) -> usize {
        self.by_requester.get(&requester).map_or(0, BTreeMap::len)
    }

    /// Adds a fetch; `order` is higher than those before.
    pub(super) fn add(&mut self, requester: Requester, order: u64, key: K) {
        let begun = Begun { at: Instant::now(), key };
        if self.by_requester.entry(requester).or_default().insert(order, begun).is_none() {
            self.len += 1;
        }
    }

    /// Removes a fetch.
    pub(super) fn remove(&mut self, requester: Requester, order: u64) {
        let Some(begun) = self.by_requester.get_mut(&requester) else { return };
        if begun.remove(&order).is_some() {
            self.len -= 1;
        }
        if begun.is_empty() {
            self.by_requester.remove(&requester);
        }
    }

    /// The oldest fetch of a client, if it has run for long enough to be shed.
    pub(super) fn oldest_of(&self, requester: Requester) -> Option<K> {
        let (_, begun) = self.by_requester.get(&requester)?.first_key_value()?;
        (begun.at.elapsed() >= JOSTLE).then(|| begun.key.clone())
    }

    /// The oldest fetch of the client that has most, if it has run for long enough to be shed.
    pub(super) fn oldest_of_heaviest(&self) -> Option<K> {
        let weight = |begun: &BTreeMap<u64, Begun<K>>| {
            (begun.len(), begun.first_key_value().map(|(order, _)| Reverse(*order)))
        };
        let (requester, _) = self.by_requester.iter().max_by_key(|(_, begun)| weight(begun))?;
        self.oldest_of(*requester)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requester(host: u8) -> Requester {
        Requester::of([10, 0, 0, host].into())
    }

    #[test]
    fn an_ipv6_host_is_its_network_of_64_bits() {
        let of = |text: &str| Requester::of(text.parse().unwrap());
        assert_eq!(of("fd00::1"), of("fd00::ffff:1"));
        assert_ne!(of("fd00::1"), of("fd00:0:0:1::1"));
        assert_eq!(of("10.0.0.1"), of("::ffff:10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_fetch_of_the_heaviest_client_gives_way() {
        let mut shares = Shares::default();
        shares.add(requester(1), 0, "first of one");
        shares.add(requester(2), 1, "first of two");
        shares.add(requester(2), 2, "second of two");
        assert_eq!(shares.oldest_of_heaviest(), None, "all are young");
        tokio::time::advance(JOSTLE).await;
        assert_eq!(shares.oldest_of_heaviest(), Some("first of two"));
        assert_eq!(shares.oldest_of(requester(1)), Some("first of one"));
        shares.remove(requester(2), 1);
        shares.remove(requester(2), 1);
        assert_eq!((shares.len(), shares.of(requester(2))), (2, 1));
        assert_eq!(shares.oldest_of_heaviest(), Some("first of one"), "the oldest of equals");
        shares.remove(requester(1), 0);
        shares.remove(requester(2), 2);
        assert_eq!((shares.len(), shares.by_requester.len()), (0, 0));
    }
}
