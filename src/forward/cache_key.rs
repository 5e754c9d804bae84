//! The key that an answer is stored under: name, type, DO and CD.

use arrayvec::ArrayVec;

/// Longest key: a name of 255 bytes, the type and the flags.
const MAX_LENGTH: usize = 258;

/// Length of what follows the name: the type and the flags.
const TAIL: usize = 3;

/// Bits of the key's last byte.
const DNSSEC_OK: u8 = 0x01;
const CHECKING_DISABLED: u8 = 0x02;

/// What distinguishes one answer from another: the name in lower case, the type, and the two flags that change what an
/// upstream sends. The class is always IN.
///
/// *Shape*: the name in wire format, two bytes of type, one byte of flags.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CacheKey(ArrayVec<u8, MAX_LENGTH>);

impl CacheKey {
    /// Makes the key of a query for `name` (wire format, lower case). *Cost*: a copy of the name.
    pub(super) fn new(name: &[u8], qtype: u16, dnssec_ok: bool, checking_disabled: bool) -> Self {
        debug_assert!(
            name.len() + TAIL <= MAX_LENGTH,
            "a name has at most 255 bytes (RFC 1035 section 2.3.4)"
        );
        let flags =
            if dnssec_ok { DNSSEC_OK } else { 0 } | if checking_disabled { CHECKING_DISABLED } else { 0 };
        let [type0, type1] = qtype.to_be_bytes();
        let mut key = ArrayVec::new();
        let _ = key.try_extend_from_slice(name);
        let _ = key.try_extend_from_slice(&[type0, type1, flags]);
        Self(key)
    }

    /// The key's bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name in wire format, lower case.
    pub(super) fn name(&self) -> &[u8] {
        debug_assert!(self.0.len() > TAIL, "a name has at least its root label");
        self.0.get(..self.0.len().saturating_sub(TAIL)).unwrap_or_default()
    }

    /// The question section of a message that asks for it, of class IN.
    pub(super) fn question(&self) -> Vec<u8> {
        let name = self.name();
        let qtype = self.0.get(name.len()..name.len() + 2).unwrap_or_default();
        [name, qtype, &[0, 1]].concat()
    }

    /// The DO bit (RFC 3225).
    pub(super) fn dnssec_ok(&self) -> bool {
        self.has(DNSSEC_OK)
    }

    /// The CD bit (RFC 4035 section 3.2.2).
    pub(super) fn checking_disabled(&self) -> bool {
        self.has(CHECKING_DISABLED)
    }

    fn has(&self, bit: u8) -> bool {
        self.0.last().is_some_and(|flags| flags & bit != 0)
    }
}
