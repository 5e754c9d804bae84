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
    clients::{AccessLevel, Client},
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
    Yes,
    /// Nothing is sent.
    Silence(Restriction),
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
        let rate_limit = |rate: Option<u32>| rate.map(RateLimiter::new);
        Self {
            clients: Clients::new(access),
            longest_query: access.longest_query,
            queries: rate_limit(access.queries_per_second).map(|rate_limit| (rate_limit, access.over_limit)),
            responses: rate_limit(responses.per_second).map(|rate_limit| (rate_limit, responses.clone())),
            cookies: access.cookies.enabled.then(|| CookieKey::new(rand::random())),
            cookies_required: access.cookies.required,
            started: Instant::now(),
        }
    }

    /// Decides whether a request of `length` bytes is looked at. *Cost*: a search among the networks; where queries are
    /// limited also a look at the clock and at one cache line.
    #[inline]
    pub(super) fn admit(&self, address: IpAddr, length: usize) -> (Admission, Client) {
        let client = self.clients.find(address);
        let refused = Client { level: AccessLevel::Stranger, ..client };
        match client.level {
            AccessLevel::Denied => return (Admission::Silence(Restriction::Denied), client),
            AccessLevel::Stranger => return (Admission::Refuse(Restriction::NotAllowed), client),
            AccessLevel::OwnNames | AccessLevel::AllNames => {}
        }
        if let Some((rate_limit, over)) = &self.queries
            && !rate_limit.take(subnet(address, 32, 64), self.micros())
        {
            return match over {
                OverLimit::Refuse => (Admission::Refuse(Restriction::TooManyQueries), refused),
                OverLimit::Drop => (Admission::Silence(Restriction::TooManyQueries), refused),
            };
        }
        if length > self.longest_query { (Admission::TooLong, client) } else { (Admission::Yes, client) }
    }

    /// Who a client is, whose request has been admitted.
    pub(super) fn client(&self, address: IpAddr) -> Client {
        self.clients.find(address)
    }

    /// Judges the cookie that a query came with. *Cost*: where there is one, the clock and two short hashes.
    pub(super) fn check_cookie(&self, sent: SentCookie, address: IpAddr) -> CookieCheck {
        match (&self.cookies, sent) {
            (None, _) | (_, SentCookie::None) => CookieCheck::None,
            (Some(_), SentCookie::Malformed) => CookieCheck::Malformed,
            (Some(key), SentCookie::Client(client, server)) => {
                // RFC 9018 section 4.3: seconds since 1970 modulo 2^32
                let now =
                    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as u32);
                let (good, reply) = key.judge(client, server, address, now);
                if good { CookieCheck::Good(reply) } else { CookieCheck::New(reply) }
            }
        }
    }

    /// Tells whether queries over UDP need a good cookie from this client.
    pub(super) fn wants_cookie(&self, client: Client) -> bool {
        self.cookies_required && client.limited
    }

    /// Decides what becomes of a response over UDP to a client without a good cookie. `name` and `qtype` are those of
    /// the question. *Cost*: for clients that are limited the clock, a hash and a look at one cache line.
    #[inline]
    pub(super) fn limit_response(
        &self,
        client: Client,
        address: IpAddr,
        code: ResponseCode,
        (name, qtype): (&[u8], u16),
    ) -> RrlAction {
        match &self.responses {
            Some((rate_limit, limit)) if client.limited => {
                let network = subnet(address, limit.v4_prefix, limit.v6_prefix);
                // An attacker makes names up: what there is of them differs, what there is not is all the same.
                let is_free = match code {
                    ResponseCode::NoError => rate_limit.take((network, name, qtype), self.micros()),
                    code => rate_limit.take((network, u16::from(code)), self.micros()),
                };
                if is_free { RrlAction::Send } else { over_limit(rate_limit, limit.slip, code) }
            }
            _ => RrlAction::Send,
        }
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What becomes of a response beyond the limit.
fn over_limit(rate_limit: &RateLimiter, slip: u32, code: ResponseCode) -> RrlAction {
    if slip == 0 || !rate_limit.count_over().is_multiple_of(slip) {
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
