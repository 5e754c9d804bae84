//! Who may ask, and how much.
//!
//! Every request passes here twice: when it comes in ([`AccessControl::admit`]: which client is it, may it ask, does it ask too much?) and
//! when its answer is written ([`AccessControl::limit_response`]: is somebody flooded with equal ones?). A client that is not limited
//! costs one search in a sorted table; nothing here allocates, waits or locks.

mod clients;
mod cookie;
mod rate_limit;

use std::{
    net::IpAddr,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use hickory_proto::op::ResponseCode;

use self::{clients::Clients, cookie::CookieKey, rate_limit::RateLimiter};
pub(super) use self::{
    clients::{AccessLevel, ClientAccess},
    cookie::{SentCookie, ServerCookie},
};
use crate::{
    config::{AccessSettings, OverLimit, ResponseLimit},
    model::Network,
    telemetry::Restriction,
};

/// Holds what `[access]` says.
#[derive(Debug)]
pub struct AccessControl {
    clients: Clients,
    longest_query: usize,
    queries: Option<(RateLimiter, OverLimit)>,
    responses: Option<(RateLimiter, ResponseLimit)>,
    cookies: Option<CookieKey>,
    cookies_required: bool,
    started: Instant,
}

/// Whether a request is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is.
    Admit,
    /// Nothing is sent.
    Drop(Restriction),
    /// REFUSED.
    Refuse(Restriction),
    /// FORMERR, without looking at more than its header.
    TooLong,
}

/// What a query's cookie is worth, and what it is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CookieCheck {
    /// The client has shown that its address is its own.
    Good(ServerCookie),
    /// It has not, but learns how.
    New(ServerCookie),
    /// It sent none, or none are answered.
    None,
    /// The option cannot be read: FORMERR (RFC 7873 section 5.2.2).
    Malformed,
}

impl CookieCheck {
    /// The cookie that the answer has.
    pub(super) fn reply(self) -> Option<ServerCookie> {
        match self {
            Self::Good(cookie) | Self::New(cookie) => Some(cookie),
            Self::None | Self::Malformed => None,
        }
    }
}

/// What happens with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RrlAction {
    /// It is sent.
    Send,
    /// A short one with TC goes out instead.
    Truncate,
    /// It is not sent.
    Drop,
}

impl Default for AccessControl {
    fn default() -> Self {
        Self::new(&AccessSettings::default())
    }
}

impl AccessControl {
    /// Makes a guard with a cookie secret of its own.
    pub fn new(access: &AccessSettings) -> Self {
        let responses = &access.responses;
        let limiter = |rate: Option<u32>| rate.map(RateLimiter::new);
        Self {
            clients: Clients::new(access),
            longest_query: access.longest_query,
            queries: limiter(access.queries_per_second).map(|limiter| (limiter, access.over_limit)),
            responses: limiter(responses.per_second).map(|limiter| (limiter, responses.clone())),
            cookies: access.cookies.enabled.then(|| CookieKey::new(rand::random())),
            cookies_required: access.cookies.required,
            started: Instant::now(),
        }
    }

    /// Decides whether a request of `length` bytes is looked at. *Cost*: a search among the networks; where queries are
    /// limited also a look at the clock and at one cache line.
    #[inline]
    pub(super) fn admit(&self, address: IpAddr, length: usize) -> (Admission, ClientAccess) {
        let client = self.clients.find(address);
        let refused = ClientAccess { level: AccessLevel::Refused, ..client };
        match client.level {
            AccessLevel::Denied => return (Admission::Drop(Restriction::Denied), client),
            AccessLevel::Refused => return (Admission::Refuse(Restriction::NotAllowed), client),
            AccessLevel::OwnNames | AccessLevel::AllNames => {}
        }
        if let Some((limiter, over)) = &self.queries
            && !limiter.take(subnet(address, 32, 64), self.now_micros())
        {
            return match over {
                OverLimit::Refuse => (Admission::Refuse(Restriction::TooManyQueries), refused),
                OverLimit::Drop => (Admission::Drop(Restriction::TooManyQueries), refused),
            };
        }
        if length > self.longest_query { (Admission::TooLong, client) } else { (Admission::Admit, client) }
    }

    /// Who a client is, whose request has been admitted.
    pub(super) fn client(&self, address: IpAddr) -> ClientAccess {
        self.clients.find(address)
    }

    /// Judges the cookie that a query came with. *Cost*: where there is one, the clock and two short hashes.
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

    /// Tells whether queries over UDP need a good cookie from this client.
    pub(super) fn requires_cookie(&self, client: ClientAccess) -> bool {
        self.cookies_required && client.limited
    }

    /// Decides what becomes of a response over UDP to a client without a good cookie. `name` and `qtype` are those of
    /// the question. *Cost*: for clients that are limited the clock, a hash and a look at one cache line.
    #[inline]
    pub(super) fn limit_response(
        &self,
        client: ClientAccess,
        address: IpAddr,
        code: ResponseCode,
        (name, qtype): (&[u8], u16),
    ) -> RrlAction {
        match &self.responses {
            Some((limiter, limit)) if client.limited => {
                let network = subnet(address, limit.v4_prefix, limit.v6_prefix);
                // An attacker makes names up: what there is of them differs, what there is not is all the same.
                let is_free = match code {
                    ResponseCode::NoError => limiter.take((network, name, qtype), self.now_micros()),
                    code => limiter.take((network, u16::from(code)), self.now_micros()),
                };
                if is_free { RrlAction::Send } else { over_limit(limiter, limit.slip, code) }
            }
            _ => RrlAction::Send,
        }
    }

    fn now_micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What becomes of a response beyond the limit.
fn over_limit(limiter: &RateLimiter, slip: u32, code: ResponseCode) -> RrlAction {
    if slip == 0 || !limiter.count_over_limit().is_multiple_of(slip) {
        return RrlAction::Drop;
    }
    match code {
        ResponseCode::NoError | ResponseCode::NXDomain => RrlAction::Truncate,
        // Errors are as short as that anyhow, and with TC they would say something else.
        _ => RrlAction::Send,
    }
}

/// The network of a client: the first bits of its address.
pub(super) fn subnet(address: IpAddr, v4: u8, v6: u8) -> u128 {
    let length = if address.to_canonical().is_ipv4() { v4 + 96 } else { v6 };
    Network::bits_of(address) & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
