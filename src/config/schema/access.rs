//! `[access]`: who may ask, and how much.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::Network;

/// `[access]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessSettings {
    /// Who may ask for our own names; all others are REFUSED.
    pub allow: Vec<Network>,
    /// Of those, for whom other names are forwarded.
    pub forward: Vec<Network>,
    /// Who gets nothing, not even an error.
    pub deny: Vec<Network>,
    /// Longest query that is answered, in bytes.
    pub longest_query: usize,
    /// Queries of one client that are answered, a second; `None`: any number.
    pub queries_per_second: Option<u32>,
    /// What becomes of those beyond.
    pub over_limit: OverLimit,
    /// Response rate limiting.
    pub responses: ResponseLimit,
    /// DNS cookies (RFC 7873).
    pub cookies: Cookies,
}

impl AccessSettings {
    /// Networks that are nobody's on the Internet: loopback, private (RFC 1918), shared (RFC 6598), link-local (RFC 3927) and
    /// unique local (RFC 4193) addresses.
    pub const PRIVATE: [Network; 9] = [
        Network::v4(Ipv4Addr::new(127, 0, 0, 0), 8),
        Network::v4(Ipv4Addr::new(10, 0, 0, 0), 8),
        Network::v4(Ipv4Addr::new(172, 16, 0, 0), 12),
        Network::v4(Ipv4Addr::new(192, 168, 0, 0), 16),
        Network::v4(Ipv4Addr::new(100, 64, 0, 0), 10),
        Network::v4(Ipv4Addr::new(169, 254, 0, 0), 16),
        Network::v6(Ipv6Addr::LOCALHOST, 128),
        Network::v6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
        Network::v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    ];
    /// Every address.
    pub const ANY: [Network; 2] =
        [Network::v4(Ipv4Addr::UNSPECIFIED, 0), Network::v6(Ipv6Addr::UNSPECIFIED, 0)];
    /// Longest query where nothing is said: what a client sends unfragmented (DNS flag day 2020).
    pub const DEFAULT_LONGEST_QUERY: usize = 1232;
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            allow: Self::PRIVATE.into(),
            forward: Self::PRIVATE.into(),
            deny: Vec::new(),
            longest_query: Self::DEFAULT_LONGEST_QUERY,
            queries_per_second: None,
            over_limit: OverLimit::default(),
            responses: ResponseLimit::default(),
            cookies: Cookies::default(),
        }
    }
}

/// What becomes of queries beyond `queries_per_second`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverLimit {
    /// REFUSED, so that the client knows.
    #[default]
    Refuse,
    /// Silence.
    Drop,
}

/// `[access.responses]`: response rate limiting, against being used to flood others under their addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseLimit {
    /// Equal responses to one client network over UDP, a second; `None`: any number.
    pub per_second: Option<u32>,
    /// Of those beyond, each how many-th goes out all the same, as TC; 0: none.
    pub slip: u32,
    /// How many bits of a v4 address are a client network.
    pub v4_prefix: u8,
    /// How many bits of a v6 address are a client network.
    pub v6_prefix: u8,
    /// For whom nothing is limited.
    pub exempt: Vec<Network>,
}

impl Default for ResponseLimit {
    fn default() -> Self {
        Self {
            per_second: Some(100),
            slip: 2,
            v4_prefix: 24,
            v6_prefix: 56,
            exempt: AccessSettings::PRIVATE.into(),
        }
    }
}

/// `[access.cookies]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookies {
    /// Whether a client that sends a cookie gets one.
    pub enabled: bool,
    /// Whether a query over UDP without a good one gets BADCOOKIE, if the client knows cookies, else TC.
    pub required: bool,
}

impl Default for Cookies {
    fn default() -> Self {
        Self { enabled: true, required: false }
    }
}
