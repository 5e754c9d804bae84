//! Patterns of service names, as in `include = ["web-*"]`.
//!
//! Rejected: the crate wildmatch, a dependency for 25 lines, whose `?` would have to be turned off.

/// Whether `pattern`, in which `*` stands for any run of characters, matches the whole of `text`.
///
/// *Cost*: at most the product of the two lengths.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to continue after a mismatch: after the last star, which then takes one more character.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, t));
            }
            Some(byte) if text.get(t) == Some(byte) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after, taken)) = retry else { return false };
                retry = Some((after, taken + 1));
                (p, t) = (after, taken + 1);
            }
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_run() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "web", true),
            ("web", "web", true),
            ("web", "webs", false),
            ("web-*", "web-", true),
            ("web-*", "web", false),
            ("*-proxy", "web-sidecar-proxy", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**x", "aax", true),
            ("", "", true),
            ("", "a", false),
            ("Web", "web", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn a_nasty_pattern_ends_soon() {
        assert!(!matches(&"*a".repeat(100), &"b".repeat(10_000)));
    }
}
