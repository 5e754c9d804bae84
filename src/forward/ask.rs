//! A question as a client asked it, and what it is filed under.

use arrayvec::ArrayVec;

use super::message::flag;

/// A question for another name; borrows from the request.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The request's id.
    pub id: [u8; 2],
    /// Name, type and class as they were asked, letter case included.
    pub question: &'a [u8],
    /// The name in wire format, letters lower case.
    pub name: &'a [u8],
    /// The type.
    pub qtype: u16,
    /// RD: whether upstreams may be asked.
    pub recursion_desired: bool,
    /// AD: whether the client understands the bit of that name in answers (RFC 6840 section 5.7).
    pub authentic_data: bool,
    /// CD: whether upstreams shall leave signatures unchecked.
    pub checking_disabled: bool,
    /// Whether there is an OPT record, and what its DO bit says.
    pub edns: Option<bool>,
    /// Whether the OPT record has an option that may pass: the answer could depend on it.
    pub has_options: bool,
    /// What of our own goes into the answer's OPT record, as on the wire: a cookie.
    pub own_options: &'a [u8],
    /// Longest answer.
    pub limit: usize,
}

/// What answers are filed under: the name in lower case, the type, DO and CD.
///
/// The class is always IN.
pub(super) type Key = ArrayVec<u8, 258>;

/// Bits of a key's last byte.
const DNSSEC_OK: u8 = 0x01;
const CHECKING_DISABLED: u8 = 0x02;

impl Ask<'_> {
    /// What answers to it are filed under. *Cost*: a copy of the name.
    pub(super) fn key(&self) -> Key {
        let mut key = Key::new();
        let flags = if self.edns == Some(true) { DNSSEC_OK } else { 0 }
            | if self.checking_disabled { CHECKING_DISABLED } else { 0 };
        let [type0, type1] = self.qtype.to_be_bytes();
        // A name has at most 255 bytes, so there is room.
        let _ = key.try_extend_from_slice(self.name);
        let _ = key.try_extend_from_slice(&[type0, type1, flags]);
        key
    }
}

/// How queries to an upstream are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Whether every letter of the name gets a random case, which the answer must repeat.
    pub(super) mixed_case: bool,
    /// Whether there is an OPT record.
    pub(super) edns: bool,
}

/// What is asked of an upstream, all but the id: what of a question is the same whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// A [`Key`]'s bytes.
    key: Box<[u8]>,
    /// Options that pass, as they are on the wire. Answers to questions with options are not kept.
    options: Box<[u8]>,
}

impl Question {
    pub(super) fn new(key: &[u8], options: &[u8]) -> Self {
        Self { key: key.into(), options: options.into() }
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether its answers may be kept: none of its options can have changed them.
    pub(super) fn is_plain(&self) -> bool {
        self.options.is_empty()
    }

    /// The name in wire format, lower case.
    pub(super) fn name(&self) -> &[u8] {
        self.key.get(..self.key.len().saturating_sub(3)).unwrap_or_default()
    }

    /// The question as it stands in a message.
    pub(super) fn wire(&self) -> Vec<u8> {
        let name = self.name();
        let qtype = self.key.get(name.len()..name.len() + 2).unwrap_or_default();
        [name, qtype, &[0, 1]].concat()
    }

    fn has(&self, bit: u8) -> bool {
        self.key.last().is_some_and(|flags| flags & bit != 0)
    }

    /// Writes the query that is sent: with an OPT record of our own, and AD, so that the answer says whether it was validated
    /// (RFC 6840 section 5.7); who did not ask for that bit does not get it.
    ///
    pub(super) fn query(&self, id: u16, form: Form) -> Vec<u8> {
        let mut query = Vec::with_capacity(self.key.len() + self.options.len() + 32);
        query.extend(id.to_be_bytes());
        let disabled = if self.has(CHECKING_DISABLED) { flag::CHECKING_DISABLED } else { 0 };
        query.extend([flag::RECURSION_DESIRED, flag::AUTHENTIC_DATA | disabled]);
        query.extend([0, 1, 0, 0, 0, 0, 0, u8::from(form.edns)]);
        let start = query.len();
        query.extend_from_slice(&self.wire());
        if form.mixed_case {
            mix(query.get_mut(start..start + self.name().len()).unwrap_or_default());
        }
        if !form.edns {
            return query;
        }
        let [size0, size1] = super::message::UDP_SIZE.to_be_bytes();
        let dnssec_ok = if self.has(DNSSEC_OK) { 0x80 } else { 0 };
        let [length0, length1] = u16::try_from(self.options.len()).unwrap_or(0).to_be_bytes();
        query.extend([0, 0, 41, size0, size1, 0, 0, dnssec_ok, 0, length0, length1]);
        query.extend_from_slice(&self.options);
        query
    }
}

/// Turns random letters of a name into upper case. Lengths are at most 63, so they are no letters.
fn mix(name: &mut [u8]) {
    for letter in name.iter_mut().filter(|byte| byte.is_ascii_lowercase()) {
        if rand::random() {
            letter.make_ascii_uppercase();
        }
    }
}

/// Who waits for an answer: what of an [`Ask`] decides how the answer is written.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    id: [u8; 2],
    question: Box<[u8]>,
    name_length: usize,
    qtype: u16,
    authentic_data: bool,
    checking_disabled: bool,
    edns: Option<bool>,
    own_options: Box<[u8]>,
    limit: usize,
}

impl Asker {
    pub(super) fn new(ask: &Ask<'_>) -> Self {
        Self {
            id: ask.id,
            question: ask.question.into(),
            name_length: ask.name.len(),
            qtype: ask.qtype,
            authentic_data: ask.authentic_data,
            checking_disabled: ask.checking_disabled,
            edns: ask.edns,
            own_options: ask.own_options.into(),
            limit: ask.limit,
        }
    }

    /// The question again.
    pub(super) fn ask(&self) -> Ask<'_> {
        Ask {
            id: self.id,
            question: &self.question,
            name: self.question.get(..self.name_length).unwrap_or_default(),
            qtype: self.qtype,
            recursion_desired: true,
            authentic_data: self.authentic_data,
            checking_disabled: self.checking_disabled,
            edns: self.edns,
            has_options: false,
            own_options: &self.own_options,
            limit: self.limit,
        }
    }
}
