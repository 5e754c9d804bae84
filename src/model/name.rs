//! Owned domain names, in the form in which they are looked up: lower-case wire format.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use crate::wire::WireName;

/// A fully qualified domain name.
///
/// *Shape*: wire format (RFC 1035 section 3.1) with the root's empty label at the end, ASCII
/// letters lower case, so that equality is the DNS's own (RFC 4343) and a lookup can hash bytes of
/// a packet. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<[u8]>);

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A label, or the whole text, is empty.
    #[error("a label is empty")]
    EmptyLabel,
    /// A label of more than 63 octets (RFC 1035 section 2.3.4).
    #[error("the label \"{0}\" is longer than 63 characters")]
    LongLabel(String),
    /// A name of more than 255 octets (RFC 1035 section 2.3.4).
    #[error("the name is longer than 255 octets")]
    LongName,
    /// A character that is not a letter, a digit, a hyphen or an underscore.
    #[error("the character {0:?} is not allowed; use letters, digits, \"-\" and \"_\"")]
    Character(char),
    /// A hyphen at an end of a label (RFC 1123 section 2.1).
    #[error("the label \"{0}\" begins or ends with \"-\"")]
    Hyphen(String),
}

impl Name {
    /// Longest name, in octets of wire format (RFC 1035 section 2.3.4).
    pub const MAX: usize = WireName::MAX;

    /// The root.
    pub fn root() -> Self {
        Self([0].into())
    }

    /// Makes a name from wire format; upper-case letters become lower case.
    ///
    /// # Errors
    /// When `wire` is longer than 255 octets or not exactly one uncompressed name.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        if wire.len() > Self::MAX {
            return Err(NameError::LongName);
        }
        if WireName::new(wire).is_none() {
            return Err(NameError::EmptyLabel);
        }
        Ok(Self(wire.to_ascii_lowercase().into()))
    }

    /// The name in wire format, lower case.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The name, borrowed.
    pub fn wire(&self) -> WireName<'_> {
        WireName::trusted(&self.0)
    }

    /// Iterates over the labels, leftmost first, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        self.wire().labels()
    }

    /// The name with `label`, of any octets, in front.
    ///
    /// # Errors
    /// When the label is empty, or the label or the name is too long.
    pub fn child(&self, label: &[u8]) -> Result<Self, NameError> {
        let length = match u8::try_from(label.len()) {
            Ok(0) => return Err(NameError::EmptyLabel),
            Ok(length @ 1..=63) => length,
            _ => return Err(NameError::LongLabel(String::from_utf8_lossy(label).into_owned())),
        };
        if label.len() + 1 + self.0.len() > Self::MAX {
            return Err(NameError::LongName);
        }
        let mut wire = Vec::with_capacity(label.len() + 1 + self.0.len());
        wire.push(length);
        wire.extend(label.iter().map(u8::to_ascii_lowercase));
        wire.extend_from_slice(&self.0);
        Ok(Self(wire.into()))
    }

    /// Parses `relative` as a name below this one.
    ///
    /// # Errors
    /// As [`FromStr`], and when the whole name is too long.
    pub fn join(&self, relative: &str) -> Result<Self, NameError> {
        let mut wire = labels_from_text(relative)?;
        wire.extend_from_slice(&self.0);
        if wire.len() > Self::MAX {
            return Err(NameError::LongName);
        }
        Ok(Self(wire.into()))
    }

    /// The name without its leftmost label; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        self.wire().parent().map(|parent| Self(parent.as_bytes().into()))
    }

    /// Whether this name is `apex` or below it.
    pub fn is_at_or_below(&self, apex: &Self) -> bool {
        self.below(apex).is_some()
    }

    /// The labels before `apex`, in wire format without the root; empty if this name is `apex`,
    /// `None` if it is not at or below it.
    pub fn below(&self, apex: &Self) -> Option<&[u8]> {
        self.wire().below(apex.wire())
    }
}

/// Parses a text name into the wire format of its labels, without the root.
fn labels_from_text(text: &str) -> Result<Vec<u8>, NameError> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut wire = Vec::with_capacity(text.len() + 2);
    for label in text.split('.') {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if let Some(bad) = label.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
            return Err(NameError::Character(bad));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(NameError::Hyphen(label.to_owned()));
        }
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| *length <= 63)
            .ok_or_else(|| NameError::LongLabel(label.to_owned()))?;
        wire.push(length);
        wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    Ok(wire)
}

impl FromStr for Name {
    type Err = NameError;

