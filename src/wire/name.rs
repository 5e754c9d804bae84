//! Names in wire format, borrowed.

/// A name in wire format (RFC 1035 section 3.1).
///
/// *Shape*: labels of 1 to 63 bytes, each preceded by its length, then the zero byte of the root;
/// no compression; at most 255 bytes. Lookups compare bytes, so a name to look up must be in lower
/// case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireName<'a>(&'a [u8]);

impl<'a> WireName<'a> {
    /// Maximum length of a name, in bytes (RFC 1035 section 2.3.4).
    pub const MAX: usize = 255;

    /// Maximum length of a label, in bytes (RFC 1035 section 2.3.4).
    pub const MAX_LABEL: u8 = 63;

    /// Checks that `wire` is exactly one name. `None` if it is not.
    pub fn new(wire: &'a [u8]) -> Option<Self> {
        let (name, rest) = Self::split(wire)?;
        rest.is_empty().then_some(name)
    }

    /// Takes bytes that are known to be exactly one name, such as those of a `model::Name`.
    ///
    /// *Cost*: none, except for a check in debug builds. Other bytes lead to wrong answers, never
    /// to a panic.
    #[inline]
    pub fn trusted(wire: &'a [u8]) -> Self {
        debug_assert!(Self::new(wire).is_some(), "{wire:02x?} is not a name in wire format");
        Self(wire)
    }

    /// Splits the name at the start of `bytes` from the rest. `None` if there is none, or it is
    /// compressed.
    #[inline]
    pub fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut at = 0;
        loop {
            // Lengths above 63 are compression pointers, or label types that no server uses.
            let length = *bytes.get(at)?;
            at += usize::from(length) + 1;
            if length > Self::MAX_LABEL || at > Self::MAX {
                return None;
            }
            if length == 0 {
                break;
            }
        }
        let (name, rest) = bytes.split_at_checked(at)?;
        Some((Self(name), rest))
    }

    /// The bytes, including the root's zero byte.
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether it is the root.
    pub fn is_root(self) -> bool {
        self.0 == [0]
    }

    /// The labels from left to right, without the root's.
    pub fn labels(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            let (label, next) = after.split_at_checked(usize::from(length))?;
            rest = next;
            (length > 0).then_some(label)
        })
    }

    /// The name and every name above it, longest first, the root last. Each comes with the number
    /// of bytes of this name in front of it.
    pub fn suffixes(self) -> Suffixes<'a> {
        Suffixes { name: self.0, at: Some(0) }
    }

    /// The name without its leftmost label. `None` for the root.
    pub fn parent(self) -> Option<Self> {
        let length = usize::from(*self.0.first()?);
        if length == 0 { None } else { self.0.get(length + 1..).map(Self) }
    }

    /// The labels in front of `above`, in wire format without the root's byte. Empty if the names
    /// are equal, `None` if this name is not at or below `above`.
    #[inline]
    pub fn below(self, above: WireName<'_>) -> Option<&'a [u8]> {
        let cut = self.0.len().checked_sub(above.0.len())?;
        if self.0.get(cut..)? != above.0 {
            return None;
        }
        // The bytes may match from the middle of a label.
        let mut at = 0;
        while at < cut {
            at += usize::from(*self.0.get(at)?) + 1;
        }
        if at == cut { self.0.get(..cut) } else { None }
    }
}

/// Iterates over a name and the names above it: see [`WireName::suffixes`].
#[derive(Clone, Debug)]
pub struct Suffixes<'a> {
    name: &'a [u8],
    at: Option<usize>,
}

impl<'a> Iterator for Suffixes<'a> {
    type Item = (usize, WireName<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at?;
        let rest = self.name.get(at..)?;
        self.at = match rest.first()? {
            0 => None,
            length => Some(at + usize::from(*length) + 1),
        };
        Some((at, WireName(rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &[u8] = b"\x03web\x04shop\x00";

    fn name(wire: &[u8]) -> WireName<'_> {
        WireName::new(wire).unwrap()
    }

    #[test]
    fn only_whole_uncompressed_names_are_taken() {
        let long = [b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(4);
        for bad in [
            &b""[..],
            b"\x03web",
            b"\x03web\xc0\x0c",
            b"\x03web\x00\x00",
            b"\x40",
            &[&long[..], &[0]].concat(),
        ] {
            assert_eq!(WireName::new(bad), None, "{bad:02x?}");
        }
        assert!(name(b"\x00").is_root());
        assert_eq!(WireName::split(b"\x03web\x00\x00\x01"), Some((name(b"\x03web\x00"), &b"\x00\x01"[..])));
    }

    #[test]
    fn suffixes_go_from_the_name_to_the_root() {
        let all: Vec<_> = name(WEB).suffixes().map(|(at, suffix)| (at, suffix.as_bytes())).collect();
        assert_eq!(all, [(0, WEB), (4, &b"\x04shop\x00"[..]), (9, &b"\x00"[..])]);
        assert_eq!(name(WEB).labels().collect::<Vec<_>>(), [&b"web"[..], b"shop"]);
        assert_eq!(name(WEB).parent().map(WireName::as_bytes), Some(&b"\x04shop\x00"[..]));
        assert_eq!(name(b"\x00").parent(), None);
    }

    #[test]
    fn below_compares_whole_labels() {
        assert_eq!(name(WEB).below(name(b"\x04shop\x00")), Some(&b"\x03web"[..]));
        assert_eq!(name(WEB).below(name(WEB)), Some(&b""[..]));
        assert_eq!(name(b"\x00").below(name(WEB)), None);
        // The label `x\x04shop` ends with the bytes of the name, but is one label.
        assert_eq!(name(b"\x06x\x04shop\x00").below(name(b"\x04shop\x00")), None);
    }
}
