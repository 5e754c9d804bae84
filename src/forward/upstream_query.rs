//! The query that muster sends to an upstream.

use super::cache_key::CacheKey;
use crate::wire::{
    HEADER_LEN, WireName,
    header::{self, AUTHENTIC_DATA, CHECKING_DISABLED, RECURSION_DESIRED, bit},
    opt,
};

/// How a query to an upstream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueryForm {
    /// Whether every letter of the name gets a random case, which the answer must repeat.
    pub(super) mixed_case: bool,
    /// Whether there is an OPT record.
    pub(super) edns: bool,
}

/// Everything in a query to an upstream except its ID: equal for all clients that ask the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct UpstreamQuery {
    key: CacheKey,
}

impl UpstreamQuery {
    /// Makes a query from the key of its answer.
    pub(super) fn new(key: CacheKey) -> Self {
        Self { key }
    }

    /// The key that its answer is stored under.
    pub(super) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// The name, lower case.
    pub(super) fn name(&self) -> WireName<'_> {
        self.key.name()
    }

    /// Writes the message: with an OPT record of our own, without any of the client's options, and
    /// with AD, so that the answer's AD shows whether it was validated (RFC 6840 section 5.7).
    /// Clients that did not ask for AD do not get it.
    pub(super) fn encode(&self, id: u16, form: QueryForm) -> Vec<u8> {
        let question = self.key.question();
        let mut query = Vec::with_capacity(HEADER_LEN + question.len() + opt::OPT_LEN);
        let flags =
            [RECURSION_DESIRED, AUTHENTIC_DATA | bit(self.key.checking_disabled(), CHECKING_DISABLED)];
        query.extend(header::bytes(id.to_be_bytes(), flags, [1, 0, 0, form.edns.into()]));
        query.extend_from_slice(&question);
        if form.mixed_case {
            mix_case(query.iter_mut().skip(HEADER_LEN).take(self.name().as_bytes().len()));
        }
        if form.edns {
            query.extend(opt::head(0, self.key.dnssec_ok(), 0));
        }
        query
    }
}

/// Turns random letters of a name into upper case. Length bytes are at most 63, so none is a
/// letter.
fn mix_case<'n>(name: impl Iterator<Item = &'n mut u8>) {
    for letter in name.filter(|byte| byte.is_ascii_lowercase()) {
        if rand::random() {
            letter.make_ascii_uppercase();
        }
    }
}
