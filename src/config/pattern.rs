//! Patterns of service names, as in `include = ["web-*"]`.

use super::types::ImportRule;

impl ImportRule {
    /// Tells whether the import brings a service that Consul calls `service`.
    pub fn takes(&self, service: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, service));
        any(&self.include) && !any(&self.exclude)
    }

    /// Tells whether a service that the import brings can have this name, in lower case as names are looked up.
    pub(super) fn could_bring(&self, label: &str) -> bool {
        let takes = |pattern: &String| matches(&pattern.to_ascii_lowercase(), label);
        self.include.iter().any(takes) && !self.exclude.iter().any(|pattern| matches(pattern, label))
    }
}

/// Tells whether `pattern`, in which `*` stands for any run of characters, matches the whole of `text`.
///
/// *Cost*: at most the product of the two lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on after a mismatch: behind the last star, which then takes one more character.
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
                let Some((behind, taken)) = retry else { return false };
                retry = Some((behind, taken + 1));
                (p, t) = (behind, taken + 1);
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
