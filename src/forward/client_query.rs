//! A client's query, reduced to the parts that forwarding needs.

use super::cache_key::CacheKey;
use crate::wire::WireName;

/// A client's query for an external name. Borrows from the request.
#[derive(Clone, Copy, Debug)]
pub struct ClientQuery<'a> {
    /// The request's ID.
    pub id: [u8; 2],
    /// The question section as received, letter case included.
    pub question: &'a [u8],
    /// The name, lower case.
    pub name: WireName<'a>,
    /// The type.
    pub qtype: u16,
    /// RD: whether upstreams may be queried.
    pub recursion_desired: bool,
    /// AD: whether the client understands AD in answers (RFC 6840 section 5.7).
    pub authentic_data: bool,
    /// CD: whether upstreams are to skip validation.
    pub checking_disabled: bool,
    /// The DO bit of the OPT record; `None`: the request has no OPT record.
    pub edns: Option<bool>,
    /// muster's own options for the answer's OPT record, in wire format: a cookie.
    pub own_options: &'a [u8],
    /// Longest answer, in bytes.
    pub limit: usize,
}

impl ClientQuery<'_> {
    /// The key that its answer is stored under. *Cost*: a copy of the name.
    pub(super) fn key(&self) -> CacheKey {
        CacheKey::new(self.name, self.qtype, self.edns == Some(true), self.checking_disabled)
    }
}
