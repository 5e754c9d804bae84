//! The key that an answer is stored under.

use arrayvec::ArrayVec;

use crate::wire::WireName;

/// Length of what follows the name: two bytes of type and one byte of flags.
const TAIL: usize = 3;

/// Bits of the key's last byte.
const DNSSEC_OK: u8 = 0x01;
const CHECKING_DISABLED: u8 = 0x02;

/// Everything that distinguishes one answer from another: the name, the type, and the two flags (DO
/// and CD) that change what an upstream sends. The class is always IN.
///
/// *Shape*: the name in wire format, lower case; two bytes of type; one byte of flags.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CacheKey(ArrayVec<u8, { WireName::MAX + TAIL }>);

impl CacheKey {
    /// Makes the key of a query for `name`, which is lower case. *Cost*: a copy of the name.
    pub(super) fn new(name: WireName<'_>, qtype: u16, dnssec_ok: bool, checking_disabled: bool) -> Self {
        let flags =
            if dnssec_ok { DNSSEC_OK } else { 0 } | if checking_disabled { CHECKING_DISABLED } else { 0 };
        let [type0, type1] = qtype.to_be_bytes();
        let mut key = ArrayVec::new();
        let is_whole = key.try_extend_from_slice(name.as_bytes()).is_ok()
            && key.try_extend_from_slice(&[type0, type1, flags]).is_ok();
        debug_assert!(is_whole, "a name has at most 255 bytes (RFC 1035 section 2.3.4)");
        Self(key)
    }

    /// The key of answers that hold for all types of the name.
    pub(super) fn of_any_type(&self) -> Self {
        let mut key = self.clone();
        let place = key.0.len().checked_sub(TAIL).and_then(|at| key.0.get_mut(at..at + 2));
        debug_assert!(place.is_some(), "a key ends with a type and flags");
        if let Some(place) = place {
            place.fill(0); // no record has this type (RFC 6895 section 3.1)
        }
        key
    }

    /// The key's bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name, lower case.
    pub(super) fn name(&self) -> WireName<'_> {
        WireName::trusted(self.split().0)
    }

    /// The question section of a query, of class IN.
    pub(super) fn question(&self) -> Vec<u8> {
        let (name, [type0, type1, _]) = self.split();
        [name, &[*type0, *type1, 0, 1]].concat()
    }

    /// DO (RFC 3225).
    pub(super) fn dnssec_ok(&self) -> bool {
        self.flags() & DNSSEC_OK != 0
    }

    /// CD (RFC 4035 section 3.2.2).
    pub(super) fn checking_disabled(&self) -> bool {
        self.flags() & CHECKING_DISABLED != 0
    }

    fn flags(&self) -> u8 {
        let (_, [_, _, flags]) = self.split();
        *flags
    }

    fn split(&self) -> (&[u8], &[u8; TAIL]) {
        let split = self.0.split_last_chunk();
        debug_assert!(split.is_some(), "a key is a name, a type and a byte of flags");
        split.unwrap_or((&[0][..], &[0; TAIL]))
    }
}
