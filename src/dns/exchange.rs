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

/// Length of the COOKIE option in a response, in bytes.
const COOKIE_OPTION: usize = 28;

/// muster's own options in a response's OPT record, as on the wire.
pub(super) type ReplyOptions = ArrayVec<u8, { COOKIE_OPTION + SUBNET_OPTION }>;

/// How a request arrived.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The transport, which limits the response's length.
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
    /// What the client may query.
    pub(super) access: ClientAccess,
    pub(super) view: &'a View<'a>,
    /// The result of looking up the request's name in the view.
    pub(super) lookup: Lookup<'a>,
}

/// The cookie and client subnet of a query, and the options of its response.
#[derive(Clone, Debug)]
pub(super) struct ClientOptions {
    pub(super) cookie: CookieCheck,
    /// The network that a trusted forwarder sent for its client, if any.
    pub(super) on_behalf_of: Option<Network>,
    pub(super) reply: ReplyOptions,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { cookie: CookieCheck::None, on_behalf_of: None, reply: ReplyOptions::new() }
    }
}

impl ClientOptions {
    /// Reads the options of the exchange's query. `None` if one of them is malformed: FORMERR.
    ///
    /// *Cost*: none without these options. With a cookie, a clock read and two short hashes.
    #[inline]
    pub(super) fn read(exchange: &Exchange<'_>, settings: &Settings) -> Option<Self> {
        match exchange.request {
            Request::Query(Query { edns: Some(edns), .. }) | Request::CookieOnly(_, edns)
                if edns.has_own_options() =>
            {
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
            // Answers of upstreams do not depend on the client here, and carry a scope of their
            // own.
            if !matches!(lookup, Lookup::External) {
                let depends = matches!(lookup, Lookup::Service(service, _) if service.depends_on_client());
                subnet.write(if depends { subnet.prefix() } else { 0 }, &mut options.reply);
            }
        }
        Some(options)
    }

    /// Whether the response carries a cookie that the client did not have.
    pub(super) fn has_new_cookie(&self) -> bool {
        matches!(self.cookie, CookieCheck::New(_))
    }

    /// Whether the client has proved its address, by TCP or by a good cookie.
    #[inline]
    pub(super) fn is_proven(&self, context: Context) -> bool {
        context.transport == Transport::Tcp || matches!(self.cookie, CookieCheck::Good(_))
    }
}

/// Maximum length of a response, in bytes.
#[inline]
pub(super) fn size_limit(transport: Transport, edns: Option<&Edns<'_>>) -> usize {
    match (transport, edns) {
        (Transport::Tcp, _) => TCP_LIMIT,
        (Transport::Udp, Some(edns)) => usize::from(edns.opt.udp_size.min(UDP_LIMIT)),
        (Transport::Udp, None) => usize::from(PLAIN_UDP_LIMIT),
    }
}

/// Whether a query may be forwarded. Zone transfers, transaction keys and signatures may not,
/// because they are between a client and its server (RFC 2930, RFC 8945). Neither may queries of
/// other classes and EDNS versions.
pub(super) fn is_forwardable(query: &Query<'_>) -> bool {
    let Query { question, edns, .. } = query;
    DNSClass::from(question.class) == DNSClass::IN
        && !matches!(question.qtype, 249..=252)
        && question.qtype != u16::from(RecordType::OPT)
        && edns.as_ref().is_none_or(|edns| edns.opt.version == 0)
}

/// The query in the form that the forwarder takes.
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
        own_options,
        limit: size_limit(transport, edns.as_ref()),
    }
}
