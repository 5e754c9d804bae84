//! Access control and rate limits.
//!
//! ```text
//!  request ─▶ admit ──────▶ … ─▶ check_cookie ─▶ … ─▶ limit_response ─▶ response
//!             (ACL, query        (address proof)       (RRL)
//!             rate, length)
//! ```
//!
//! Every request passes here when it arrives ([`AccessControl::admit`]), and again when its
//! response is written ([`AccessControl::limit_response`]). Without a limit on queries, a client
//! that is exempt from RRL costs one binary search. Nothing here allocates, waits or locks.
//!
//! [`clients`] is the ACL, [`rate_limit`] counts queries and responses, and [`cookie`] makes and
//! verifies DNS cookies. Imports `config`, `model` and `telemetry`, and nothing else of `dns`.

mod clients;
mod cookie;
mod rate_limit;

use std::{
    net::IpAddr,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use hickory_proto::op::ResponseCode;

use self::{clients::AccessTable, cookie::CookieKey, rate_limit::RateLimiter};
pub(super) use self::{
    clients::{AccessLevel, ClientAccess},
    cookie::{SentCookie, ServerCookie},
};
use crate::{
    config::{AccessSettings, OverLimit, ResponseLimit},
    model::Network,
    telemetry::{Restriction, Transport},
};

/// Decides which clients may query and how much, as `[access]` configures.
#[derive(Debug)]
pub struct AccessControl {
    table: AccessTable,
    longest_query: usize,
    queries: Option<QueryLimit>,
    responses: Option<(RateLimiter, ResponseLimit)>,
    cookies: Option<CookieKey>,
    cookies_required: bool,
    started: Instant,
}

/// The limit on each client's queries.
#[derive(Debug)]
struct QueryLimit {
    /// Counts datagrams, whose sender can be forged.
    unproven: RateLimiter,
    /// Counts queries from clients that have proved their address, over TCP or with a cookie. Forged
    /// datagrams take nothing from it.
    proven: RateLimiter,
    over_limit: OverLimit,
}

/// What happens to a request on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is read.
    Admit,
    /// It gets no response.
    Drop(Restriction),
    /// It gets REFUSED.
    Refuse(Restriction),
    /// It gets FORMERR; only its header is read.
    TooLong,
}

/// The result of checking a query's COOKIE option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CookieCheck {
    /// The cookie proves the client's address. The response carries this cookie.
    Good(ServerCookie),
    /// The cookie proves nothing. The response carries this new one.
    New(ServerCookie),
    /// The query has no cookie, or cookies are disabled.
    None,
    /// The option is malformed: FORMERR (RFC 7873 section 5.2.2).
    Malformed,
}

impl CookieCheck {
    /// The cookie for the response.
    pub(super) fn reply(self) -> Option<ServerCookie> {
        match self {
            Self::Good(cookie) | Self::New(cookie) => Some(cookie),
            Self::None | Self::Malformed => None,
        }
    }
}

/// The verdict of response rate limiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RrlAction {
    /// Sends it.
    Send,
    /// Sends an empty response with TC instead.
    Truncate,
    /// Sends nothing.
    Drop,
}

impl Default for AccessControl {
    fn default() -> Self {
        Self::new(&AccessSettings::default())
    }
}

impl AccessControl {
    /// Makes access control with a random cookie secret.
    pub fn new(access: &AccessSettings) -> Self {
        let responses = &access.responses;
        Self {
            table: AccessTable::new(access),
            longest_query: access.longest_query,
            queries: access.queries_per_second.map(|rate| QueryLimit {
                unproven: RateLimiter::new(rate),
                proven: RateLimiter::new(rate),
                over_limit: access.over_limit,
            }),
            responses: responses.per_second.map(|rate| (RateLimiter::new(rate), responses.clone())),
            cookies: access.cookies.enabled.then(|| CookieKey::new(rand::random())),
            cookies_required: access.cookies.required,
            started: Instant::now(),
        }
    }