    /// Parses a host-like name, fully qualified with or without the final dot. `.` is the root.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "." {
            return Ok(Self::root());
        }
        Self::root().join(text)
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    /// Writes the name without the final dot, and octets outside printable ASCII as `\DDD` (RFC
    /// 4343 section 2.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let mut text = String::with_capacity(self.0.len());
        for label in self.labels() {
            if !text.is_empty() {
                text.push('.');
            }
            for &octet in label {
                match octet {
                    b'.' | b'\\' => text.extend(['\\', char::from(octet)]),
                    0x21..=0x7e => text.push(char::from(octet)),
                    _ => write!(text, "\\{octet:03}")?,
                }
            }
        }
        f.pad(if text.is_empty() { "." } else { &text })
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Turns an instance's id into a label of lower-case letters, digits, hyphens and underscores.
///
/// An id that is such a label is unchanged. In any other, unsafe characters become hyphens and a
/// hash of the id is appended, so that different ids keep different labels, and an id keeps its
/// label after a restart.
pub fn instance_label(id: &str) -> String {
    /// A label's length without the hyphen and the hash.
    const MAX_STEM: usize = 63 - 9;
    let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let plain = !id.is_empty()
        && id.len() <= 63
        && id.chars().all(safe)
        && !id.starts_with(['-', '_'])
        && !id.ends_with('-');
    if plain {
        return id.to_owned();
    }
    let mut label: String = id
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if safe(c) { c } else { '-' })
        .skip_while(|c| matches!(c, '-' | '_'))
        .take(MAX_STEM)
        .collect();
    if label.is_empty() {
        label.push('i');
    }
    format!("{label}-{:08x}", stable_hash(id.bytes()))
}

/// FNV-1a, 32 bits: a hash that is equal in every release and on every machine.
pub fn stable_hash(octets: impl IntoIterator<Item = u8>) -> u32 {
    octets.into_iter().fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn case_and_the_final_dot_do_not_matter() {
        assert_eq!(name("Nginx.CloudMapDemo"), name("nginx.cloudmapdemo."));
        assert_eq!(name("nginx.cloudmapdemo").to_string(), "nginx.cloudmapdemo");
        assert_eq!(name(".").to_string(), ".");
    }

    #[test]
    fn invalid_texts_are_refused_with_the_reason() {
        assert_eq!("a..b".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!("".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!("a b".parse::<Name>(), Err(NameError::Character(' ')));
        assert_eq!("-a.b".parse::<Name>(), Err(NameError::Hyphen("-a".into())));
        assert!(matches!("x".repeat(64).parse::<Name>(), Err(NameError::LongLabel(_))));
        assert_eq!(["abcdefg"; 40].join(".").parse::<Name>(), Err(NameError::LongName));
    }

    #[test]
    fn below_cuts_between_labels_only() {
        let apex = name("b.c");
        assert_eq!(name("a.b.c").below(&apex), Some(&b"\x01a"[..]));
        assert_eq!(name("b.c").below(&apex), Some(&b""[..]));
        assert_eq!(name("ab.c").below(&apex), None);
        assert_eq!(name("c").below(&apex), None);
    }

    #[test]
    fn wire_form_is_checked() {
        assert!(Name::from_wire(b"\x01A\x00").is_ok_and(|n| n == name("a")));
        assert!(Name::from_wire(b"\x01a").is_err());
        assert!(Name::from_wire(b"\x01a\x00x").is_err());
        assert!(Name::from_wire(b"").is_err());
        assert!(Name::from_wire(&[0xc0, 0x0c]).is_err());
    }

    #[test]
    fn safe_ids_are_unchanged() {
        assert_eq!(instance_label("web-1"), "web-1");
        assert_eq!(instance_label("nginx-5d8f_b"), "nginx-5d8f_b");
    }

    #[test]
    fn unsafe_ids_get_stable_distinct_labels() {
        let label = instance_label("app-10.10.2.5");
        assert!(label.starts_with("app-10-10-2-5-"), "{label}");
        assert_eq!(label, instance_label("app-10.10.2.5"));
        assert_ne!(label, instance_label("app-10-10.2.5"));
        for odd in ["", "ÄÖ", "_tcp", "-", &"x".repeat(200)] {
            let label = instance_label(odd);
            assert!(Name::root().child(label.as_bytes()).is_ok(), "{odd:?} gave {label:?}");
            assert!(label.parse::<Name>().is_ok(), "{odd:?} gave {label:?}");
        }
    }
}
