//! The query that muster sends to an upstream.

use super::{
    cache_key::CacheKey,
    message::{UDP_SIZE, flag},
};

/// How a query to an upstream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueryForm {
    /// Whether every letter of the name gets a random case, which the answer must repeat.
    pub(super) mixed_case: bool,
    /// Whether there is an OPT record.
    pub(super) edns: bool,
}

/// Everything that an upstream is queried for, except the ID: equal for all clients that ask the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct UpstreamQuery {
    key: CacheKey,
    /// The client's options that are forwarded, in wire format. Answers to queries with options are not stored.
    options: Box<[u8]>,
}

impl UpstreamQuery {
    /// Makes a query from the key of its answer and the options to forward.
    pub(super) fn new(key: CacheKey, options: &[u8]) -> Self {
        Self { key, options: options.into() }
    }

    /// The key that its answer is stored under.
    pub(super) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Whether its answers may be stored: no option can have changed them.
    pub(super) fn is_plain(&self) -> bool {
        self.options.is_empty()
    }

    /// The name in wire format, lower case.
    pub(super) fn name(&self) -> &[u8] {
        self.key.name()
    }

    /// Writes the message: with an OPT record of our own, and AD, so that the answer's AD tells whether it was validated
    /// (RFC 6840 section 5.7). Clients that did not ask for AD do not get it.
    pub(super) fn encode(&self, id: u16, form: QueryForm) -> Vec<u8> {
        let question = self.key.question();
        let mut query = Vec::with_capacity(question.len() + self.options.len() + 32);
        query.extend(id.to_be_bytes());
        let disabled = if self.key.checking_disabled() { flag::CHECKING_DISABLED } else { 0 };
        query.extend([flag::RECURSION_DESIRED, flag::AUTHENTIC_DATA | disabled]);
        query.extend([0, 1, 0, 0, 0, 0, 0, u8::from(form.edns)]);
        let start = query.len();
        query.extend_from_slice(&question);
        if form.mixed_case {
            mix_case(query.get_mut(start..start + self.name().len()).unwrap_or_default());
        }
        if !form.edns {
            return query;
        }
        let [size0, size1] = UDP_SIZE.to_be_bytes();
        let dnssec_ok = if self.key.dnssec_ok() { 0x80 } else { 0 };
        let [length0, length1] = u16::try_from(self.options.len()).unwrap_or(0).to_be_bytes();
        query.extend([0, 0, 41, size0, size1, 0, 0, dnssec_ok, 0, length0, length1]);
        query.extend_from_slice(&self.options);
        query
    }
}

/// Turns random letters of a name into upper case. Length bytes are at most 63, so none of them is a letter.
fn mix_case(name: &mut [u8]) {
    for letter in name.iter_mut().filter(|byte| byte.is_ascii_lowercase()) {
        if rand::random() {
            letter.make_ascii_uppercase();
        }
    }
}
