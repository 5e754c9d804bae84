//! Decisions as values: everything that can be sent to a client, borrowed from the snapshot.
//!
//! A decision is plain data. [`encode`](super::encode) writes it and explanations read it, so
//! neither parses the bytes of a response to learn what was decided.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;

use super::{rotation::ListOrder, special::Special};
use crate::{
    catalog::{InstanceAnswer, Pool, Service, SrvRecord, View, Zone},
    model::Name,
};

/// What happens to a request.
///
/// Small, because it is moved for each answer: a few references into the snapshot, and one turn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decision<'a> {
    /// muster answers from its own data.
    Answer(Content<'a>),
    /// muster answers with a CNAME and its target's records (RFC 1034 section 4.3.2, step 3a).
    Chase(Cname<'a>, Chased<'a>),
    /// The cache or an upstream answers.
    Forward(Forward<'a>),
    /// The client gets an error.
    Refuse(Refusal),
    /// The client gets no response.
    Drop(DropReason),
}

/// The records that follow a CNAME to a name of ours.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chased<'a> {
    /// The target's records.
    Content(Content<'a>),
    /// The target's records are unknown, so the whole answer fails.
    Failed,
}

/// A query to forward.
#[derive(Clone, Copy, Debug)]
pub(super) enum Forward<'a> {
    /// The client's query. The fallback is the response if no upstream is queried, because no
    /// suffix covers the name or the client does not want recursion.
    Query(Fallback<'a>),
    /// The query for the target of our CNAME. The target's records follow the CNAME.
    Target(&'a Zone, Cname<'a>),
}

/// What a client gets instead of an upstream's answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fallback<'a> {
    /// Our own answer.
    Answer(Content<'a>),
    /// REFUSED.
    Refuse(Refusal),
}

/// A CNAME of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cname<'a> {
    pub(super) target: &'a Name,
    pub(super) ttl: u32,
}

/// Why a client gets no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DropReason {
    /// The client is in `[access] deny`.
    Denied,
    /// The packet is not a request, or its client sends too many queries.
    Noise,
}

/// Why a client gets an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// FORMERR: the request is malformed.
    Malformed,
    /// NOTIMP: the request is an operation other than QUERY.
    OtherOpcode,
    /// BADVERS (RFC 6891 section 6.1.3).
    Version,
    /// The client must prove its address: it gets a cookie, or has to retry over TCP (RFC 7873
    /// sections 5.2.1 and 5.2.3).
    Cookie {
        /// Whether the response carries a new cookie.
        has_new: bool,
    },
    /// A query for a cookie only: NOERROR, or BADCOOKIE if its server cookie is bad.
    CookieOnly { is_bad: bool },
    /// REFUSED: the client is not in `[access] allow`, or sends too many queries.
    NotAllowed,
    /// REFUSED: a zone transfer, or a class that muster does not serve.
    Unsupported,
    /// REFUSED: the name is external and the client is not in `[access] forward`.
    NotAllowedToForward,
    /// REFUSED: the name is external and no suffix in `[forward]` covers it.
    NoSuffix,
    /// REFUSED: the name is external and `[forward]` is empty.
    NoForwarding,
    /// SERVFAIL: a source that may have the answer has never synced.
    NotSynced,
}

impl Refusal {
    /// The response code, and whether TC is set.
    #[inline]
    pub(super) const fn code(self) -> (ResponseCode, bool) {
        match self {
            Self::Malformed => (ResponseCode::FormErr, false),
            Self::OtherOpcode => (ResponseCode::NotImp, false),
            Self::Version => (ResponseCode::BADVERS, false),
            Self::CookieOnly { is_bad: false } => (ResponseCode::NoError, false),
            Self::Cookie { has_new: true } | Self::CookieOnly { is_bad: true } => {
                (ResponseCode::BADCOOKIE, false)
            }
            Self::Cookie { has_new: false } => (ResponseCode::NoError, true),
            Self::NotAllowed
            | Self::Unsupported
            | Self::NotAllowedToForward
            | Self::NoSuffix
            | Self::NoForwarding => (ResponseCode::Refused, false),
            Self::NotSynced => (ResponseCode::ServFail, false),
        }
    }
}

/// The content of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// Records of one of our zones, or that there are none.
    Zone(&'a Zone, ZoneRecords<'a>),
    /// A special name's records.
    Special(Special),
    /// A text in class CH.
    Chaos(&'a str),
}

/// The records of a zone at a name, for a type.
#[derive(Clone, Copy, Debug)]
pub(super) enum ZoneRecords<'a> {
    /// A or AAAA records of a service, from one of its pools.
    Addresses(&'a Service, &'a Pool, Family, ListOrder),
    /// SRV records of a service or of one of its named ports.
    Services(&'a Service, &'a [SrvRecord], ListOrder),
    /// A or AAAA records of one instance, and their TTL.
    Instance(InstanceAnswer<'a>, Family, u32),
    /// The TXT data of one instance, and its TTL.
    Text(&'a [u8], u32),
    /// PTR records to these names, and their TTL.
    Pointers(&'a [Name], u32),
    /// PTR records to the instances of one service type (DNS-SD).
    Browsed(Browsed<'a>),
    /// A CNAME.
    Cname(Cname<'a>),
    /// The zone's SOA.
    Soa,
    /// The zone's name servers.
    Ns,
    /// The address of the built-in name server.
    BuiltInNs(IpAddr),
    /// The name exists without records of the type.
    NoData,
    /// Neither the name nor any name below it exists.
    NoName,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The instances of one service type (RFC 6763).
#[derive(Clone, Copy, Debug)]
pub(super) struct Browsed<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) services: &'a [Name],
    /// `_port._proto` as labels in wire format.
    pub(super) port: &'a [u8],
    /// The turn of the list: where it starts this time.
    pub(super) turn: usize,
}