    /// Decides whether a request of `length` bytes is read, and returns its client's access.
    ///
    /// *Cost*: a binary search over the networks. If queries are rate-limited, also a clock read
    /// and one cache line.
    #[inline]
    pub(super) fn admit(
        &self,
        address: IpAddr,
        transport: Transport,
        length: usize,
    ) -> (Admission, ClientAccess) {
        let access = self.table.find(address);
        let refused = ClientAccess { level: AccessLevel::Refused, ..access };
        if length > self.longest_query && access.level != AccessLevel::Denied {
            return (Admission::TooLong, access);
        }
        match access.level {
            AccessLevel::Denied => return (Admission::Drop(Restriction::Denied), access),
            AccessLevel::Refused => return (Admission::Refuse(Restriction::NotAllowed), access),
            AccessLevel::OwnNames | AccessLevel::AllNames => {}
        }
        if let Some(QueryLimit { unproven, proven, over_limit }) = &self.queries {
            let limiter = if transport == Transport::Tcp { proven } else { unproven };
            if !limiter.take(subnet(address, 32, 64), self.now_micros()) {
                return match over_limit {
                    OverLimit::Refuse => (Admission::Refuse(Restriction::TooManyQueries), refused),
                    OverLimit::Drop => (Admission::Drop(Restriction::TooManyQueries), refused),
                };
            }
        }
        (Admission::Admit, access)
    }

    /// Whether a datagram over the limit is admitted all the same: its cookie is good, and its client
    /// is within the limit that counts only those that have proved their address.
    pub(super) fn readmit(&self, sent: SentCookie, address: IpAddr) -> bool {
        let Some(QueryLimit { proven, .. }) = &self.queries else { return false };
        matches!(self.check_cookie(sent, address), CookieCheck::Good(_))
            && proven.take(subnet(address, 32, 64), self.now_micros())
    }

    /// Longest query that is answered, in bytes.
    pub(super) fn longest_query(&self) -> usize {
        self.longest_query
    }

    /// The access of a client whose request was admitted.
    pub(super) fn client(&self, address: IpAddr) -> ClientAccess {
        self.table.find(address)
    }

    /// Checks the cookie of a query.
    ///
    /// *Cost*: with a cookie, a clock read and two short hashes.
    pub(super) fn check_cookie(&self, sent: SentCookie, address: IpAddr) -> CookieCheck {
        match (&self.cookies, sent) {
            (None, _) | (_, SentCookie::None) => CookieCheck::None,
            (Some(_), SentCookie::Malformed) => CookieCheck::Malformed,
            (Some(key), SentCookie::Halves(client, server)) => {
                // RFC 9018 section 4.3: seconds since 1970 modulo 2^32
                let now =
                    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as u32);
                let (good, reply) = key.verify(client, server, address, now);
                if good { CookieCheck::Good(reply) } else { CookieCheck::New(reply) }
            }
        }
    }

    /// Whether this client must send a good cookie with queries over UDP.
    pub(super) fn requires_cookie(&self, access: ClientAccess) -> bool {
        self.cookies_required && access.limited
    }

    /// Applies response rate limiting (RRL) to a UDP response for a client that has proved its
    /// address with neither a cookie nor TCP. `name` and `qtype` are the question's.
    ///
    /// *Cost*: for limited clients, a clock read, a hash and one cache line.
    #[inline]
    pub(super) fn limit_response(
        &self,
        access: ClientAccess,
        address: IpAddr,
        code: ResponseCode,
        (name, qtype): (&[u8], u16),
    ) -> RrlAction {
        match &self.responses {
            Some((limiter, limit)) if access.limited => {
                let network = subnet(address, limit.v4_prefix, limit.v6_prefix);
                // Positive answers count per name and type. Errors count together: an attacker can
                // invent any number of names that do not exist.
                let is_within = match code {
                    ResponseCode::NoError => limiter.take((network, name, qtype), self.now_micros()),
                    code => limiter.take((network, u16::from(code)), self.now_micros()),
                };
                if is_within { RrlAction::Send } else { over_limit(limiter, limit.slip, code) }
            }
            _ => RrlAction::Send,
        }
    }

    fn now_micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What happens to a response over the limit.
fn over_limit(limiter: &RateLimiter, slip: u32, code: ResponseCode) -> RrlAction {
    if slip == 0 || !limiter.count_over_limit().is_multiple_of(slip) {
        return RrlAction::Drop;
    }
    match code {
        ResponseCode::NoError | ResponseCode::NXDomain => RrlAction::Truncate,
        // Errors are as short as a truncated response, and TC would change their meaning.
        _ => RrlAction::Send,
    }
}

/// The network that counts as one client: the first bits of its address.
pub(super) fn subnet(address: IpAddr, v4: u8, v6: u8) -> u128 {
    let length = if address.to_canonical().is_ipv4() { v4 + 96 } else { v6 };
    Network::bits_of(address) & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
