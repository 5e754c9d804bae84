//! Exchanges: one request with everything that its answer depends on.

use std::net::IpAddr;

use arrayvec::ArrayVec;
use hickory_proto::rr::{DNSClass, RecordType};

use super::{
    access::{ClientAccess, CookieCheck},
    request::{Edns, Query, Request},
    settings::Settings,
    subnet::{SUBNET_OPTION, SentSubnet},
};
use crate::{
    catalog::{Lookup, View},
    forward::ClientQuery,
    model::Network,
    telemetry::Transport,
    wire::{PLAIN_UDP_LIMIT, TCP_LIMIT, UDP_LIMIT, opt},
};

/// Length of the COOKIE option in answers, in bytes.
const COOKIE_OPTION: usize = 28;

/// The options of our own in an answer's OPT record, as on the wire.
pub(super) type ReplyOptions = ArrayVec<u8, { COOKIE_OPTION + SUBNET_OPTION }>;

/// How a request arrived.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The transport: it decides how long the answer may be.
    pub transport: Transport,
    /// The address that the request was sent to, if known.
    pub local_addr: Option<IpAddr>,
    /// The address that it came from.
    pub client: IpAddr,
}

/// One request: parsed once, its name looked up once, in one view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) context: Context,
    /// What the client may ask.
    pub(super) access: ClientAccess,
    pub(super) view: &'a View<'a>,
    /// What the view has at the request's name.
    pub(super) lookup: Lookup<'a>,
}

/// What a query's options say about its options, and what the answer's options say back.
#[derive(Clone, Debug)]
pub(super) struct ClientOptions {
    pub(super) cookie: CookieCheck,
    /// The client's network, if a trusted forwarder says so.
    pub(super) on_behalf_of: Option<Network>,
    pub(super) reply: ReplyOptions,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { cookie: CookieCheck::None, on_behalf_of: None, reply: ReplyOptions::new() }
    }
}

impl ClientOptions {
    /// Reads the options of the exchange's query. `None` if one is malformed: FORMERR.
    ///
    /// *Cost*: none without options of our own; with a cookie the clock and two short hashes.
    #[inline]
    pub(super) fn read(exchange: &Exchange<'_>, settings: &Settings) -> Option<Self> {
        match exchange.request {
            Request::Query(Query { edns: Some(edns), .. }) if edns.has_own_options() => {
                Self::read_options(edns, exchange, settings)
            }
            _ => Some(Self::default()),
        }
    }

    #[cold]
    fn read_options(edns: &Edns<'_>, exchange: &Exchange<'_>, settings: &Settings) -> Option<Self> {
        let Exchange { context, lookup, .. } = exchange;
        let cookie = settings.access.check_cookie(edns.cookie, context.client);
        if cookie == CookieCheck::Malformed {
            return None;
        }
        let mut options = Self { cookie, ..Self::default() };
        if let Some(cookie) = cookie.reply() {
            let [code0, code1] = opt::COOKIE.to_be_bytes();
            options.reply.extend([code0, code1, 0, cookie.len() as u8]);
            options.reply.extend(cookie);
        }
        if edns.subnet != SentSubnet::None && settings.trusts(context.client) {
            let SentSubnet::In(subnet) = edns.subnet else { return None };
            options.on_behalf_of = subnet.network();
            // An upstream's answer depends on no client here, and carries its own scope.
            if !matches!(lookup, Lookup::External) {
                let depends = matches!(lookup, Lookup::Service(service, _) if service.depends_on_client());
                subnet.write(if depends { subnet.prefix() } else { 0 }, &mut options.reply);
            }
        }
        Some(options)
    }

    /// Whether the answer carries a cookie that the client did not have.
    pub(super) fn has_new_cookie(&self) -> bool {
        matches!(self.cookie, CookieCheck::New(_))
    }

    /// Whether the client has shown that its address is its own.
    #[inline]
    pub(super) fn is_proven(&self, context: Context) -> bool {
        context.transport == Transport::Tcp || matches!(self.cookie, CookieCheck::Good(_))
    }
}

/// Longest answer to a query, in bytes.
#[inline]
pub(super) fn size_limit(transport: Transport, edns: Option<&Edns<'_>>) -> usize {
    match (transport, edns) {
        (Transport::Tcp, _) => TCP_LIMIT,
        (Transport::Udp, Some(edns)) => usize::from(edns.opt.udp_size.min(UDP_LIMIT)),
        (Transport::Udp, None) => usize::from(PLAIN_UDP_LIMIT),
    }
}

/// Whether a query may be forwarded. Not what is between a client and its server only: transfers,
/// transaction keys and signatures (RFC 2930, RFC 8945), other classes and EDNS versions.
pub(super) fn is_forwardable(query: &Query<'_>) -> bool {
    let Query { question, edns, .. } = query;
    DNSClass::from(question.class) == DNSClass::IN
        && !matches!(question.qtype, 249..=252)
        && question.qtype != u16::from(RecordType::OPT)
        && edns.as_ref().is_none_or(|edns| edns.opt.version == 0)
}

/// The query as the forwarder takes it.
pub(super) fn client_query<'a>(
    query: &Query<'a>,
    transport: Transport,
    own_options: &'a [u8],
) -> ClientQuery<'a> {
    let Query { header, question, edns } = query;
    ClientQuery {
        id: header.id,
        question: question.wire,
        name: question.name,
        qtype: question.qtype,
        recursion_desired: header.recursion_desired,
        authentic_data: header.authentic_data,
        checking_disabled: header.checking_disabled,
        edns: edns.as_ref().map(|edns| edns.opt.dnssec_ok),
        has_options: edns.as_ref().is_some_and(|edns| edns.has_forwardable_options),
        own_options,
        limit: size_limit(transport, edns.as_ref()),
    }
}
