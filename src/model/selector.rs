//! Label selectors in Kubernetes' string syntax: for pods, and for the labels of any instance.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>

use std::{fmt, str::FromStr};

use super::Labels;

/// Requirements on labels that must all be met; the empty selector matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

/// A requirement on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Exists,
    Absent,
    /// One of these values: `=`, `==` and `in`.
    In(Vec<String>),
    /// None of these values, or no such label: `!=` and `notin`.
    NotIn(Vec<String>),
}

/// Why a text is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SelectorError {
    /// The position of the error, in bytes from the start of the text.
    pub offset: usize,
    message: String,
}

impl Selector {
    /// Whether `labels` meet every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.condition {
                Condition::Exists => value.is_some(),
                Condition::Absent => value.is_none(),
                Condition::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
                // "… and all resources with no labels with the … key": a missing label matches too.
                Condition::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
            }
        })
    }

    /// Iterates over the pairs of key and value that `=`, `==` and `in` allow. Labels that match have
    /// one of the pairs for each of these keys.
    pub fn required(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|requirement| {
            let values = match &requirement.condition {
                Condition::In(values) => values.as_slice(),
                _ => &[],
            };
            values.iter().map(|value| (requirement.key.as_str(), value.as_str()))
        })
    }

    /// Whether the selector is empty, so that it matches everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Parser { text, at: 0 }.selector()
    }
}

impl fmt::Display for Selector {
    /// Writes the selector as the API server's `labelSelector` parameter takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { key, condition }) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match condition {
                Condition::Exists => write!(f, "{key}")?,
                Condition::Absent => write!(f, "!{key}")?,
                Condition::In(values) => match values.as_slice() {
                    [value] => write!(f, "{key}={value}")?,
                    _ => write!(f, "{key} in ({})", values.join(","))?,
                },
                Condition::NotIn(values) => match values.as_slice() {
                    [value] => write!(f, "{key}!={value}")?,
                    _ => write!(f, "{key} notin ({})", values.join(","))?,
                },
            }
        }
        Ok(())
    }
}

/// A recursive-descent parser over the bytes of a selector.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn selector(mut self) -> Result<Selector, SelectorError> {
        let mut requirements = Vec::new();
        self.spaces();
        if self.rest().is_empty() {
            return Ok(Selector::default());
        }
        loop {
            requirements.push(self.requirement()?);
            self.spaces();
            if self.rest().is_empty() {
                return Ok(Selector(requirements));
            }
            self.expect(',', "a comma between requirements")?;
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        self.spaces();
        if self.take("!") {
            let key = self.key()?;
            return Ok(Requirement { key, condition: Condition::Absent });
        }
        let key = self.key()?;
        self.spaces();
        let condition = if self.take("!=") {
            Condition::NotIn(vec![self.value()?])
        } else if self.take("==") || self.take("=") {
            Condition::In(vec![self.value()?])
        } else if self.take_word("in") {
            Condition::In(self.values()?)
        } else if self.take_word("notin") {
            Condition::NotIn(self.values()?)
        } else if self.rest().is_empty() || self.rest().starts_with(',') {
            Condition::Exists
        } else {
            return Err(self.error("expected \"=\", \"!=\", \"in (…)\", \"notin (…)\", a comma or the end"));
        };
        Ok(Requirement { key, condition })
    }

    /// Parses a label key: an optional DNS prefix and a slash, then a name of at most 63
    /// characters.
    fn key(&mut self) -> Result<String, SelectorError> {
        self.spaces();
        let start = self.at;
        let word = self.word();
        let (prefix, name) = match word.split_once('/') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, word),
        };
        let good_prefix = prefix.is_none_or(|p| {
            !p.is_empty()
                && p.len() <= 253
                && p.split('.').all(|part| is_label_value(part) && !part.is_empty())
        });
        if name.is_empty() || !is_label_value(name) || !good_prefix {
            self.at = start;
            return Err(self.error(
                "expected a label key: letters, digits, \"-\", \"_\" and \".\", with an optional \"prefix/\"",
            ));
        }
        Ok(word.to_owned())
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        self.spaces();
        self.expect('(', "\"(\" before the values")?;
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            self.spaces();
            if self.take(")") {
                return Ok(values);
            }
            self.expect(',', "a comma or \")\" after a value")?;
        }
    }

    fn value(&mut self) -> Result<String, SelectorError> {
        self.spaces();
        let start = self.at;
        let word = self.word();
        if !is_label_value(word) {
            self.at = start;
            return Err(self.error(
                "expected a label value: at most 63 letters, digits, \"-\", \"_\" and \".\", \
                 beginning and ending with a letter or digit",
            ));
        }
        Ok(word.to_owned())
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')))
            .unwrap_or(rest.len());
        self.at += end;
        debug_assert!(rest.is_char_boundary(end), "`find` returns the start of a character");
        rest.get(..end).unwrap_or_default()
    }

    fn rest(&self) -> &'a str {
        debug_assert!(self.text.is_char_boundary(self.at), "the parser steps over whole characters");
        self.text.get(self.at..).unwrap_or_default()
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Takes `token` only if a word ends after it, so that the key `index` is not read as `in`.
    fn take_word(&mut self, token: &str) -> bool {
        let found = self
            .rest()
            .strip_prefix(token)
            .is_some_and(|after| after.is_empty() || after.starts_with([' ', '\t', '(']));
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: char, what: &str) -> Result<(), SelectorError> {
        if self.rest().starts_with(token) {
            self.at += token.len_utf8();
            return Ok(());
        }
        Err(self.error(&format!("expected {what}")))
    }

    fn error(&self, expected: &str) -> SelectorError {
        let found = match self.rest().chars().next() {
            Some(c) => format!("{c:?}"),
            None => "the end".to_owned(),
        };
        SelectorError { offset: self.at, message: format!("{expected}, found {found}") }
    }
}

/// Whether `text` may be the value of a label; an empty one may.
fn is_label_value(text: &str) -> bool {
    let alphanumeric_ends = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    text.len() <= 63
        && (text.is_empty() || alphanumeric_ends)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        [("app", "nginx"), ("tier", "web"), ("example.com/track", "canary")].into_iter().collect()
    }

    #[test]
    fn operators_match_as_kubernetes_documents() {
        let table = [
            ("", true),
            ("app=nginx", true),
            ("app==nginx", true),
            ("app = nginx , tier = web", true),
            ("app=redis", false),
            ("app!=redis", true),
            ("app!=nginx", false),
            ("missing!=x", true),
            ("app in (nginx, redis)", true),
            ("app in (redis)", false),
            ("app notin (redis,mysql)", true),
            ("missing notin (x)", true),
            ("app notin(nginx)", false),
            ("tier", true),
            ("missing", false),
            ("!missing", true),
            ("!tier", false),
            ("example.com/track=canary", true),
            ("index", false),
            ("app=", false),
        ];
        for (text, expected) in table {
            let selector: Selector = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(selector.matches(&labels()), expected, "{text}");
        }
    }

    #[test]
    fn a_selector_is_written_for_the_api_server() {
        for text in ["app=nginx", "app!=a,b in (c,d),e notin (f,g),h,!i", ""] {
            assert_eq!(text.parse::<Selector>().map(|s| s.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn errors_have_a_position() {
        for (text, offset) in
            [("app=nginx,", 10), ("app in nginx", 7), ("=x", 0), ("a b", 2), ("a=-x", 2), ("a in (b", 7)]
        {
            let error = text.parse::<Selector>().expect_err(text);
            assert_eq!(error.offset, offset, "{text}: {error}");
        }
    }
}
