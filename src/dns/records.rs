//! Decisions as values: everything a client can be answered with, borrowed from the snapshot.
//!
//! A decision is plain data. [`encode`](super::encode) writes it, and explanations read it, so neither
//! has to look at the bytes of an answer to learn what was decided.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;

use super::{rotation::ListOrder, special::Special};
use crate::{
    catalog::{InstanceAnswer, Pool, Service, SrvRecord, View, Zone},
    model::Name,
};

/// What happens to a request.
///
/// Small and plain, since it is moved for each answer: a few references into the snapshot and one turn.
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
    /// The client gets nothing.
    Drop(DropReason),
}

/// What follows a CNAME within our namespaces.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chased<'a> {
    /// What the target has.
    Content(Content<'a>),
    /// The target cannot be answered: the whole answer fails.
    Failed,
}

/// What the forwarder is to answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Forward<'a> {
    /// The query itself. The fallback is for clients for whom no upstream may be queried: no suffix
    /// covers the name, or the client does not want recursion.
    Query(Fallback<'a>),
    /// The target of our CNAME, whose records follow the CNAME.
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

/// Why a client gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DropReason {
    /// `[access] deny` has the client.
    Denied,
    /// The packet is not a request, or its client asks too much.
    Noise,
}

/// Why a client gets an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// FORMERR: the request cannot be read.
    Malformed,
    /// NOTIMP: it is an operation other than QUERY.
    OtherOpcode,
    /// BADVERS (RFC 6891 section 6.1.3).
    Version,
    /// The client must show that its address is its own. It learns a cookie, or comes back over TCP
    /// (RFC 7873 sections 5.2.1 and 5.2.3).
    Cookie {
        /// Whether the answer carries a new cookie.
        has_new: bool,
    },
    /// REFUSED: `[access] allow` does not have the client.
    NotAllowed,
    /// REFUSED: a zone transfer, or a class that is not served.
    Unsupported,
    /// REFUSED: the name is external, and `[access] forward` does not have the client.
    NotAllowedToForward,
    /// REFUSED: the name is external, and no suffix in `[forward]` has it.
    NoSuffix,
    /// REFUSED: the name is external, and nothing is forwarded.
    NoForwarding,
    /// SERVFAIL: a source that could have the answer has never synced.
    NotSynced,
}

impl Refusal {
    /// The response code, and whether TC is set.
    pub(super) const fn code(self) -> (ResponseCode, bool) {
        match self {
            Self::Malformed => (ResponseCode::FormErr, false),
            Self::OtherOpcode => (ResponseCode::NotImp, false),
            Self::Version => (ResponseCode::BADVERS, false),
            Self::Cookie { has_new: true } => (ResponseCode::BADCOOKIE, false),
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

/// What there is at a name, for a type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// Records of one of our zones, or the news that there are none.
    Zone(&'a Zone, ZoneRecords<'a>),
    /// What a special name has.
    Special(Special),
    /// A text in class CH.
    Chaos(&'a str),
}

/// What a zone has at a name, for a type.
#[derive(Clone, Copy, Debug)]
pub(super) enum ZoneRecords<'a> {
    /// A or AAAA records of a service, of one of its pools.
    Addresses(&'a Service, &'a Pool, Family, ListOrder),
    /// SRV records of a service or of one of its named ports.
    Services(&'a Service, &'a [SrvRecord], ListOrder),
    /// A or AAAA records of one instance, and their TTL.
    Instance(InstanceAnswer<'a>, Family, u32),
    /// The TXT data of one instance, and its TTL.
    Text(&'a [u8], u32),
    /// PTR records to these names, and their TTL.
    Pointers(&'a [Name], u32),
    /// PTR records to the instances that a browser finds.
    Browsed(Browsed<'a>),
    /// A CNAME.
    Cname(Cname<'a>),
    /// The zone's SOA.
    Soa,
    /// The zone's name servers.
    Ns,
    /// The address of the built-in name server.
    BuiltInNs(IpAddr),
    /// The name exists, but has nothing of that type.
    NoData,
    /// Neither the name nor anything below it exists.
    NoName,
}

/// A kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The instances of one kind of service, as a browser finds them (RFC 6763).
#[derive(Clone, Copy, Debug)]
pub(super) struct Browsed<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) services: &'a [Name],
    /// `_port._proto` as wire labels.
    pub(super) port: &'a [u8],
    /// Where the list begins this time.
    pub(super) turn: usize,
}
