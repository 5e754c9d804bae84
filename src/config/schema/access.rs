//! `[access]`: which clients are answered, and how often.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::Network;

/// `[access]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessSettings {
    /// Clients that may query; all others are REFUSED.
    pub allow: Vec<Network>,
    /// Of those, the clients whose queries for external names are forwarded.
    pub forward: Vec<Network>,
    /// Clients whose queries are dropped without a reply.
    pub deny: Vec<Network>,
    /// Longest query that is answered, in bytes.
    pub longest_query: usize,
    /// Queries per second that one client may send; `None` for no limit.
    pub queries_per_second: Option<u32>,
    /// What happens to queries over that limit.
    pub over_limit: OverLimit,
    /// Response rate limiting.
    pub responses: ResponseLimit,
    /// DNS cookies (RFC 7873).
    pub cookies: Cookies,
}

impl AccessSettings {
    /// Networks that are not on the Internet: loopback, private (RFC 1918), shared (RFC 6598),
    /// link-local (RFC 3927) and unique local (RFC 4193) addresses.
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
    /// Default `longest_query`: clients send no more in one packet (DNS flag day 2020).
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

/// What happens to queries over `queries_per_second`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverLimit {
    /// They are REFUSED, so that the client knows.
    #[default]
    Refuse,
    /// They are dropped.
    Drop,
}

/// `[access.responses]`: response rate limiting (RRL), against floods with forged source addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseLimit {
    /// Equal responses per second to one client network over UDP; `None` for no limit.
    pub per_second: Option<u32>,
    /// Every `slip`th response over the limit is sent anyway, with TC; 0 for none.
    pub slip: u32,
    /// Prefix length of a client network, v4.
    pub v4_prefix: u8,
    /// Prefix length of a client network, v6.
    pub v6_prefix: u8,
    /// Clients without a limit.
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
    /// Whether clients that send a cookie get one.
    pub enabled: bool,
    /// Whether UDP queries need a good cookie. Without one, clients that know cookies get BADCOOKIE
    /// and others TC.
    pub required: bool,
}

impl Default for Cookies {
    fn default() -> Self {
        Self { enabled: true, required: false }
    }
}
